//! Names that users, the chart and the injection know.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub(super) use crate::inject::{CONFIG_SECRET, CONTRACT_LABEL};

/// The type of the Secret that a namespace's sidecars read.
pub(super) const CONFIG_TYPE: &str = "vectoll.dev/sidecar-config";
/// The annotation on it with the generation of its config.
pub(super) const GENERATION: &str = "vectoll.dev/generation";
/// The annotation on it that says when it was written (RFC 3339).
pub(super) const WRITTEN_AT: &str = "vectoll.dev/written-at";
/// The annotation on a pod that makes the kubelet look at its Secret anew.
pub(super) const POD_GENERATION: &str = "vectoll.dev/config-generation";
/// The manager of the fields that the operator writes.
pub(super) const MANAGER: &str = "vectoll-operator";

/// The metadata of a Secret that the operator makes and keeps.
pub(super) fn managed(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some([("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned())].into()),
        ..ObjectMeta::default()
    }
}
