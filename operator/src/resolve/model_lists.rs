//! Lists of models that match no route, and routes that no key can reach: most often a mistake, and said as a condition.

use std::collections::BTreeSet;

use vectoll_config::{ModelPattern, ObjectName};
use vectoll_crds::AllowedNamespaces;

use super::shortened::shortened;
use crate::{
    condition::{Condition, ConditionType},
    consent::consents,
    model_set::ModelSet,
    observed_state::ObservedState,
    validate::ValidTeam,
};

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
    let reachable = observed.reachable_models.as_ref()?;
    let looking = reachable.iter().filter_map(|(user, models)| Some((user, models.get(route.namespace())?)));
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

/// The condition of a list of which this is wrong.
pub(super) fn matched(told: &[String]) -> Condition {
    if told.is_empty() {
        return Condition::holds(ConditionType::ModelsMatched, "ModelsMatched", "");
    }
    let message =
        format!("spec.models: {}: a misspelt name, or a route that is missing or not shared", told.join("; "));
    Condition::fails(ConditionType::ModelsMatched, "NoMatch", message)
}

/// The names, and what they are: one is, and several are.
pub(super) fn told_of(models: &[&ModelPattern]) -> String {
    format!("{} {}", shortened(models), if models.len() == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests;
