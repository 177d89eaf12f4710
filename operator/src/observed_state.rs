//! Gathered objects: what the rest of the operator knows of the cluster, or of a folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use vectoll_config::{ObjectName, Uid, v1};
use vectoll_crds::{ApiKeySpec, ModelRouteSpec, TeamSpec};

use crate::{
    delivery::{Carrier, DeliverySetting},
    key_secret::{self, AppliedTemplate, Notes},
    model_set::ModelSet,
    price::Pricing,
    provider_hosts::AllowedHosts,
};

/// The namespace of objects that name none, where nothing else was said: as kubectl has it.
pub const DEFAULT_NAMESPACE: &str = "default";

/// An object's spec and the part of its metadata that matters.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<S> {
    /// Namespace and name.
    pub name: ObjectName,
    /// What makes it itself: an object of its name that is made later is another one.
    pub uid: Uid,
    /// When it was made; none in a folder of manifests.
    pub created: Option<Timestamp>,
    /// The request for a new value of a key, by annotation.
    pub rotate: Option<String>,
    /// The account that it is to carry on, by annotation: the UID that it had before it was restored.
    pub account: Option<Uid>,
    /// From when on its budgets count anew, by annotation.
    pub reset: Option<String>,
    /// What is wanted.
    pub spec: S,
}

impl<S> Object<S> {
    /// One that says nothing but its spec.
    #[cfg(test)]
    pub(crate) fn new(name: ObjectName, uid: Uid, spec: S) -> Self {
        Self { name, uid, created: None, rotate: None, account: None, reset: None, spec }
    }

    /// Older objects win over younger ones; where nobody knows their age, the name decides.
    pub fn seniority(&self) -> (Option<Timestamp>, &ObjectName) {
        (self.created, &self.name)
    }
}

/// Why a resource cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableResource {
    /// The field, what is wrong with it, and what to do.
    pub message: Arc<str>,
    /// Whether an earlier state of it could be read, and goes on.
    pub has_last: bool,
}

/// Resources elsewhere, in so far as accounts are concerned.
#[derive(Clone, Debug, Default)]
pub struct Claimants {
    /// Keys.
    pub api_keys: Vec<Arc<Object<ApiKeySpec>>>,
    /// Teams.
    pub teams: Vec<Arc<Object<TeamSpec>>>,
}

/// All objects. What it is made of is shared with whoever watches it: it costs little more than the names.
#[derive(Clone, Debug, Default)]
pub struct ObservedState {
    /// Keys.
    pub api_keys: BTreeMap<ObjectName, Arc<Object<ApiKeySpec>>>,
    /// Teams.
    pub teams: BTreeMap<ObjectName, Arc<Object<TeamSpec>>>,
    /// Routes.
    pub routes: BTreeMap<ObjectName, Arc<Object<ModelRouteSpec>>>,
    /// Routes that are reconciled elsewhere, where Teams of this state look for some.
    pub routes_elsewhere: BTreeMap<ObjectName, Arc<Object<ModelRouteSpec>>>,
    /// Secrets that are referred to.
    pub secrets: BTreeMap<ObjectName, Arc<SecretContent>>,
    /// Labels of namespaces.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether sidecars count together.
    pub counting: Counting,
    /// The hosts that routes may name.
    pub allowed_hosts: Arc<AllowedHosts>,
    /// What models cost where a backend does not say it.
    pub pricing: Arc<Pricing>,
    /// Who carries out the calls of routes.
    pub delivery: Arc<DeliverySetting>,
    /// How many sidecars run, by namespace.
    pub sidecars: BTreeMap<String, usize>,
    /// Keys that have had a value: a Secret of theirs that is missing was taken away.
    pub had_value: BTreeSet<ObjectName>,
    /// Resources elsewhere that have accounts which resources of this state claim, or claim them, too.
    pub claimants: Claimants,
    /// Resources that cannot be read as they are now. Their specs above are what was read last, or do nothing.
    pub unreadable_resources: BTreeMap<ResourceRef, UnreadableResource>,
    /// Namespaces whose keys name a Team, beside those of the keys above.
    pub team_users: BTreeMap<ObjectName, BTreeSet<String>>,
    /// Namespaces whose keys name a Team below one of this state, beside those of the keys and Teams above.
    pub users_below: BTreeMap<ObjectName, BTreeSet<String>>,
    /// What keys may use, by their namespace. None: nobody knows.
    pub reachable_models: Option<BTreeMap<String, ReachableModels>>,
    /// What routes serve that are in the namespaces of a Team's keys, and not among those above.
    pub served_elsewhere: BTreeMap<String, Arc<ModelSet>>,
    /// Keys that take over a Secret of their name that was not made for them, because their owner says so.
    pub adopting: BTreeSet<ObjectName>,
    /// Secrets that are there and cannot be read as they are now, and why.
    pub unreadable: BTreeMap<ObjectName, Arc<str>>,
    /// What of those is in force, and goes on.
    pub delivered: Delivered,
    /// Whether a Secret is its author's word, as in a folder of manifests. In a cluster a key's Secret is its own only by reference.
    pub secrets_are_authored: bool,
}

