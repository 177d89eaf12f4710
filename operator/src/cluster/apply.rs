//! Carrying out one action against the API server, and noting what it answered.

use std::{collections::BTreeSet, fmt::Debug};

use anyhow::{Context, ensure};
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
use vectoll_crds::{ApiKey, ModelRoute, Team};

use super::{
    cluster_state::{self, Tracked, version_of},
    config::Files,
    names,
    plan::{Action, Replaced, Transition, config_name},
    raw::Raw,
    readable::Readable,
    watch::{Place, Shared},
};
use crate::{
    key_secret::{self, Adoption, Cause, Mint},
    mint,
    world::{Kind, ResourceRef},
};

/// The longest note of an event that the API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// The hands of the operator. A handle.
#[derive(Clone)]
pub(super) struct Applier {
    client: Client,
    recorder: Recorder,
    shared: Shared,
}

impl Applier {
    pub(super) fn new(client: Client, recorder: Recorder, shared: Shared) -> Self {
        Self { client, recorder, shared }
    }

    /// Does it. What the API server answers is known at once, without waiting for the watch.
    pub(super) async fn act(&self, action: Action) -> anyhow::Result<()> {
        match action {
            Action::MakeKey { mint, present } => self.make_key(&mint, present).await,
            Action::AdoptKey { adoption, version } => self.adopt_key(&adoption, version).await,
            Action::RemoveKey { secret, version } => self.remove_key(&secret, version).await,
            Action::WriteConfig { namespace, files, replaces } => self.write_config(&namespace, &files, replaces).await,
            Action::RemoveConfig { namespace, uid, version } => self.remove_config(&namespace, &uid, version).await,
            Action::Touch { pod, uid, generation } => self.touch(&pod, &uid, generation).await,
            Action::Report { of, uid, version, status, turns } => {
                // What was not written is not told either: the next pass judges what is there now.
                if self.report(&of, &uid, version, status.patch).await? {
                    for turn in turns {
                        self.tell_turn(&of, &uid, turn).await;
                    }
                }
                Ok(())
            }
        }
    }

    async fn make_key(&self, mint: &Mint, present: Option<u64>) -> anyhow::Result<()> {
        // A key that has gone meanwhile needs no other value: it must not have one.
        if mint.cause != Cause::New && !self.is_there(mint).await? {
            return Ok(());
        }
        let value = mint::key(getrandom::fill).map_err(|error| anyhow::anyhow!("no randomness to be had: {error}"))?;
        let mut secret = mint.secret(&value, Timestamp::now());
        let api: Api<Raw<Secret>> = Api::namespaced(self.client.clone(), mint.secret.namespace());
        let written = match present {
            // Never over one that is there: whoever made it meanwhile keeps it.
            None => {
                secret.metadata.owner_references = Some(vec![mint.owner_reference()]);
                api.create(&created(), &Raw::of(&secret)?).await.context("failed to make the Secret")?
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
                match api.patch(mint.secret.name(), &patched(), &Patch::Merge(patch)).await {
                    Ok(written) => written,
                    // Somebody has made it immutable. What cannot be changed is replaced: a rotation must not hang on it.
                    Err(error) if is_invalid(&error) => {
                        delete(&api, mint.secret.name(), version).await?;
                        secret.metadata.owner_references = Some(vec![mint.owner_reference()]);
                        api.create(&created(), &Raw::of(&secret)?)
                            .await
                            .context("failed to make the Secret in place of an immutable one")?
                    }
                    Err(error) => return Err(error).context("failed to renew the Secret"),
                }
            }
        };
        tracing::info!(api_key = %mint.api_key, secret = %mint.secret, because = %mint.cause, "key made");
        let version = version_of(&written);
        if let Some(content) = cluster_state::key_secret(written, None) {
            self.shared.observed().key_secrets.put(mint.secret.clone(), version, content);
        }
        let of = ResourceRef { kind: Kind::ApiKey, name: mint.api_key.clone() };
        let told = match mint.cause {
            // The status says it; an event for each new key would only be noise.
            Cause::New => None,
            Cause::Deleted | Cause::Emptied => Some((EventType::Warning, "KeyRemade")),
            Cause::Interval | Cause::Requested | Cause::Moved => Some((EventType::Normal, "KeyRotated")),
        };
        if let Some((type_, reason)) = told {
            let note = match (type_, mint.previous.first()) {
                (EventType::Normal, Some(previous)) => {
                    format!("A new key was made: {}. The one before ends at {}", mint.cause, previous.until)
                }
                (EventType::Normal | EventType::Warning, _) => {
                    format!("A new key was made: {}. The one before is refused", mint.cause)
                }
            };
            self.tell(&of, &mint.uid, type_, reason, note, "MakeKey").await;
        }
        Ok(())
    }

