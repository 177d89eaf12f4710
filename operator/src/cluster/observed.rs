//! What is known of the cluster, and the part of it that the judgement needs.

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
    api::core::v1::{ContainerState, Namespace, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, ResourceExt, core::PartialObjectMeta};
use vectoll_config::{KeyHash, ObjectName, Uid};
use vectoll_crds::{
    ApiKey, ApiKeySpec, ApiKeyStatus, Backend, ModelRoute, ModelRouteSpec, ModelRouteStatus, Provider, Team, TeamSpec,
    TeamStatus,
};

use super::{
    mirror::{Mirror, Seen},
    names,
    spend::SpendWrites,
};
use crate::{
    books::{Acknowledgements, Books},
    inject::CONTAINER,
    key_secret,
    world::{self, Counting, Object, SecretContent, World},
};

/// A resource of ours: what is wanted, and what was last said of it.
#[derive(Clone, Debug)]
pub(super) struct Tracked<S, T> {
    pub(super) object: Arc<Object<S>>,
    pub(super) generation: Option<i64>,
    pub(super) status: Option<T>,
}

/// A config Secret.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) uid: Uid,
    pub(super) generation: u64,
    /// Of all its files.
    pub(super) hash: KeyHash,
    pub(super) written_at: Option<Timestamp>,
}

/// A pod with a sidecar.
#[derive(Clone, Debug)]
pub(super) struct Sidecar {
    pub(super) uid: Uid,
    pub(super) created: Option<Timestamp>,
    /// The generation of the config that it was touched for.
    pub(super) touched: Option<u64>,
    /// The version of the contract that it reads.
    pub(super) contract: String,
    /// Neither finished nor about to go.
    pub(super) lives: bool,
    /// Not finished.
    pub(super) runs: bool,
    /// The sidecar's container runs, as far as the kubelet has said.
    pub(super) up: bool,
}

/// A namespace.
#[derive(Clone, Debug)]
pub(super) struct NamespaceState {
    pub(super) labels: BTreeMap<String, String>,
    /// It is being deleted: nothing can be made in it.
    pub(super) ends: bool,
}

/// What the API server holds.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) api_keys: Mirror<Tracked<ApiKeySpec, ApiKeyStatus>>,
    pub(super) teams: Mirror<Tracked<TeamSpec, TeamStatus>>,
    pub(super) routes: Mirror<Tracked<ModelRouteSpec, ModelRouteStatus>>,
    /// Secrets that the operator made for keys.
    pub(super) key_secrets: Mirror<Arc<SecretContent>>,
    /// Everyone else's: that they are there, and their version. Their content never comes here but by reference.
    pub(super) other_secrets: Mirror<()>,
    /// Those that are referred to, by name, with the version that was read.
    pub(super) referenced: BTreeMap<ObjectName, Seen<Arc<SecretContent>>>,
    pub(super) configs: Mirror<Config>,
    pub(super) namespaces: Mirror<NamespaceState>,
    pub(super) pods: Mirror<Sidecar>,
    /// What sidecars have written into the store.
    pub(super) books: Books,
    /// How often what was spent goes into statuses: a setting.
    pub(super) spend_writes: SpendWrites,
    /// Watches that have not listed everything yet.
    pub(super) unsynced: usize,
}

impl Observed {
    /// Whether all there is has been heard of at least once.
    pub(super) fn is_whole(&self) -> bool {
        self.unsynced == 0
    }

    /// Whether a namespace is being deleted.
    pub(super) fn ends(&self, namespace: &str) -> bool {
        self.namespaces.get(&ObjectName::new("", namespace)).is_some_and(|seen| seen.value.ends)
    }

    /// The highest generation that a live sidecar of a namespace serves by.
    pub(super) fn acknowledged_in(&self, namespace: &str) -> u64 {
        match &self.books.acknowledgements {
            Acknowledgements::Heard { at: _, live } => {
                live.get(namespace).into_iter().flatten().map(|live| live.generation).max().unwrap_or_default()
            }
            Acknowledgements::Nowhere | Acknowledgements::NotYet | Acknowledgements::Silent => 0,
        }
    }

