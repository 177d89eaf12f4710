//! Requests to the API server as this manager of fields makes them, and what its refusals mean.

use std::fmt::Debug;

use anyhow::Context;
use kube::{
    Api, Resource,
    api::{DeleteParams, PatchParams, PostParams, Preconditions},
};
use serde::de::DeserializeOwned;

use crate::cluster::names;

/// What is made by this manager of fields.
pub(super) fn created() -> PostParams {
    PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() }
}

/// A patch by this manager of fields.
pub(super) fn patched() -> PatchParams {
    PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() }
}

/// Deletes the object as it was reconciled, and no other.
pub(super) async fn delete<K>(api: &Api<K>, name: &str, version: u64) -> anyhow::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let preconditions = Preconditions { resource_version: Some(version.to_string()), uid: None };
    let parameters = DeleteParams::default().preconditions(preconditions);
    match api.delete(name, &parameters).await {
        Ok(_) => Ok(()),
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("failed to delete {name}")),
    }
}

/// The object as it stands does not allow it.
pub(super) fn is_invalid(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}

/// The object is not there: what was to be done to it is irrelevant.
pub(super) fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// The object is not what it was when it was reconciled.
pub(super) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