/// What sidecars have of Secrets that cannot be read now.
#[derive(Clone, Default)]
pub struct Delivered {
    /// The values of keys, with the Secret that each is in.
    pub values: BTreeMap<ObjectName, DeliveredValue>,
    /// Files of credentials, by their names.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// The value of a key as sidecars have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveredValue {
    /// The key that it is of: one that is recreated under its name is another.
    pub account: Uid,
    /// The Secret that it is in.
    pub secret: ObjectName,
    /// What is valid, and until when.
    pub credentials: Vec<v1::Credential>,
}

impl fmt::Debug for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The credentials stay unseen.
        let files: Vec<&String> = self.files.keys().collect();
        f.debug_struct("Delivered").field("values", &self.values).field("files", &files).finish()
    }
}

/// Whether sidecars count together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// Each counts for itself.
    #[default]
    Apart,
    /// In a store.
    Together,
    /// In a store that cannot be reached.
    Unreachable,
    /// In a store that has no memory left.
    Full,
    /// In a store that a script keeps busy.
    Busy,
    /// In a store that forgets everything when it restarts.
    Volatile,
}

/// The models that keys of one namespace may use, by the namespace of the routes.
pub type ReachableModels = BTreeMap<String, Arc<ModelSet>>;

/// The annotation on an ApiKey or a Team that names the account which it carries on.
pub(crate) const ACCOUNT: &str = "vectoll.dev/account";

/// The annotation on an ApiKey or a Team that has its budgets count anew from a moment on.
pub(crate) const RESET_BUDGETS: &str = "vectoll.dev/reset-budgets";

