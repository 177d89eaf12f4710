//! The config compiled for serving: references resolved, names indexed, credentials read. Immutable; a reload makes a
//! new one and swaps it in, and each request holds the one it began with.

mod backend;
mod choose;
mod compile;
mod passed_on;
mod provider;
mod retry;
mod route;
mod served;
mod shared_state;
mod token_file;
mod tokens;
mod union;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use vectoll_config::{
    KeyHash, ModelPattern, ObjectName, Uid,
    v1::{Budget, Limits, ModelLimits, OnStoreFailure, TagLimits, UserPolicy},
};

use crate::pod_token::PodTokens;
use vectoll_limits::store::StoreAccess;

pub use backend::Backend;
pub use choose::{Choice, ExcludedBackends, NoChoice};
pub use compile::{CompileError, compile};
pub use passed_on::PassedOn;
pub use retry::{RetryBudget, RetryBudgets};
pub use route::{Coalesce, Route, RouteIndex, RouteSettings};
pub use served::InForce;
pub use shared_state::{CredentialFiles, Identity, SharedState};
pub use union::{Ambiguous, union};

/// What this sidecar serves by.
#[derive(Debug, Default)]
pub struct Policy {
    /// The config's generation; 0: none was loaded yet.
    pub generation: u64,
    /// The namespace whose pods are served.
    pub namespace: Arc<str>,
    /// Every credential and whose it is.
    pub keys: HashMap<KeyHash, Credential>,
    /// All keys, once each.
    pub all_keys: Vec<Arc<Key>>,
    /// Values that keys of several namespaces hold, as a gateway finds them: nobody can say whose call it is, so it is nobody's.
    pub ambiguous: HashSet<KeyHash>,
    /// All teams, by what their counts are kept under.
    pub teams: HashMap<Uid, Arc<Team>>,
    /// Teams of [`Self::teams`] as keys of further namespaces have them: with other routes, and other limits on the namespace. In a
    /// gateway only.
    pub other_views: Vec<Arc<Team>>,
    /// The accounts of backends with limits.
    pub limited: HashSet<Uid>,
    /// Where all sidecars count together; none: this one counts alone.
    pub store: Option<Arc<StoreAccess>>,
    /// What the placeholder stands for; none: nothing, as outside a pod that names an ApiKey.
    pub pod: Option<PodKey>,
    /// What a gateway calls itself to those whom it calls ([`crate::via`]); none: it is a sidecar.
    pub pseudonym: Option<Arc<str>>,
    /// Whether tokens of pods are taken. In a gateway only.
    pub pod_tokens: PodTokens,
    /// The keys of its own config by name: tokens of pods name them.
    pub by_name: HashMap<Arc<str>, Arc<Key>>,
    /// What each namespace is served by. In a gateway only.
    pub namespaces: HashMap<Arc<str>, Arc<Policy>>,
}

impl Policy {
    /// All backends that calls may go to, some of them several times.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        let routes = self.views().flat_map(|team| &team.search).flat_map(|index| index.routes());
        routes.flat_map(|route| &route.backends)
    }

    /// All teams, each as often as there are namespaces that have it.
    pub fn views(&self) -> impl Iterator<Item = &Arc<Team>> {
        self.teams.values().chain(&self.other_views)
    }
}

/// One value of a key.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Whose it is.
    pub key: Arc<Key>,
    /// When it ends, though the key goes on.
    pub expires_at: Option<Timestamp>,
}

/// The ApiKey that a pod calls as without holding a key, as its sidecar was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnKey {
    /// Its name.
    pub name: ObjectName,
    /// Whether calls without any key count as made with it.
    pub keyless: bool,
}

/// The same in the light of a config.
#[derive(Debug)]
pub struct PodKey {
    /// `namespace/name`, as the pod has it.
    pub name: Arc<str>,
    /// Whether calls without any key count as made with it.
    pub keyless: bool,
    /// The key; none: the config does not have it.
    pub key: Option<Arc<Key>>,
}

