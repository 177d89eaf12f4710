//! From the observed state to the desired state: pure, and the whole of what the operator decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use vectoll_config::{ObjectName, Uid, store, v1::Budget};

use crate::{
    build::build,
    delivery::Carrier,
    key_secret::{Adoption, TemplateChange, ValueCreation},
    ledger::TeamQuery,
    observed_state::{ObservedState, ResourceRef},
    resolve::{Lineages, ResolvedKey, ResolvedRoute, resolve_keys, resolve_routes, resolve_teams, searched, seen},
    store::NamespaceStore,
    validate::{ValidBackend, ValidBudget, ValidTeam},
};
pub use crate::{
    build::{Credentials, NamespaceConfig},
    condition::{Condition, ConditionType, Status},
};

/// What should be.
#[derive(Debug)]
pub struct DesiredState {
    /// Every resource's conditions.
    pub conditions: BTreeMap<ResourceRef, Vec<Condition>>,
    /// Values of keys that are to be made.
    pub to_create: Vec<ValueCreation>,
    /// Secrets that keys take over.
    pub to_adopt: Vec<Adoption>,
    /// Labels and annotations of keys' Secrets that are to be changed.
    pub to_label: Vec<TemplateChange>,
    /// Generated Secrets of `ApiKeys` that are gone, in the way of others.
    pub stale: Vec<ObjectName>,
    /// When to reconcile again though nothing changes: a key expires, or is to be renewed.
    pub next: Option<Timestamp>,
    teams: BTreeMap<ObjectName, Arc<ValidTeam>>,
    lineages: Lineages,
    keys: Vec<ResolvedKey>,
    routes: Vec<Arc<ResolvedRoute>>,
}

/// Conditions by resource.
pub(crate) type Conditions = BTreeMap<ResourceRef, Vec<Condition>>;

/// The Teams and routes of some namespaces, as keys elsewhere may come to use them. Cheap to copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offers {
    teams: BTreeMap<ObjectName, Arc<ValidTeam>>,
    routes: Vec<Arc<ResolvedRoute>>,
}

impl Offers {
    /// With others beside them.
    pub(crate) fn with(mut self, others: &Self) -> Self {
        self.teams.extend(others.teams.iter().map(|(name, team)| (name.clone(), team.clone())));
        self.routes.extend(others.routes.iter().cloned());
        self
    }
}

/// Validates and resolves.
pub fn desired_state(observed: &ObservedState, now: Timestamp) -> DesiredState {
    let (offers, conditions) = offers(observed, now);
    desired_keys(observed, offers, conditions, now)
}

/// What the observed state's own Teams and routes offer, and their conditions.
pub(crate) fn offers(observed: &ObservedState, now: Timestamp) -> (Offers, Conditions) {
    let mut conditions = BTreeMap::new();
    let teams = resolve_teams(observed, &mut conditions);
    let routes = resolve_routes(observed, now, &mut conditions);
    (Offers { teams, routes }, conditions)
}

/// The observed keys, which may use what its own and other namespaces offer.
pub(crate) fn desired_keys(
    observed: &ObservedState,
    offers: Offers,
    mut conditions: Conditions,
    now: Timestamp,
) -> DesiredState {
    let Offers { teams, mut routes } = offers;
    routes.sort_by(|a, b| a.name.cmp(&b.name));
    let lineages = Lineages::of(&teams, observed);
    lineages.tell(&teams, &mut conditions);
    let keys = resolve_keys(observed, (&teams, &lineages), &routes, now, &mut conditions);
    let values = keys.values;
    DesiredState {
        conditions,
        to_create: values.to_create,
        to_adopt: values.to_adopt,
        to_label: values.to_label,
        stale: values.stale,
        next: values.next,
        teams,
        lineages,
        keys: keys.working,
        routes,
    }
}

impl DesiredState {
    /// The config of a namespace.
    pub fn config(
        &self,
        observed: &ObservedState,
        namespace: &str,
        credentials: Credentials,
        store: Option<NamespaceStore>,
    ) -> NamespaceConfig {
        build(
            namespace,
            observed,
            (&self.teams, &self.lineages),
            self.keys_in(namespace),
            &self.routes,
            credentials,
            store,
        )
    }

    /// The Teams of a namespace's keys, and those above them, by what their accounts are kept under.
    pub fn teams_in(&self, namespace: &str) -> impl Iterator<Item = &Uid> {
        let names = self.lineages.with_above(self.keys_in(namespace).iter().map(|resolved| &resolved.key.team));
        names.into_iter().filter_map(|name| Some(&self.teams.get(name)?.account))
    }

    /// The routes that keys of a namespace see.
    fn seen_in(&self, observed: &ObservedState, namespace: &str) -> Vec<&Arc<ResolvedRoute>> {
        let names: BTreeSet<&ObjectName> = self.keys_in(namespace).iter().map(|resolved| &resolved.key.team).collect();
        let teams = names.into_iter().filter_map(|name| self.teams.get(name));
        let search: BTreeSet<String> = teams.flat_map(|team| searched(team, namespace)).collect();
        let search = search.iter().map(String::as_str).collect();
        seen(namespace, observed, &search, &self.routes).collect()
    }

    /// The routes that work, and whose calls a namespace's sidecars do not carry out.
    pub(crate) fn not_sidecars(&self, observed: &ObservedState, namespace: &str) -> BTreeSet<ObjectName> {
        let working = self.routes.iter().filter(|route| route.carrier != Carrier::Nobody);
        working
            .filter(|route| observed.carrier(namespace, route.carrier) != Carrier::Sidecars)
            .map(|route| route.name.clone())
            .collect()
    }

