//! Which routes keys can reach, and what of their lists of models those serve.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use vectoll_config::ObjectName;

use super::{
    model_lists::{matched, told_of},
    routes::ResolvedRoute,
};
use crate::{
    condition::Condition,
    consent::consents,
    model_set::ModelSet,
    observed_state::ObservedState,
    validate::{ValidKey, ValidTeam},
};

/// The routes that keys of a namespace may see, of those in the namespaces that their Teams look into. One that no Team looks into
/// delivers nothing: neither routes nor, above all, credentials.
pub(crate) fn seen<'a>(
    namespace: &str,
    observed: &ObservedState,
    searched: &BTreeSet<&str>,
    routes: &'a [Arc<ResolvedRoute>],
) -> impl Iterator<Item = &'a Arc<ResolvedRoute>> {
    routes
        .iter()
        .filter(|route| searched.contains(route.name.namespace()))
        .filter(move |route| consents(&route.allowed_namespaces, route.name.namespace(), namespace, observed))
}

/// Where the keys that a Team has in a namespace look for routes: there first, then in the Team's own namespace, then in those that
/// the Team names.
pub(crate) fn searched(team: &ValidTeam, namespace: &str) -> Vec<String> {
    let mut search = vec![namespace.to_owned(), team.name.namespace().to_owned()];
    search.extend(team.route_namespaces.iter().cloned());
    let mut seen = BTreeSet::new();
    search.retain(|namespace| seen.insert(namespace.clone()));
    search
}

/// What the routes serve that keys of a Team in a namespace see, and what of that the Team may use.
struct Served {
    all: ModelSet,
    allowed: ModelSet,
}

/// Judges the lists of keys. What a Team's keys see is found out once for each namespace.
pub(super) struct KeyLists<'a> {
    observed: &'a ObservedState,
    teams: &'a BTreeMap<ObjectName, Arc<ValidTeam>>,
    routes: &'a [Arc<ResolvedRoute>],
    served: HashMap<(String, ObjectName), Served>,
}

impl<'a> KeyLists<'a> {
    pub(super) fn new(
        observed: &'a ObservedState,
        teams: &'a BTreeMap<ObjectName, Arc<ValidTeam>>,
        routes: &'a [Arc<ResolvedRoute>],
    ) -> Self {
        Self { observed, teams, routes, served: HashMap::new() }
    }

    /// Whether every pattern of a key's list matches something. None: it has no list, or its Team cannot be used.
    pub(super) fn judge(&mut self, key: &ValidKey) -> Option<Condition> {
        let models = key.models.as_ref()?;
        let team = self.teams.get(&key.team)?;
        let namespace = key.name.namespace();
        let served = self.served.entry((namespace.to_owned(), key.team.clone())).or_insert_with(|| {
            let search = searched(team, namespace);
            let search = search.iter().map(String::as_str).collect();
            let all: ModelSet =
                seen(namespace, self.observed, &search, self.routes).flat_map(|route| route.models.clone()).collect();
            let allowed = team.models.as_ref().map(|list| list.iter().cloned().collect::<ModelSet>());
            Served { allowed: allowed.map_or_else(|| all.clone(), |allowed| all.and(&allowed)), all }
        });
        let (mut unserved, mut not_allowed) = (Vec::new(), Vec::new());
        for model in models.iter().filter(|model| !served.allowed.overlaps(model)) {
            let list = if served.all.overlaps(model) { &mut not_allowed } else { &mut unserved };
            list.push(model);
        }
        let mut told = Vec::new();
        if !unserved.is_empty() {
            told.push(format!("{} of no ModelRoute that this key can reach", told_of(&unserved)));
        }
        if !not_allowed.is_empty() {
            told.push(format!("{} not among the models of its Team", told_of(&not_allowed)));
        }
        Some(matched(&told))
    }
}