/// A key.
#[derive(Debug)]
pub struct Key {
    /// `namespace/name`.
    pub name: Arc<str>,
    /// What its counts are kept under.
    pub uid: Uid,
    /// The team.
    pub team: Arc<Team>,
    /// The owner.
    pub owner: Option<Arc<str>>,
    /// Whether a call may name its user.
    pub user_policy: UserPolicy,
    /// Models it may use; none: all.
    pub models: Option<Vec<ModelPattern>>,
    /// Limits on all calls.
    pub limits: Limits,
    /// How long calls may wait for room in limits; none: they are refused.
    pub max_wait: Option<Duration>,
    /// The most tokens of one call; none: any number.
    pub max_tokens_per_call: Option<u64>,
    /// Limits by model.
    pub model_limits: Vec<ModelLimits>,
    /// Limits on each user.
    pub user_limits: Limits,
    /// Budgets.
    pub budgets: Vec<Budget>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// Whether it is refused.
    pub suspended: bool,
    /// What stands in the access log of its calls; none: nothing does.
    pub metadata: Option<Arc<BTreeMap<String, String>>>,
}

/// A team.
#[derive(Debug)]
pub struct Team {
    /// `namespace/name`.
    pub name: Arc<str>,
    /// What its counts are kept under.
    pub uid: Uid,
    /// The Team above it.
    pub parent: Option<Arc<Team>>,
    /// Whether it is refused.
    pub suspended: bool,
    /// The routes of one namespace after the other, in the order in which they are searched.
    pub search: Vec<Arc<RouteIndex>>,
    /// Models it may use; none: all.
    pub models: Option<Vec<ModelPattern>>,
    /// Limits on all calls.
    pub limits: Limits,
    /// The most tokens of one call; none: any number.
    pub max_tokens_per_call: Option<u64>,
    /// Limits by model.
    pub model_limits: Vec<ModelLimits>,
    /// Limits by tag.
    pub tag_limits: Vec<TagLimits>,
    /// Limits on each user.
    pub user_limits: Limits,
    /// Budgets.
    pub budgets: Vec<Budget>,
    /// Each user's budgets.
    pub user_budgets: Vec<Budget>,
    /// What its calls are held to because they come from a namespace that is not its own; none: they come from its own.
    pub guest: Option<GuestNamespace>,
    /// Users told apart.
    pub max_users: u32,
    /// What holds while the store cannot be reached.
    pub on_store_failure: OnStoreFailure,
    /// Tags whose spend is counted.
    pub tags: BTreeSet<Arc<str>>,
}

/// A namespace whose keys belong to another namespace's Team.
#[derive(Debug)]
pub struct GuestNamespace {
    /// Its name.
    pub namespace: Arc<str>,
    /// Limits on all of its calls.
    pub limits: Limits,
    /// Its budgets.
    pub budgets: Vec<Budget>,
    /// Whether the routes of this namespace are none of the Team's.
    pub has_foreign_routes: bool,
}

impl Team {
    /// Itself and all Teams above it, from below.
    pub fn lineage(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |team| team.parent.as_deref())
    }

    /// Whether a model is in its list, and in those of all Teams above it.
    pub fn allows(&self, model: &str) -> bool {
        self.lineage().all(|team| allows(team.models.as_deref(), model))
    }

    /// The route of a model: the first namespace in the team's order that has one decides, so that no stranger's exact
    /// name can draw inputs that a nearer route would take.
    pub fn route(&self, model: &str) -> Option<&Arc<Route>> {
        self.search.iter().find_map(|index| index.route(model))
    }

    /// Whether a route is none of the Team's: its prices were set by those who are held to the Team's budget, so what it costs
    /// counts in no budget that is the Team's.
    pub fn is_foreign(&self, route: &Route) -> bool {
        let namespace = route.manner.name.split_once('/').map(|(namespace, _)| namespace);
        let guest = self.guest.as_ref().filter(|guest| guest.has_foreign_routes);
        guest.is_some_and(|guest| namespace == Some(&*guest.namespace))
    }
}

/// Whether an allowlist lets a model through.
pub fn allows(models: Option<&[ModelPattern]>, model: &str) -> bool {
    models.is_none_or(|models| models.iter().any(|pattern| pattern.covers(model)))
}