    /// Who carries out the calls of the routes that a namespace's keys see.
    fn carriers_in(&self, observed: &ObservedState, namespace: &str) -> impl Iterator<Item = Carrier> {
        let seen = self.seen_in(observed, namespace).into_iter();
        seen.map(move |route| observed.carrier(namespace, route.carrier))
    }

    /// Whether a namespace's sidecars pass calls on to the gateway.
    pub(crate) fn passes_on(&self, observed: &ObservedState, namespace: &str) -> bool {
        self.carriers_in(observed, namespace).any(|carrier| carrier == Carrier::Gateway)
    }

    /// Whether a namespace's sidecars carry calls out themselves, and so count in its Teams; or would, of a route to come.
    pub(crate) fn counts(&self, observed: &ObservedState, namespace: &str) -> bool {
        let to_come = observed.carrier(namespace, Carrier::Sidecars);
        let mut carriers = self.carriers_in(observed, namespace).peekable();
        let is_first = carriers.peek().is_none().then_some(to_come);
        is_first.into_iter().chain(carriers).any(|carrier| carrier == Carrier::Sidecars)
    }

    /// The backends with limits that a namespace's sidecars may call, by what those limits are counted under.
    pub fn limited_in(&self, observed: &ObservedState, namespace: &str, scope: &str) -> Vec<Uid> {
        let is_limited = |route: &Arc<ResolvedRoute>| route.backends.iter().any(ValidBackend::is_limited);
        if !self.routes.iter().any(is_limited) {
            return Vec::new();
        }
        let account = |route: &ResolvedRoute, backend: &str| {
            store::backend_account(Some(scope), &format!("{}/{backend}", route.name))
        };
        self.seen_in(observed, namespace)
            .into_iter()
            .filter(|route| observed.carrier(namespace, route.carrier) == Carrier::Sidecars)
            .flat_map(|route| {
                let limited = route.backends.iter().filter(|backend| backend.is_limited());
                limited.map(|backend| account(route, &backend.name))
            })
            .collect()
    }

    /// What is owed to the providers of a namespace's own routes: the budgets of each backend that has any, by what they are counted under.
    pub fn owed_in(&self, namespace: &str, scope: &str) -> BTreeMap<Uid, TeamQuery> {
        let own = self.routes.iter().filter(|route| route.name.namespace() == namespace);
        let backends = own.flat_map(|route| route.backends.iter().map(move |backend| (route, backend)));
        backends
            .filter(|(_, backend)| !backend.budgets.is_empty())
            .map(|(route, backend)| {
                let account = store::backend_account(Some(scope), &format!("{}/{}", route.name, backend.name));
                (account, TeamQuery { budgets: backend.budgets.clone(), ..TeamQuery::default() })
            })
            .collect()
    }

    /// The backends of a route that have budgets.
    pub(crate) fn owed_by(&self, route: &ObjectName) -> impl Iterator<Item = (&str, &[Budget])> {
        let at = self.routes.binary_search_by(|resolved| resolved.name.cmp(route)).ok();
        let backends = at.and_then(|at| self.routes.get(at)).into_iter().flat_map(|route| &route.backends);
        backends.filter(|backend| !backend.budgets.is_empty()).map(|backend| (&*backend.name, &*backend.budgets))
    }

    /// Who spends: the Teams of working keys, and these.
    pub fn accounts(&self) -> BTreeMap<Uid, TeamQuery> {
        let allowed = |budgets: &[ValidBudget]| budgets.iter().map(|valid| valid.budget.clone()).collect();
        let mut accounts: BTreeMap<Uid, TeamQuery> = BTreeMap::new();
        for ResolvedKey { key, value: _ } in &self.keys {
            let Some(team) = self.teams.get(&key.team) else { continue };
            let of = accounts
                .entry(team.account.clone())
                .or_insert_with(|| TeamQuery { budgets: allowed(&team.budgets), ..TeamQuery::default() });
            of.in_tree |= team.parent.is_some();
            of.keys.insert(key.account.clone(), allowed(&key.budgets));
            // Those above hold its calls to their budgets, whether or not they have keys themselves.
            for above in self.lineages.above(&key.team).unwrap_or_default() {
                let Some(team) = self.teams.get(above) else { continue };
                accounts
                    .entry(team.account.clone())
                    .or_insert_with(|| TeamQuery { budgets: allowed(&team.budgets), ..TeamQuery::default() });
            }
        }
        accounts
    }

    /// A Team of this name that makes sense.
    pub(crate) fn team(&self, name: &ObjectName) -> Option<&ValidTeam> {
        self.teams.get(name).map(|team| &**team)
    }

    /// A working key of this name.
    pub(crate) fn key(&self, name: &ObjectName) -> Option<&ResolvedKey> {
        let at = self.keys.binary_search_by(|resolved| resolved.key.name.cmp(name)).ok()?;
        self.keys.get(at)
    }

    fn keys_in(&self, namespace: &str) -> &[ResolvedKey] {
        let begin = self.keys.partition_point(|resolved| resolved.key.name.namespace() < namespace);
        let rest = self.keys.get(begin..).unwrap_or_default();
        let end = rest.partition_point(|resolved| resolved.key.name.namespace() == namespace);
        rest.get(..end).unwrap_or_default()
    }
}