    /// What the judgement needs.
    pub(super) fn world(&self) -> World {
        let mut sidecars: BTreeMap<String, usize> = BTreeMap::new();
        for (name, _) in self.pods.iter().filter(|(_, seen)| seen.value.lives) {
            *sidecars.entry(name.namespace().to_owned()).or_default() += 1;
        }
        let mut secrets: BTreeMap<ObjectName, Arc<SecretContent>> =
            self.key_secrets.iter().map(|(name, seen)| (name.clone(), seen.value.clone())).collect();
        let referenced = self.referenced.iter().filter(|(name, _)| self.other_secrets.get(name).is_some());
        secrets.extend(referenced.map(|(name, seen)| (name.clone(), seen.value.clone())));
        World {
            api_keys: self.api_keys.iter().map(|(name, seen)| (name.clone(), seen.value.object.clone())).collect(),
            teams: self.teams.iter().map(|(name, seen)| (name.clone(), seen.value.object.clone())).collect(),
            routes: self.routes.iter().map(|(name, seen)| (name.clone(), seen.value.object.clone())).collect(),
            secrets,
            namespaces: self
                .namespaces
                .iter()
                .map(|(name, seen)| (name.name().to_owned(), seen.value.labels.clone()))
                .collect(),
            counting: Counting::Apart,
            allowed_hosts: Arc::default(),
            sidecars,
            had_value: self
                .api_keys
                .iter()
                .filter(|(_, seen)| seen.value.status.as_ref().is_some_and(|status| status.key_hint.is_some()))
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }

    /// Secrets that are referred to and are not the operator's.
    pub(super) fn references(&self) -> BTreeSet<ObjectName> {
        let mut names = BTreeSet::new();
        let mut add = |name: ObjectName| {
            if self.other_secrets.get(&name).is_some() {
                names.insert(name);
            }
        };
        for (name, seen) in self.api_keys.iter() {
            let spec = &seen.value.object.spec;
            let brought = spec.secret_ref.as_ref().map(|secret| &*secret.name);
            match brought.or(spec.secret_name.as_deref()) {
                Some(secret) => add(ObjectName::new(name.namespace(), secret)),
                None => add(name.clone()),
            }
        }
        for (name, seen) in self.routes.iter() {
            let backends = &seen.value.object.spec.backends;
            let credentials = backends.iter().flat_map(Backend::providers).flat_map(Provider::credentials);
            credentials.for_each(|credential| add(ObjectName::new(name.namespace(), credential.secret)));
        }
        names
    }

    /// References whose content is not known, or not as it is now.
    pub(super) fn unread(&self) -> Vec<ObjectName> {
        let is_read = |name: &ObjectName| {
            let present = self.other_secrets.get(name).map(|seen| seen.version);
            self.referenced.get(name).map(|seen| seen.version) >= present
        };
        self.references().into_iter().filter(|name| !is_read(name)).collect()
    }

    /// Forgets the content of Secrets that nothing refers to any more.
    pub(super) fn forget_unreferenced(&mut self) {
        let references = self.references();
        self.referenced.retain(|name, _| references.contains(name));
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

fn tracked<S, T>(metadata: ObjectMeta, spec: S, status: Option<T>) -> Option<Tracked<S, T>> {
    if metadata.deletion_timestamp.is_some() {
        return None;
    }
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let mut annotations = metadata.annotations.unwrap_or_default();
    let object = Object {
        name: ObjectName::new(&text(&metadata.namespace), &text(&metadata.name)),
        uid: Uid::new(&text(&metadata.uid)),
        created: metadata.creation_timestamp.map(|time| time.0),
        rotate: annotations.remove(key_secret::ROTATE),
        account: annotations.remove(world::ACCOUNT).map(|uid| Uid::new(&uid)),
        spec,
    };
    Some(Tracked { object: Arc::new(object), generation: metadata.generation, status })
}

pub(super) fn api_key(key: ApiKey) -> Option<Tracked<ApiKeySpec, ApiKeyStatus>> {
    tracked(key.metadata, key.spec, key.status)
}

pub(super) fn team(team: Team) -> Option<Tracked<TeamSpec, TeamStatus>> {
    tracked(team.metadata, team.spec, team.status)
}

pub(super) fn route(route: ModelRoute) -> Option<Tracked<ModelRouteSpec, ModelRouteStatus>> {
    tracked(route.metadata, route.spec, route.status)
}

pub(super) fn key_secret(secret: Secret) -> Option<Arc<SecretContent>> {
    if goes(&secret) { None } else { Some(Arc::new(SecretContent::of(secret))) }
}

pub(super) fn other_secret(secret: PartialObjectMeta<Secret>) -> Option<()> {
    (!goes(&secret)).then_some(())
}

pub(super) fn config(secret: Secret) -> Option<Config> {
    if secret.name_any() != names::CONFIG_SECRET || goes(&secret) {
        return None;
    }
    let note = |name: &str| secret.annotations().get(name).cloned();
    let files = secret.data.iter().flatten().map(|(name, value)| (name.as_str(), value.0.as_slice()));
    Some(Config {
        uid: uid_of(&secret),
        generation: note(names::GENERATION).and_then(|generation| generation.parse().ok()).unwrap_or_default(),
        hash: hash_of(files),
        written_at: note(names::WRITTEN_AT).and_then(|at| at.parse().ok()),
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

pub(super) fn namespace(namespace: Namespace) -> Option<NamespaceState> {
    let ends = goes(&namespace);
    Some(NamespaceState { labels: namespace.metadata.labels.unwrap_or_default(), ends })
}

/// Whether the sidecar's container runs. It is an init container, or, in a pod that somebody has written by hand, one of the
/// others.
fn is_up(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let running = |state: &ContainerState| state.running.is_some();
    all.filter(|container| container.name == CONTAINER).any(|container| container.state.as_ref().is_some_and(running))
}

pub(super) fn sidecar(pod: Pod) -> Option<Sidecar> {
    let finished = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let runs = !matches!(finished, Some("Succeeded" | "Failed"));
    let lives = runs && !goes(&pod);
    Some(Sidecar {
        uid: uid_of(&pod),
        created: pod.creation_timestamp().map(|time| time.0),
        touched: pod.annotations().get(names::POD_GENERATION).and_then(|generation| generation.parse().ok()),
        contract: pod.labels().get(names::CONTRACT_LABEL).cloned().unwrap_or_default(),
        lives,
        runs,
        up: runs && is_up(&pod),
    })
}
