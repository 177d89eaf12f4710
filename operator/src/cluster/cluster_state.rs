//! What is known of the cluster, and the part of it that the desired state needs.

#![allow(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "all readers of objects have one signature: the watch hands them what it has"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::core::v1::{Namespace, Pod, Secret},
};
use kube::{Resource, ResourceExt};
use serde_json::Value;
use vectoll_config::{KeyHash, ObjectName, Uid};
use vectoll_crds::{ApiKeySpec, ApiKeyStatus, ModelRouteSpec, ModelRouteStatus, TeamSpec, TeamStatus};

use super::{
    index::Index,
    names,
    object_cache::{CacheEntry, ObjectCache},
    raw::Raw,
    readable::{self, Readable, Reading},
    spend::SpendWrites,
    tracked::Tracked,
    watches::Watches,
};
use crate::{
    inject::CONTAINER,
    key_secret,
    ledger::LedgerSnapshot,
    observed_state::{self, Object, SecretContent},
};

/// A config Secret.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    pub(super) uid: Uid,
    /// As it is noted on it: whoever may write Secrets may have written that.
    pub(super) generation: u64,
    /// Of all its files.
    pub(super) hash: KeyHash,
    pub(super) written_at: Option<Timestamp>,
    /// Somebody has made it immutable: it can only be replaced.
    pub(super) frozen: bool,
}

/// A pod with a sidecar.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sidecar {
    pub(super) uid: Uid,
    pub(super) created: Option<Timestamp>,
    /// The generation of the config that it was touched for.
    pub(super) touched: Option<u64>,
    /// The version of the contract that it reads.
    pub(super) contract: String,
    /// The image of its sidecar.
    pub(super) image: Option<Arc<str>>,
    /// Neither finished nor about to go.
    pub(super) lives: bool,
    /// Not finished.
    pub(super) runs: bool,
    /// The sidecar's container runs, as far as the kubelet has said.
    pub(super) up: bool,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NamespaceState {
    pub(super) labels: BTreeMap<String, String>,
    /// It is being deleted: nothing can be made in it.
    pub(super) ends: bool,
}

/// What the API server holds.
#[derive(Debug)]
pub(super) struct ClusterState {
    pub(super) api_keys: ObjectCache<Tracked<ApiKeySpec, ApiKeyStatus>>,
    pub(super) teams: ObjectCache<Tracked<TeamSpec, TeamStatus>>,
    pub(super) routes: ObjectCache<Tracked<ModelRouteSpec, ModelRouteStatus>>,
    /// Secrets that the operator made for keys.
    pub(super) key_secrets: ObjectCache<Arc<SecretContent>>,
    /// Everyone else's: that they are there, and their version. Their content never comes here but by reference.
    pub(super) other_secrets: ObjectCache<()>,
    /// Those that are referred to, by name, with the version that was read.
    pub(super) referenced: BTreeMap<ObjectName, CacheEntry<Arc<SecretContent>>>,
    /// Of those, the ones that could not be read when it was tried last, and why.
    pub(super) unreadable: BTreeMap<ObjectName, Arc<str>>,
    pub(super) configs: ObjectCache<Config>,
    pub(super) namespaces: ObjectCache<NamespaceState>,
    pub(super) pods: ObjectCache<Sidecar>,
    /// What sidecars have written into the store.
    pub(super) books: LedgerSnapshot,
    /// How the watches fare.
    pub(super) watches: Watches,
    /// Which namespaces look at which.
    pub(super) index: Index,
    /// Namespaces of which the store said something new.
    pub(super) dependent: BTreeSet<String>,
    /// How often what was spent goes into statuses: a setting.
    pub(super) spend_writes: SpendWrites,
    /// In a snapshot of a namespace: the accounts of all Teams below each of its own.
    pub(super) accounts_below: BTreeMap<ObjectName, Vec<Uid>>,
    /// Whether only the gateway is to have credentials: a setting.
    pub(super) gateway_only: bool,
    /// Namespaces of which the gateway does not have all, for want of room.
    pub(super) left_out_of_gateway: BTreeSet<String>,
    /// Labels that spend is allocated by: a setting.
    pub(super) spend_labels: Arc<[String]>,
}