    async fn is_there(&self, mint: &Mint) -> anyhow::Result<bool> {
        let api: Api<Raw<ApiKey, ()>> = Api::namespaced(self.client.clone(), mint.api_key.namespace());
        let key = api.get_opt(mint.api_key.name()).await.context("failed to look for the ApiKey")?;
        let is_there = key.is_some_and(|key| key.metadata.uid.as_deref() == Some(&*mint.uid.to_string()));
        if !is_there {
            let is_it = |seen: &Tracked<_, _>| seen.object.uid == mint.uid;
            self.shared.observed().api_keys.forget(&mint.api_key, is_it);
        }
        Ok(is_there)
    }

    /// The owner of the ApiKey has asked for it: the value goes on to be valid, and the Secret goes with the ApiKey from now on.
    async fn adopt_key(&self, adoption: &Adoption, version: u64) -> anyhow::Result<()> {
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
            self.shared.observed().key_secrets.put(secret.clone(), version, content);
        }
        let of = ResourceRef { kind: Kind::ApiKey, name: api_key.clone() };
        let note = format!("The Secret {} was taken over with the key in it", secret.name());
        self.tell(&of, uid, EventType::Normal, "SecretAdopted", note, "AdoptKey").await;
        Ok(())
    }

    async fn remove_key(&self, secret: &ObjectName, version: u64) -> anyhow::Result<()> {
        let api: Api<Raw<Secret>> = Api::namespaced(self.client.clone(), secret.namespace());
        delete(&api, secret.name(), version).await?;
        tracing::info!(%secret, "a key's Secret that is used no more was removed");
        self.shared.observed().key_secrets.take(secret, version);
        Ok(())
    }

    async fn write_config(&self, namespace: &str, files: &Files, replaces: Option<Replaced>) -> anyhow::Result<()> {
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
                    self.shared.observed().configs.put(config_name(namespace), version, config);
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
            self.shared.observed().configs.put(config_name(namespace), version, config);
        }
        Ok(())
    }

    async fn remove_config(&self, namespace: &str, uid: &Uid, version: u64) -> anyhow::Result<()> {
        let api: Api<Raw<Secret>> = Api::namespaced(self.client.clone(), namespace);
        delete(&api, names::CONFIG_SECRET, version).await?;
        tracing::info!(namespace, %uid, "config removed: no key and no sidecar is left");
        self.shared.observed().configs.take(&config_name(namespace), version);
        Ok(())
    }

    async fn touch(&self, pod: &ObjectName, uid: &Uid, generation: u64) -> anyhow::Result<()> {
        let api: Api<Raw<Pod>> = Api::namespaced(self.client.clone(), pod.namespace());
        let patch = json!({
            "metadata": {"uid": uid.to_string(), "annotations": {names::POD_GENERATION: generation.to_string()}},
        });
        match api.patch(pod.name(), &patched(), &Patch::Merge(patch)).await {
            Ok(touched) => {
                let version = version_of(&touched);
                // As the answer has it: it may tell of more than the touch, for example that the pod has ended, and what the watch has to
                // say of older versions is not believed any more.
                let after = cluster_state::sidecar(touched, None);
                let mut observed = self.shared.observed();
                if let Some(before) = observed.pods.get(pod).map(|seen| seen.value.clone())
                    && let Some(after) = after
                {
                    if after == (cluster_state::Sidecar { touched: Some(generation), ..before }) {
                        observed.pods.put_as_planned(pod, version, after);
                    } else {
                        observed.pods.put(pod.clone(), version, after);
                        drop(observed);
                        self.shared.ring();
                    }
                }
                Ok(())
            }
            Err(error) if is_gone(&error) => {
                self.shared.observed().pods.forget(pod, |seen| seen.uid == *uid);
                Ok(())
            }
            Err(error) => Err(error).context("failed to touch the pod"),
        }
    }

    /// Writes a status over the version of the resource that was judged. False: the resource is not that any more.
    ///
    /// A merge patch with the version, not a server-side apply: a status is judged from the whole object (its spec, and what stood
    /// in its conditions), so it must not be written over a newer one, which `force` would do in silence; and what earlier releases
    /// wrote by merge patches they would go on owning, so that a condition which does not hold any more could not be taken out.
    async fn report(&self, of: &ResourceRef, uid: &Uid, version: u64, status: Value) -> anyhow::Result<bool> {
        // With the UID: another object of that name is not this one.
        let metadata = json!({"uid": uid.to_string(), "resourceVersion": version.to_string()});
        let patch = Patch::Merge(json!({"metadata": metadata, "status": status}));
        let written = match of.kind {
            Kind::ApiKey => self.write_status::<ApiKey>(of, uid, &patch, |all| &mut all.api_keys).await,
            Kind::Team => self.write_status::<Team>(of, uid, &patch, |all| &mut all.teams).await,
            Kind::ModelRoute => self.write_status::<ModelRoute>(of, uid, &patch, |all| &mut all.routes).await,
        };
        written.context("failed to write the status")
    }

    async fn write_status<K>(
        &self,
        of: &ResourceRef,
        uid: &Uid,
        patch: &Patch<Value>,
        place: Place<Tracked<K::Spec, K::Status>>,
    ) -> kube::Result<bool>
    where
        K: Readable<Scope = NamespaceResourceScope>,
        K::Spec: PartialEq,
        K::Status: PartialEq,
    {
        let api: Api<Raw<K>> = Api::namespaced(self.client.clone(), of.name.namespace());
        let written = match api.patch_status(of.name.name(), &patched(), patch).await {
            Ok(written) => written,
            // It has gone, and we have not heard of it yet.
            Err(error) if is_gone(&error) => {
                place(&mut self.shared.observed()).forget(&of.name, |seen| seen.object.uid == *uid);
                return Ok(false);
            }
            // Somebody was faster. What there is now is read here, because the watch may take its time to bring it.
            Err(error) if is_conflict(&error) => {
                match api.get_opt(of.name.name()).await? {
                    Some(newer) => self.learn(of, newer, place),
                    None => place(&mut self.shared.observed()).forget(&of.name, |seen| seen.object.uid == *uid),
                }
                // It is still to be written, although nothing may have changed that would have it judged.
                self.shared.observed().told.insert(of.name.namespace().to_owned());
                self.shared.ring();
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.learn(of, written, place);
        Ok(true)
    }

    /// Takes note of an object as the API server has it.
    fn learn<K>(&self, of: &ResourceRef, object: Raw<K>, place: Place<Tracked<K::Spec, K::Status>>)
    where
        K: Readable,
        K::Spec: PartialEq,
        K::Status: PartialEq,
    {
        let version = version_of(&object);
        let mut observed = self.shared.observed();
        let mirror = place(&mut observed);
        let Some(value) = cluster_state::tracked(object, mirror.get(&of.name).map(|seen| &seen.value)) else { return };
        if mirror.get(&of.name).is_some_and(|seen| seen.value.differs_in_status_only(&value)) {
            mirror.put_as_planned(&of.name, version, value);
        } else {
            mirror.put(of.name.clone(), version, value);
        }
    }

    async fn tell_turn(&self, of: &ResourceRef, uid: &Uid, turn: Transition) {
        let Transition { warns, reason, message } = turn;
        let type_ = if warns { EventType::Warning } else { EventType::Normal };
        self.tell(of, uid, type_, &reason, message, "Reconcile").await;
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
        let note = shortened(note);
        let event =
            Event { type_, reason: reason.to_owned(), note: Some(note), action: action.to_owned(), secondary: None };
        if let Err(error) = self.recorder.publish(&event, &reference).await {
            tracing::warn!(resource = %of, %error, "an event could not be written");
        }
    }
}

/// What is made by this manager of fields.
fn created() -> PostParams {
    PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() }
}