/// Why a reference leads nowhere: a reason for programs, a message for people.
pub(crate) type Unresolved = (&'static str, String);

/// The reason for a Secret that is there and cannot be read.
pub(crate) const SECRET_UNREADABLE: &str = "SecretUnreadable";

impl ObservedState {
    /// What is taken out of a config first that is too large: by order, the last of these. What is nearer stays: no other namespace pushes
    /// out what is this one's own.
    pub(crate) fn age(&self, kind: Kind, name: &ObjectName) -> (bool, Option<Timestamp>, ObjectName) {
        let (is_from_elsewhere, created) = match kind {
            Kind::ApiKey | Kind::Team => (false, self.api_keys.get(name).and_then(|key| key.created)),
            Kind::ModelRoute => match self.routes.get(name) {
                Some(own) => (false, own.created),
                None => (true, self.routes_elsewhere.get(name).and_then(|route| route.created)),
            },
        };
        (is_from_elsewhere, created, name.clone())
    }

    /// Who carries out the calls of a namespace's sidecars by a route that leaves them to this one.
    pub(crate) fn carrier(&self, namespace: &str, route: Carrier) -> Carrier {
        self.delivery.carrier_in(self.namespaces.get(namespace), route)
    }

    /// A Secret that the field at `path` refers to can be read, or is known not to be there.
    pub(crate) fn readable(&self, secret: &ObjectName, path: &str) -> Result<(), Unresolved> {
        self.unreadable.get(secret).map_or(Ok(()), |why| {
            let message = format!(
                "{path}: the Secret {secret} cannot be read ({why}): what sidecars have of it stays in force, and it is tried again"
            );
            Err((SECRET_UNREADABLE, message))
        })
    }

    /// An entry of a Secret that the field at `path` refers to, and that is not one that cannot be read: [`ObservedState::readable`].
    pub(crate) fn entry(&self, secret: &ObjectName, entry: &str, path: &str) -> Result<&[u8], Unresolved> {
        let content = self
            .secrets
            .get(secret)
            .ok_or_else(|| ("SecretNotFound", format!("{path}: there is no Secret {secret}: create it")))?;
        content.entry(entry).ok_or_else(|| {
            let has: Vec<&str> = content.names().collect();
            let has = if has.is_empty() { "nothing".to_owned() } else { has.join(", ") };
            let message =
                format!("{path}: the Secret {secret} has no entry \"{entry}\" with something in it (it has: {has})");
            ("SecretKeyMissing", message)
        })
    }
}

/// What a Secret holds. Its `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretContent {
    /// Its type.
    pub kind: String,
    /// The ApiKey that it was made for, if it was made.
    pub owner: Option<String>,
    /// The UID of the ApiKey that owns it, where an owner reference says so.
    pub owner_uid: Option<Uid>,
    /// What the operator noted on it.
    pub notes: Notes,
    /// Whether the operator made it and keeps it.
    pub generated: bool,
    /// What its ApiKey's template has put on it.
    pub(crate) template: AppliedTemplate,
    entries: BTreeMap<String, Vec<u8>>,
}

impl SecretContent {
    /// From the object: `data`, with `stringData` over it as the API server merges them.
    pub fn of(secret: Secret) -> Self {
        let data = secret.data.unwrap_or_default().into_iter().map(|(name, value)| (name, value.0));
        let text = secret.string_data.unwrap_or_default().into_iter().map(|(name, value)| (name, value.into_bytes()));
        Self::new(secret.type_, &secret.metadata, data.chain(text).collect())
    }

    /// From its parts.
    pub(crate) fn new(kind: Option<String>, metadata: &ObjectMeta, entries: BTreeMap<String, Vec<u8>>) -> Self {
        let none = BTreeMap::new();
        let annotations = metadata.annotations.as_ref().unwrap_or(&none);
        let is_key = |reference: &&OwnerReference| {
            reference.kind == "ApiKey" && reference.api_version.split('/').next() == Some(vectoll_crds::GROUP)
        };
        let owner_uid = metadata.owner_references.iter().flatten().find(is_key).map(|key| Uid::new(&key.uid));
        Self {
            kind: kind.unwrap_or_else(|| "Opaque".to_owned()),
            owner: annotations.get(key_secret::OWNER).cloned(),
            generated: owner_uid.is_some(),
            owner_uid,
            notes: Notes::of(annotations),
            template: AppliedTemplate::of(metadata),
            entries,
        }
    }

    /// The same content as one that the operator made and keeps.
    #[must_use]
    pub fn generated(self) -> Self {
        Self { generated: true, ..self }
    }

    /// One entry without the white space around it, which files and terminals add; none where nothing is left.
    pub fn entry(&self, name: &str) -> Option<&[u8]> {
        self.entries.get(name).map(|value| value.trim_ascii()).filter(|value| !value.is_empty())
    }

    /// The names of the entries.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

impl fmt::Debug for SecretContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretContent")
            .field("kind", &self.kind)
            .field("owner", &self.owner)
            .field("generated", &self.generated)
            .field("entries", &self.entries.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// A kind of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// ApiKey.
    ApiKey,
    /// ModelRoute.
    ModelRoute,
    /// Team.
    Team,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey => "ApiKey",
            Self::ModelRoute => "ModelRoute",
            Self::Team => "Team",
        })
    }
}

/// A resource of ours by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub name: ObjectName,
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}