impl Default for ClusterState {
    fn default() -> Self {
        Self {
            api_keys: ObjectCache::default(),
            teams: ObjectCache::default(),
            routes: ObjectCache::default(),
            key_secrets: ObjectCache::default(),
            other_secrets: ObjectCache::of_versions(),
            referenced: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            configs: ObjectCache::default(),
            namespaces: ObjectCache::default(),
            pods: ObjectCache::default(),
            books: LedgerSnapshot::default(),
            watches: Watches::default(),
            index: Index::default(),
            dependent: BTreeSet::new(),
            spend_writes: SpendWrites::default(),
            accounts_below: BTreeMap::new(),
            gateway_only: false,
            left_out_of_gateway: BTreeSet::new(),
            spend_labels: Arc::default(),
        }
    }
}

impl ClusterState {
    /// Whether there is nothing of any namespace.
    pub(super) fn is_empty(&self) -> bool {
        let mut counts = [
            self.api_keys.iter().count(),
            self.teams.iter().count(),
            self.routes.iter().count(),
            self.key_secrets.iter().count(),
            self.configs.iter().count(),
            self.pods.iter().count(),
        ]
        .into_iter();
        counts.all(|count| count == 0)
    }

    /// Whether a namespace is being deleted.
    pub(super) fn ends(&self, namespace: &str) -> bool {
        self.namespaces.get(&ObjectName::new("", namespace)).is_some_and(|seen| seen.value.ends)
    }
}

/// Namespace and name of any object.
pub(super) fn name_of(object: &impl Resource) -> ObjectName {
    ObjectName::new(object.namespace().as_deref().unwrap_or_default(), &object.name_any())
}

/// The resource version as a number: versions of one kind can be compared.
pub(super) fn version_of(object: &impl Resource) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default()
}

fn uid_of(object: &impl Resource) -> Uid {
    Uid::new(object.meta().uid.as_deref().unwrap_or_default())
}

/// Whether an object is about to go: for us it is gone.
fn goes(object: &impl Resource) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// A resource of ours, as far as it can be read. `before` is what was known of it.
pub(crate) fn tracked<K: Readable>(
    mut raw: Raw<K>,
    before: Option<&Tracked<K::Spec, K::Status>>,
) -> Option<Tracked<K::Spec, K::Status>> {
    if goes(&raw) {
        return None;
    }
    let uid = uid_of(&raw);
    // What an object of the same name was is nothing to this one.
    let Reading { spec, status, unreadable } =
        readable::read(&mut raw, before.filter(|before| before.object.uid == uid))?;
    let name = name_of(&raw);
    let metadata = raw.metadata;
    let mut annotations = metadata.annotations.unwrap_or_default();
    let adopts = annotations.get(key_secret::ADOPT).is_some_and(|adopts| adopts == "true");
    let object = Object {
        name,
        uid,
        created: metadata.creation_timestamp.map(|time| time.0),
        rotate: annotations.remove(key_secret::ROTATE),
        account: annotations.remove(observed_state::ACCOUNT).map(|uid| Uid::new(&uid)),
        reset: annotations.remove(observed_state::RESET_BUDGETS),
        spec,
    };
    Some(Tracked {
        object: Arc::new(object),
        generation: metadata.generation,
        status: status.map(Arc::new),
        labels: Arc::new(metadata.labels.unwrap_or_default()),
        adopts,
        unreadable,
    })
}

pub(super) fn key_secret(secret: Raw<Secret>, _: Option<&Arc<SecretContent>>) -> Option<Arc<SecretContent>> {
    if goes(&secret) { None } else { Some(Arc::new(content_of(&secret))) }
}

/// What a Secret holds. An entry that is no base64 is as if it were not there.
pub(super) fn content_of(secret: &Raw<Secret>) -> SecretContent {
    let kind = secret.field("type").and_then(Value::as_str).map(str::to_owned);
    SecretContent::new(kind, &secret.metadata, entries(secret))
}

