//! A key's Secret: made, renewed, taken over, removed.

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::Patch, runtime::events::EventType};
use serde_json::{Value, json};
use vectoll_config::ObjectName;
use vectoll_crds::ApiKey;

use super::{
    Applier,
    request::{created, delete, is_invalid, patched},
};
use crate::{
    cluster::{
        cluster_state::{self, version_of},
        raw::Raw,
        tracked::Tracked,
    },
    key_secret::{self, Adoption, Cause, TemplateChange, ValueCreation},
    observed_state::{Kind, ResourceRef},
    random,
};

impl Applier {
    pub(super) async fn make_key(&self, creation: &ValueCreation, present: Option<u64>) -> anyhow::Result<()> {
        // A key that has gone meanwhile needs no other value: it must not have one.
        if creation.cause != Cause::New && !self.is_there(creation).await? {
            return Ok(());
        }
        let value =
            random::key(getrandom::fill).map_err(|error| anyhow::anyhow!("no randomness to be had: {error}"))?;
        let mut secret = creation.secret(&value, Timestamp::now());
        let api: Api<Raw<Secret>> = Api::namespaced(self.client.clone(), creation.secret.namespace());
        let written = match present {
            // Never over one that is there: whoever made it meanwhile keeps it.
            None => {
                secret.metadata.owner_references = Some(vec![creation.owner_reference()]);
                api.create(&created(), &Raw::of(&secret)?).await.context("failed to make the Secret")?
            }
            // Only over the state that was reconciled, and without what others put on it.
            Some(version) => {
                let mut annotations = json!(secret.metadata.annotations);
                if creation.previous.is_empty()
                    && let Some(annotations) = annotations.as_object_mut()
                {
                    annotations.insert(key_secret::PREVIOUS.to_owned(), Value::Null);
                }
                let patch = json!({
                    "metadata": {"resourceVersion": version.to_string(), "annotations": annotations},
                    "data": secret.data,
                });
                match api.patch(creation.secret.name(), &patched(), &Patch::Merge(patch)).await {
                    Ok(written) => written,
                    // Somebody has made it immutable. What cannot be changed is replaced: a rotation must not hang on it.
                    Err(error) if is_invalid(&error) => {
                        delete(&api, creation.secret.name(), version).await?;
                        secret.metadata.owner_references = Some(vec![creation.owner_reference()]);
                        api.create(&created(), &Raw::of(&secret)?)
                            .await
                            .context("failed to make the Secret in place of an immutable one")?
                    }
                    Err(error) => return Err(error).context("failed to renew the Secret"),
                }
            }
        };
        tracing::info!(api_key = %creation.api_key, secret = %creation.secret, because = %creation.cause, "key made");
        let version = version_of(&written);
        if let Some(content) = cluster_state::key_secret(written, None) {
            self.shared.cluster().key_secrets.put(creation.secret.clone(), version, content);
        }
        let of = ResourceRef { kind: Kind::ApiKey, name: creation.api_key.clone() };
        let told = match creation.cause {
            // The status says it; an event for each new key would only be noise.
            Cause::New => None,
            Cause::Deleted | Cause::Emptied => Some((EventType::Warning, "KeyRemade")),
            Cause::Interval | Cause::Requested | Cause::Moved => Some((EventType::Normal, "KeyRotated")),
        };
        if let Some((type_, reason)) = told {
            let note = match (type_, creation.previous.first()) {
                (EventType::Normal, Some(previous)) => {
                    format!("A new key was made: {}. The one before ends at {}", creation.cause, previous.until)
                }
                (EventType::Normal | EventType::Warning, _) => {
                    format!("A new key was made: {}. The one before is refused", creation.cause)
                }
            };
            self.record_event(&of, &creation.uid, type_, reason, note, "MakeKey").await;
        }
        Ok(())
    }

    async fn is_there(&self, creation: &ValueCreation) -> anyhow::Result<bool> {
        let api: Api<Raw<ApiKey, ()>> = Api::namespaced(self.client.clone(), creation.api_key.namespace());
        let key = api.get_opt(creation.api_key.name()).await.context("failed to look for the ApiKey")?;
        let is_there = key.is_some_and(|key| key.metadata.uid.as_deref() == Some(&*creation.uid.to_string()));
        if !is_there {
            let is_it = |seen: &Tracked<_, _>| seen.object.uid == creation.uid;
            self.shared.cluster().api_keys.forget(&creation.api_key, is_it);
        }
        Ok(is_there)
    }

    /// The owner of the ApiKey has asked for it: the value goes on to be valid, and the Secret goes with the ApiKey from now on.
    pub(super) async fn adopt_key(&self, adoption: &Adoption, version: u64) -> anyhow::Result<()> {
        let Adoption { api_key, uid, secret } = adoption;
        let api: Api<Raw<Secret>> = Api::namespaced(self.client.clone(), secret.namespace());
        let patch = json!({"metadata": {
            "resourceVersion": version.to_string(),
            "annotations": {key_secret::OWNER: api_key.name()},
            "ownerReferences": [key_secret::owner_reference(api_key, uid)],
        }});
        let written = api
            .patch(secret.name(), &patched(), &Patch::Merge(patch))
            .await
            .context("failed to take the Secret over")?;
        tracing::info!(%api_key, %secret, "a Secret was taken over with the key in it");
        let version = version_of(&written);
        if let Some(content) = cluster_state::key_secret(written, None) {
            self.shared.cluster().key_secrets.put(secret.clone(), version, content);
        }
        let of = ResourceRef { kind: Kind::ApiKey, name: api_key.clone() };
        let note = format!("The Secret {} was taken over with the key in it", secret.name());
        self.record_event(&of, uid, EventType::Normal, "SecretAdopted", note, "AdoptKey").await;
        Ok(())
    }

    /// What others have put on the Secret stays.
    pub(super) async fn label_key(&self, change: &TemplateChange, version: u64) -> anyhow::Result<()> {
        let secret = &change.secret;
        let api: Api<Raw<Secret>> = Api::namespaced(self.client.clone(), secret.namespace());
        let patch = Patch::Merge(change.patch(version)?);
        let written = api
            .patch(secret.name(), &patched(), &patch)
            .await
            .context("failed to write the labels and annotations of spec.secretTemplate")?;
        tracing::debug!(%secret, "a key's Secret has the labels and annotations of its template");
        let version = version_of(&written);
        if let Some(content) = cluster_state::key_secret(written, None) {
            self.shared.cluster().key_secrets.put(secret.clone(), version, content);
        }
        Ok(())
    }

    pub(super) async fn remove_key(&self, secret: &ObjectName, version: u64) -> anyhow::Result<()> {
        let api: Api<Raw<Secret>> = Api::namespaced(self.client.clone(), secret.namespace());
        delete(&api, secret.name(), version).await?;
        tracing::info!(%secret, "a key's Secret that is used no more was removed");
        self.shared.cluster().key_secrets.take(secret, version);
        Ok(())
    }
}