/// What the API server takes of an event's note.
fn shortened(mut note: String) -> String {
    note.truncate(note.floor_char_boundary(LONGEST_NOTE));
    note
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

/// The Secret that holds these files.
fn config_secret(namespace: &str, files: &Files) -> Secret {
    let annotations = [
        (names::GENERATION.to_owned(), files.generation.to_string()),
        (names::WRITTEN_AT.to_owned(), Timestamp::now().to_string()),
    ];
    let data = files.by_name.iter().map(|(name, content)| (name.clone(), ByteString(content.clone())));
    Secret {
        metadata: ObjectMeta {
            name: Some(names::CONFIG_SECRET.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some([("app.kubernetes.io/managed-by".to_owned(), names::MANAGER.to_owned())].into()),
            annotations: Some(annotations.into()),
            ..ObjectMeta::default()
        },
        type_: Some(names::CONFIG_TYPE.to_owned()),
        data: Some(data.collect()),
        ..Secret::default()
    }
}

/// Applies a config Secret over one of this version. None: it has gone meanwhile.
async fn apply_config(api: &Api<Raw<Secret>>, mut secret: Secret, version: u64) -> anyhow::Result<Option<Raw<Secret>>> {
    // What was judged must still be there: two operators never write over each other.
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

/// The object as it stands does not allow it.
fn is_invalid(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}

/// The object is not there: what was to be done to it is of no matter.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// The object is not what it was when it was judged.
fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

#[cfg(test)]
mod tests;
