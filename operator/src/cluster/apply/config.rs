//! A namespace's config Secret: written and removed.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use vectoll_config::Uid;

use super::{
    Applier,
    request::{created, delete, patched},
};
use crate::cluster::{
    cluster_state::{self, version_of},
    config::ConfigFiles,
    names,
    plan::{Replaced, config_name},
    raw::Raw,
};

impl Applier {
    pub(super) async fn write_config(
        &self,
        namespace: &str,
        files: &ConfigFiles,
        replaces: Option<Replaced>,
    ) -> anyhow::Result<()> {
        let api: Api<Raw<Secret>> = Api::namespaced(self.client.clone(), namespace);
        match replaces {
            // One that was not heard of may be there all the same: its generation goes on, and nothing is written over it.
            None => {
                let there = api.get_opt(names::CONFIG_SECRET).await.context("failed to look for the config Secret")?;
                if let Some(secret) = there {
                    let kind = secret.field("type").and_then(Value::as_str);
                    ensure!(kind == Some(names::CONFIG_TYPE), "there is a Secret of that name already");
                    let version = version_of(&secret);
                    let config = cluster_state::config(secret, None).context("the config Secret is about to go")?;
                    self.shared.cluster().configs.put(config_name(namespace), version, config);
                    return Ok(());
                }
            }
            // Nothing can be changed in it any more, so a key that is deleted would stay valid.
            Some(Replaced { version, frozen: true }) => {
                delete(&api, names::CONFIG_SECRET, version).await?;
                tracing::warn!(namespace, "the config Secret was made immutable by somebody: it is replaced");
            }
            Some(Replaced { version: _, frozen: false }) => {}
        }
        let secret = config_secret(namespace, files);
        let applied = match replaces.filter(|replaces| !replaces.frozen) {
            Some(Replaced { version, frozen: _ }) => apply_config(&api, secret.clone(), version).await?,
            None => None,
        };
        let written = match applied {
            Some(written) => written,
            // Made, not applied: nothing that somebody has made meanwhile is written over.
            None => api.create(&created(), &Raw::of(&secret)?).await.context("failed to make the config Secret")?,
        };
        tracing::info!(namespace, generation = files.generation, "config written");
        let wanted: BTreeSet<String> = files.by_name.keys().cloned().collect();
        let written = remove_others(&api, written, &wanted).await?;
        let version = version_of(&written);
        if let Some(config) = cluster_state::config(written, None) {
            self.shared.cluster().configs.put(config_name(namespace), version, config);
        }
        Ok(())
    }

    pub(super) async fn remove_config(&self, namespace: &str, uid: &Uid, version: u64) -> anyhow::Result<()> {
        let api: Api<Raw<Secret>> = Api::namespaced(self.client.clone(), namespace);
        delete(&api, names::CONFIG_SECRET, version).await?;
        tracing::info!(namespace, %uid, "config removed: no key and no sidecar is left");
        self.shared.cluster().configs.take(&config_name(namespace), version);
        Ok(())
    }
}

/// The Secret that holds these files.
fn config_secret(namespace: &str, files: &ConfigFiles) -> Secret {
    let annotations = [
        (names::GENERATION.to_owned(), files.generation.to_string()),
        (names::WRITTEN_AT.to_owned(), Timestamp::now().to_string()),
    ];
    let data = files.by_name.iter().map(|(name, content)| (name.clone(), ByteString(content.clone())));
    Secret {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            annotations: Some(annotations.into()),
            ..names::managed(names::CONFIG_SECRET)
        },
        type_: Some(names::CONFIG_TYPE.to_owned()),
        data: Some(data.collect()),
        ..Secret::default()
    }
}

/// Applies a config Secret over one of this version. None: it has gone meanwhile.
async fn apply_config(api: &Api<Raw<Secret>>, mut secret: Secret, version: u64) -> anyhow::Result<Option<Raw<Secret>>> {
    // What was reconciled must still be there: two operators never write over each other.
    secret.metadata.resource_version = Some(version.to_string());
    let apply = PatchParams::apply(names::MANAGER).force();
    match api.patch(names::CONFIG_SECRET, &apply, &Patch::Apply(&secret)).await {
        Ok(written) => Ok(Some(written)),
        // That it has gone is called different things by different servers.
        Err(kube::Error::Api(_)) if matches!(api.get_opt(names::CONFIG_SECRET).await, Ok(None)) => Ok(None),
        Err(error) => Err(error).context("failed to write the config Secret"),
    }
}

/// Takes what others have put into a config Secret out of it: an apply leaves alone what belongs to another manager, and a
/// credential that somebody has copied would stay for ever.
async fn remove_others(
    api: &Api<Raw<Secret>>,
    written: Raw<Secret>,
    wanted: &BTreeSet<String>,
) -> anyhow::Result<Raw<Secret>> {
    let data = written.field("data").and_then(Value::as_object);
    let others = data.into_iter().flatten().map(|(name, _)| name).filter(|name| !wanted.contains(*name));
    let others: serde_json::Map<String, Value> = others.map(|name| (name.clone(), Value::Null)).collect();
    if others.is_empty() {
        return Ok(written);
    }
    let patch = json!({"metadata": {"resourceVersion": written.metadata.resource_version}, "data": others});
    api.patch(names::CONFIG_SECRET, &patched(), &Patch::Merge(patch))
        .await
        .context("failed to take out what others have put into the config Secret")
}
