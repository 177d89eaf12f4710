//! The Secrets that the gateway mounts: how one is read, made and changed. What is not answered in time is an error.

use std::{collections::BTreeMap, future::Future};

use anyhow::{Context, ensure};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::timeout;

use super::shards::{Changes, Entries};
use crate::cluster::{gather::REQUEST_TIMEOUT, names};

/// The type of the Secrets.
pub(in crate::cluster) const TYPE: &str = "vectoll.dev/gateway-config";

/// What is in one; none: there is none. One of another type is somebody else's, and an error.
pub(super) async fn read(secrets: &Api<Secret>, name: &str) -> anyhow::Result<Option<Entries>> {
    let found = answered(secrets.get_opt(name)).await?.with_context(|| format!("failed to read the Secret {name}"))?;
    found
        .map(|secret| {
            ensure!(
                secret.type_.as_deref() == Some(TYPE),
                "the Secret {name} is somebody else's: its type is not {TYPE}"
            );
            let data = secret.data.unwrap_or_default();
            Ok(data.into_iter().map(|(name, content)| (name, content.0)).collect())
        })
        .transpose()
}

/// Writes changes into one that is there, or makes it. What they make of it is in `known` afterwards.
pub(super) async fn write(
    secrets: &Api<Secret>,
    name: &str,
    known: &mut Option<Entries>,
    changes: Changes,
) -> anyhow::Result<()> {
    if known.is_some() {
        let data: BTreeMap<&String, Option<ByteString>> =
            changes.iter().map(|(name, content)| (name, content.clone().map(ByteString))).collect();
        let patch = Patch::Merge(json!({"data": data}));
        let parameters = PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
        let patched = answered(secrets.patch(name, &parameters, &patch)).await?;
        patched.with_context(|| format!("failed to write the Secret {name}"))?;
    } else {
        let data = changes.iter().filter_map(|(name, content)| Some((name.clone(), ByteString(content.clone()?))));
        let secret = Secret {
            metadata: names::managed(name),
            type_: Some(TYPE.to_owned()),
            data: Some(data.collect()),
            ..Secret::default()
        };
        let parameters = PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
        let made = answered(secrets.create(&parameters, &secret)).await?;
        made.with_context(|| format!("failed to make the Secret {name}"))?;
    }
    let entries = known.get_or_insert_default();
    for (name, content) in changes {
        match content {
            Some(content) => drop(entries.insert(name, content)),
            None => drop(entries.remove(&name)),
        }
    }
    Ok(())
}

async fn answered<T>(asked: impl Future<Output = T>) -> anyhow::Result<T> {
    timeout(REQUEST_TIMEOUT, asked).await.map_err(|_| anyhow::anyhow!("no answer in {REQUEST_TIMEOUT:?}"))
}
