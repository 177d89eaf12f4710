//! Which routes keys can reach: lists of models that match none, and routes that nobody reaches, are most often mistakes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use vectoll_config::{ModelPattern, ObjectName};
use vectoll_crds::AllowedNamespaces;

use super::routes::ResolvedRoute;
use crate::{
    condition::{Condition, ConditionType},
    consent::consents,
    model_set::ModelSet,
    observed_state::ObservedState,
    validate::{ValidKey, ValidTeam},
};

/// Names that a message tells; of more it says how many.
const MAX_TOLD: usize = 10;

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

/// Whether every pattern of a Team's list matches something that keys of it can reach, in any of their namespaces. None: it has no list.
pub(super) fn team_list(team: &ValidTeam, users: &BTreeSet<&str>, observed: &ObservedState) -> Option<Condition> {
    let models = team.models.as_ref()?;
    let own = BTreeSet::from([team.name.namespace()]);
    let users = if users.is_empty() { &own } else { users };
    let listed: BTreeSet<&str> =
        team.route_namespaces.iter().map(String::as_str).chain([team.name.namespace()]).collect();
    let mut served = ModelSet::default();
    for route in observed.routes.values().chain(observed.routes_elsewhere.values()) {
        let namespace = route.name.namespace();
        let is_seen = users.contains(namespace)
            || listed.contains(namespace)
                && users.iter().any(|user| consents(&route.spec.allowed_namespaces, namespace, user, observed));
        if is_seen {
            served.extend(route.spec.models.iter().filter_map(|model| model.parse::<ModelPattern>().ok()));
        }
    }
    for user in users {
        served.extend(observed.served_elsewhere.get(*user).into_iter().flat_map(|models| (**models).clone()));
    }
    let unserved: Vec<&ModelPattern> = models.iter().filter(|model| !served.overlaps(model)).collect();
    let told = (!unserved.is_empty())
        .then(|| format!("{} of no ModelRoute that keys of this Team can reach", told_of(&unserved)));
    Some(matched(told.as_slice()))
}

/// Whether some key can reach a route of a namespace with these names. None: nobody knows of keys.
pub(super) fn route_reached(
    route: &ObjectName,
    allowed: &AllowedNamespaces,
    models: &[ModelPattern],
    observed: &ObservedState,
) -> Option<Condition> {
    let reaches = observed.reach.as_ref()?;
    let looking = reaches.iter().filter_map(|(user, reach)| Some((user, reach.get(route.namespace())?)));
    let (mut looks, mut may) = (false, false);
    for (user, usable) in looking {
        looks = true;
        if !consents(allowed, route.namespace(), user, observed) {
            continue;
        }
        may = true;
        if models.iter().any(|model| usable.overlaps(model)) {
            return Some(Condition::holds(ConditionType::Reachable, "Reachable", ""));
        }
    }
    // Which namespaces those keys are in is not for the route's owner to know.
    let (reason, message) = match (looks, may) {
        (false, _) => (
            "NoKeys",
            "no ApiKey looks here for routes: keys look in their own namespace, in their Team's, and in those of its spec.routeNamespaces",
        ),
        (true, false) => {
            ("NotAllowed", "spec.allowedNamespaces allows none of the namespaces whose keys look here for routes")
        }
        (true, true) => {
            ("NotListed", "the keys that may use this route, or their Teams, list none of its models in spec.models")
        }
    };
    Some(Condition::fails(ConditionType::Reachable, reason, message))
}

fn matched(told: &[String]) -> Condition {
    if told.is_empty() {
        return Condition::holds(ConditionType::ModelsMatched, "ModelsMatched", "");
    }
    let message =
        format!("spec.models: {}: a misspelt name, or a route that is missing or not shared", told.join("; "));
    Condition::fails(ConditionType::ModelsMatched, "NoMatch", message)
}

/// The first names, and how many more there are.
fn told_of(models: &[&ModelPattern]) -> String {
    let names: Vec<String> = models.iter().take(MAX_TOLD).map(ToString::to_string).collect();
    let names = names.join(", ");
    let be = if models.len() == 1 { "is" } else { "are" };
    match models.len().saturating_sub(MAX_TOLD) {
        0 => format!("{names} {be}"),
        more => format!("{names}, … ({more} more) {be}"),
    }
}

#[cfg(test)]
mod tests;
