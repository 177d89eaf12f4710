//! Carrying out one action against the API server, and noting what it answered.

use std::fmt::Debug;

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::{
    ByteString, NamespaceResourceScope,
    api::core::v1::{ObjectReference, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::events::{Event, EventType, Recorder},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vectoll_config::{ObjectName, Uid};

use super::{
    config::Files,
    names,
    observed::{self, version_of},
    plan::{Action, Turn, config_name},
    watch::{Place, Shared},
};
use crate::{
    key_secret::{self, Cause, Mint},
    mint,
    world::{Kind, ResourceRef},
};

/// The hands of the operator. A handle.
#[derive(Clone)]
pub(super) struct Hands {
    client: Client,
    recorder: Recorder,
    shared: Shared,
}

impl Hands {
    pub(super) fn new(client: Client, recorder: Recorder, shared: Shared) -> Self {
        Self { client, recorder, shared }
    }

    /// Does it. What the API server answers is known at once, without waiting for the watch.
    pub(super) async fn act(&self, action: Action) -> anyhow::Result<()> {
        match action {
            Action::MakeKey { mint, present } => self.make_key(&mint, present).await,
            Action::RemoveKey { secret, version } => self.remove_key(&secret, version).await,
            Action::WriteConfig { namespace, files, present } => self.write_config(&namespace, *files, present).await,
            Action::RemoveConfig { namespace, uid, version } => self.remove_config(&namespace, &uid, version).await,
            Action::Touch { pod, uid, generation } => self.touch(&pod, &uid, generation).await,
            Action::Report { of, uid, status, turned } => {
                self.report(&of, &uid, status.patch).await?;
                if let Some(turn) = turned {
                    self.tell_turn(&of, &uid, turn).await;
                }
                Ok(())
            }
        }
    }

    async fn make_key(&self, mint: &Mint, present: Option<u64>) -> anyhow::Result<()> {
        let value = mint::key(getrandom::fill).map_err(|error| anyhow::anyhow!("no randomness to be had: {error}"))?;
        let mut secret = mint.secret(&value, Timestamp::now());
        let api: Api<Secret> = Api::namespaced(self.client.clone(), mint.secret.namespace());
        let written = match present {
            // Never over one that is there: whoever made it meanwhile keeps it.
            None => {
                secret.metadata.owner_references = Some(vec![mint.owner_reference()]);
                let parameters = PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
                api.create(&parameters, &secret).await.context("failed to make the Secret")?
            }
            // Only over the state that was judged, and without what others put on it.
            Some(version) => {
                let mut annotations = json!(secret.metadata.annotations);
                if mint.previous.is_empty()
                    && let Some(annotations) = annotations.as_object_mut()
                {
                    annotations.insert(key_secret::PREVIOUS.to_owned(), Value::Null);
                }
                let patch = json!({
                    "metadata": {"resourceVersion": version.to_string(), "annotations": annotations},
                    "data": secret.data,
                });
                api.patch(mint.secret.name(), &patched(), &Patch::Merge(patch))
                    .await
                    .context("failed to renew the Secret")?
            }
        };
        tracing::info!(api_key = %mint.api_key, secret = %mint.secret, because = %mint.cause, "key made");
        let version = version_of(&written);
        if let Some(content) = observed::key_secret(written) {
            self.shared.observed().key_secrets.put(mint.secret.clone(), version, content);
        }
        let of = ResourceRef { kind: Kind::ApiKey, name: mint.api_key.clone() };
        let told = match mint.cause {
            // The status says it; an event for each new key would only be noise.
            Cause::New => None,
            Cause::Deleted | Cause::Emptied => Some((EventType::Warning, "KeyRemade")),
            Cause::Interval | Cause::Requested => Some((EventType::Normal, "KeyRotated")),
        };
        if let Some((type_, reason)) = told {
            let note = match mint.previous.first() {
                Some(previous) => {
                    format!("A new key was made: {}. The one before ends at {}", mint.cause, previous.until)
                }
                None => format!("A new key was made: {}. The one before is refused", mint.cause),
            };
            self.tell(&of, &mint.uid, type_, reason, note, "MakeKey").await;
        }
        Ok(())
    }

    async fn remove_key(&self, secret: &ObjectName, version: u64) -> anyhow::Result<()> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), secret.namespace());
        delete(&api, secret.name(), version).await?;
        tracing::info!(%secret, "the key of an earlier ApiKey was removed");
        self.shared.observed().key_secrets.take_by_us(secret, version);
        Ok(())
    }

    async fn write_config(&self, namespace: &str, files: Files, present: Option<u64>) -> anyhow::Result<()> {
        let generation = files.generation;
        let annotations = [
            (names::GENERATION.to_owned(), generation.to_string()),
            (names::WRITTEN_AT.to_owned(), Timestamp::now().to_string()),
        ];
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(names::CONFIG_SECRET.to_owned()),
                namespace: Some(namespace.to_owned()),
                // What was judged must still be there: two operators never write over each other.
                resource_version: present.map(|version| version.to_string()),
                labels: Some([("app.kubernetes.io/managed-by".to_owned(), names::MANAGER.to_owned())].into()),
                annotations: Some(annotations.into()),
                ..ObjectMeta::default()
            },
            type_: Some(names::CONFIG_TYPE.to_owned()),
            data: Some(files.by_name.into_iter().map(|(name, content)| (name, ByteString(content))).collect()),
            ..Secret::default()
        };
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let written = api
            .patch(names::CONFIG_SECRET, &PatchParams::apply(names::MANAGER).force(), &Patch::Apply(&secret))
            .await
            .context("failed to write the config Secret")?;
        tracing::info!(namespace, generation, "config written");
        let version = version_of(&written);
        if let Some(config) = observed::config(written) {
            self.shared.observed().configs.put(config_name(namespace), version, config);
        }
        Ok(())
    }

    async fn remove_config(&self, namespace: &str, uid: &Uid, version: u64) -> anyhow::Result<()> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        delete(&api, names::CONFIG_SECRET, version).await?;
        tracing::info!(namespace, %uid, "config removed: no key and no sidecar is left");
        self.shared.observed().configs.take_by_us(&config_name(namespace), version);
        Ok(())
    }

    async fn touch(&self, pod: &ObjectName, uid: &Uid, generation: u64) -> anyhow::Result<()> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), pod.namespace());
        let patch = json!({
            "metadata": {"uid": uid.to_string(), "annotations": {names::POD_GENERATION: generation.to_string()}},
        });
        match api.patch_metadata(pod.name(), &patched(), &Patch::Merge(patch)).await {
            Ok(touched) => {
                let version = version_of(&touched);
                let mut observed = self.shared.observed();
                if let Some(seen) = observed.pods.get(pod) {
                    let touched = observed::Sidecar { touched: Some(generation), ..seen.value.clone() };
                    observed.pods.put(pod.clone(), version, touched);
                }
                Ok(())
            }
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(error).context("failed to touch the pod"),
        }
    }

    async fn report(&self, of: &ResourceRef, uid: &Uid, status: Value) -> anyhow::Result<()> {
        // With the UID: another object of that name is not this one.
        let patch = Patch::Merge(json!({"metadata": {"uid": uid.to_string()}, "status": status}));
        let written = match of.kind {
            Kind::ApiKey => self.write_status(of, &patch, observed::api_key, |all| &mut all.api_keys).await,
            Kind::Team => self.write_status(of, &patch, observed::team, |all| &mut all.teams).await,
            Kind::ModelRoute => self.write_status(of, &patch, observed::route, |all| &mut all.routes).await,
        };
        match written {
            Err(error) if !is_gone(&error) => Err(error).context("failed to write the status"),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn write_status<K, T>(
        &self,
        of: &ResourceRef,
        patch: &Patch<Value>,
        read: fn(K) -> Option<T>,
        place: Place<T>,
    ) -> kube::Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), of.name.namespace());
        let written = api.patch_status(of.name.name(), &patched(), patch).await?;
        let version = version_of(&written);
        if let Some(value) = read(written) {
            place(&mut self.shared.observed()).put(of.name.clone(), version, value);
        }
        Ok(())
    }

    async fn tell_turn(&self, of: &ResourceRef, uid: &Uid, turn: Turn) {
        let Turn { ready, reason, message } = turn;
        let (type_, note) =
            if ready { (EventType::Normal, "It works".to_owned()) } else { (EventType::Warning, message) };
        self.tell(of, uid, type_, &reason, note, "Reconcile").await;
    }

    /// An event on a resource. One that cannot be written is no reason to stop.
    async fn tell(&self, of: &ResourceRef, uid: &Uid, type_: EventType, reason: &str, note: String, action: &str) {
        let reference = ObjectReference {
            api_version: Some(format!("{}/{}", vectoll_crds::GROUP, vectoll_crds::VERSION)),
            kind: Some(of.kind.to_string()),
            name: Some(of.name.name().to_owned()),
            namespace: Some(of.name.namespace().to_owned()),
            uid: Some(uid.to_string()),
            ..ObjectReference::default()
        };
        // The API server takes no more than a kilobyte.
        let note = note.chars().take(250).collect();
        let event =
            Event { type_, reason: reason.to_owned(), note: Some(note), action: action.to_owned(), secondary: None };
        if let Err(error) = self.recorder.publish(&event, &reference).await {
            tracing::warn!(resource = %of, %error, "an event could not be written");
        }
    }
}

/// A patch by this manager of fields.
fn patched() -> PatchParams {
    PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() }
}

/// Deletes the object as it was judged, and no other.
async fn delete<K>(api: &Api<K>, name: &str, version: u64) -> anyhow::Result<()>
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

/// The object is not there, or another one is: what was to be done to it is of no matter.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