/// The entries of a Secret. One that is no base64 is as if it were not there.
pub(super) fn entries(secret: &Raw<Secret>) -> BTreeMap<String, Vec<u8>> {
    let data = secret.field("data").and_then(Value::as_object).into_iter().flatten();
    let entry = |(name, value): (&String, &Value)| {
        let bytes: ByteString = serde_json::from_value(value.clone()).ok()?;
        Some((name.clone(), bytes.0))
    };
    data.filter_map(entry).collect()
}

pub(super) fn other_secret(secret: Raw<Secret, ()>, _: Option<&()>) -> Option<()> {
    (!goes(&secret)).then_some(())
}

pub(super) fn config(secret: Raw<Secret>, _: Option<&Config>) -> Option<Config> {
    if secret.name_any() != names::CONFIG_SECRET || goes(&secret) {
        return None;
    }
    let note = |name: &str| secret.annotations().get(name).cloned();
    let files = entries(&secret);
    Some(Config {
        uid: uid_of(&secret),
        generation: note(names::GENERATION).and_then(|generation| generation.parse().ok()).unwrap_or_default(),
        hash: hash_of(files.iter().map(|(name, content)| (name.as_str(), content.as_slice()))),
        written_at: note(names::WRITTEN_AT).and_then(|at| at.parse().ok()),
        frozen: secret.field("immutable") == Some(&Value::Bool(true)),
    })
}

/// One hash for a set of files.
pub(super) fn hash_of<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> KeyHash {
    let mut all = Vec::new();
    for (name, content) in files {
        // Lengths in between, so that no two sets read alike.
        all.extend_from_slice(&(name.len() as u64).to_be_bytes());
        all.extend_from_slice(name.as_bytes());
        all.extend_from_slice(&(content.len() as u64).to_be_bytes());
        all.extend_from_slice(content);
    }
    KeyHash::of(&all)
}

pub(super) fn namespace(namespace: Raw<Namespace, ()>, _: Option<&NamespaceState>) -> Option<NamespaceState> {
    let ends = goes(&namespace);
    Some(NamespaceState { labels: namespace.metadata.labels.unwrap_or_default(), ends })
}

/// Whether the sidecar's container runs. It is an init container, or, in a pod that somebody has written by hand, one of the
/// others.
fn is_up(pod: &Raw<Pod>) -> bool {
    let of = |field: &str| pod.field(field).and_then(Value::as_array).into_iter().flatten();
    let mut all = of("status/initContainerStatuses").chain(of("status/containerStatuses"));
    all.any(|container| {
        let is_sidecar = container.get("name").and_then(Value::as_str) == Some(CONTAINER);
        is_sidecar && container.pointer("/state/running").is_some_and(|running| !running.is_null())
    })
}

/// The image of the sidecar's container, which is where [`is_up`] looks for it.
fn image_of(pod: &Raw<Pod>) -> Option<&str> {
    let of = |field: &str| pod.field(field).and_then(Value::as_array).into_iter().flatten();
    let mut all = of("spec/initContainers").chain(of("spec/containers"));
    let sidecar = all.find(|container| container.get("name").and_then(Value::as_str) == Some(CONTAINER))?;
    sidecar.get("image").and_then(Value::as_str)
}

pub(super) fn sidecar(pod: Raw<Pod>, _: Option<&Sidecar>) -> Option<Sidecar> {
    let runs = !matches!(pod.field("status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"));
    let lives = runs && !goes(&pod);
    Some(Sidecar {
        uid: uid_of(&pod),
        created: pod.creation_timestamp().map(|time| time.0),
        touched: pod.annotations().get(names::POD_GENERATION).and_then(|generation| generation.parse().ok()),
        contract: pod.labels().get(names::CONTRACT_LABEL).cloned().unwrap_or_default(),
        image: image_of(&pod).map(Into::into),
        lives,
        runs,
        up: runs && is_up(&pod),
    })
}
