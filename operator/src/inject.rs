//! Injection: what a pod becomes that asks for a sidecar. Pure; the webhook hands pods in and patches out.
//!
//! [`inject`] reads as: what the pod asks for → what speaks against it → the edits. The answer is a JSON patch, not a
//! pod: fields of newer Kubernetes versions, which this program does not know, stay as they are.
//!
//! A webhook may be called twice for one pod (`reinvocationPolicy: IfNeeded`): a pod that was injected already is
//! injected anew, and comes out the same.

mod container;
mod edits;
mod objections;
mod settings;
mod variables;
mod volumes;
mod wish;

use std::fmt;

use json_patch::Patch;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

pub use settings::{InjectionSettings, LogFormat, PullPolicy, Resources, SettingsError, Variable};

pub use crate::validate::Fault;
use edits::Edits;
use wish::Wish;

/// The label by which a pod asks for a sidecar; its value is `true`.
pub const INJECT_LABEL: &str = "vectoll.dev/inject";
/// The label that says which version of the config contract the pod's sidecar reads.
pub const CONTRACT_LABEL: &str = "vectoll.dev/contract";
/// The version that it says.
pub const CONTRACT: &str = "v1";
/// The annotation that names the pod's own ApiKey.
pub const API_KEY_ANNOTATION: &str = "vectoll.dev/api-key";
/// The annotation by which calls without any key count as the pod's own; its value is `true`.
pub const KEYLESS_ANNOTATION: &str = "vectoll.dev/keyless";
/// The name of the sidecar's container.
pub const CONTAINER: &str = "vectoll-sidecar";
/// The Secret that the sidecar mounts.
pub const CONFIG_SECRET: &str = "vectoll-sidecar";

/// Where applications call the sidecar.
const PROXY_PORT: i32 = 4000;
/// Where probes and Prometheus do.
const ADMIN_PORT: i32 = 4001;

/// The volumes of the autoscaler's that may go with the pod, separated by commas without spaces.
const EVICT_ANNOTATION: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/// Why a pod is not let in: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal(pub Vec<Fault>);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// What makes a pod that asks for a sidecar one that has it; none: the pod does not ask. `namespace` is the one it is
/// made in, which a pod need not say itself.
pub fn inject(pod: &Pod, namespace: &str, settings: &InjectionSettings) -> Result<Option<Patch>, Refusal> {
    let Some(wish) = Wish::of(pod, namespace).map_err(Refusal)? else { return Ok(None) };
    let Some(spec) = &pod.spec else {
        return Err(Refusal(vec![Fault { path: "spec".to_owned(), reason: "is missing".to_owned() }]));
    };
    let earlier = Earlier::of(pod, spec);
    objections::check(spec, &earlier)?;

    let mut edits = Edits::default();
    if wish.own_key.is_some() {
        variables::add(spec, &mut edits);
    }
    volumes::add(spec, settings, &mut edits);
    container::put_first(spec, &earlier, &wish, settings, &mut edits);
    mark(pod, &mut edits);
    Ok(Some(edits.into_patch()))
}

/// What an earlier injection of this pod has left: only then is a container of our name ours, whatever is in it now.
struct Earlier<'pod> {
    /// Where among the init containers, and what it is now.
    sidecar: Option<(usize, &'pod Container)>,
}

impl<'pod> Earlier<'pod> {
    fn of(pod: &Pod, spec: &'pod PodSpec) -> Self {
        let injected = pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(CONTRACT_LABEL));
        let mut containers = spec.init_containers.iter().flatten().enumerate();
        let sidecar = containers.find(|(_, container)| injected && container.name == CONTAINER);
        Self { sidecar }
    }
}

/// The pod's own metadata: which contract its sidecar reads, and that its books may go when the pod does.
fn mark(pod: &Pod, edits: &mut Edits) {
    edits.set_entry(&["metadata", "labels"], pod.metadata.labels.is_some(), CONTRACT_LABEL, CONTRACT);
    let annotations = pod.metadata.annotations.as_ref();
    let listed = annotations.and_then(|all| all.get(EVICT_ANNOTATION)).map_or("", String::as_str);
    let mut volumes: Vec<&str> = listed.split(',').filter(|volume| !volume.is_empty()).collect();
    if !volumes.contains(&volumes::STATE) {
        volumes.push(volumes::STATE);
        let volumes = volumes.join(",");
        edits.set_entry(&["metadata", "annotations"], annotations.is_some(), EVICT_ANNOTATION, &volumes);
    }
}
