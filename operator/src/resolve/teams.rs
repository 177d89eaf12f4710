//! Teams and the namespaces they look for routes in.

use std::collections::{BTreeMap, BTreeSet};

use vectoll_config::ObjectName;

use crate::{
    condition::{Condition, ConditionType, complete, exactness},
    consent::consents,
    validate::{Fault, ValidTeam, team},
    world::{Kind, ResourceRef, World},
};

/// The Teams that can be used, and every Team's conditions.
pub(crate) fn resolve_teams(
    world: &World,
    conditions: &mut BTreeMap<ResourceRef, Vec<Condition>>,
) -> BTreeMap<ObjectName, ValidTeam> {
    let mut usable = BTreeMap::new();
    for object in world.teams.values() {
        let mut found = Vec::new();
        let mut ready = Ok(());
        match team(object) {
            Ok(team) => {
                found.push(Condition::holds(ConditionType::Accepted, "Accepted", ""));
                let users = users(&team, world);
                found.push(route_namespaces(&team, &users, world));
                if is_limited(&team) {
                    let sidecars = |namespace: &&str| world.sidecars.get(*namespace).copied().unwrap_or_default();
                    found.push(exactness(users.iter().map(sidecars).sum()));
                }
                if team.suspended {
                    ready = Err(("Suspended", "the Team is suspended: its keys are refused".to_owned()));
                }
                usable.insert(team.name.clone(), team);
            }
            Err(faults) => found.push(invalid(&faults)),
        }
        let of = ResourceRef { kind: Kind::Team, name: object.name.clone() };
        conditions.insert(of, complete(found, ready));
    }
    usable
}

/// The condition of a spec that makes no sense.
pub(crate) fn invalid(faults: &[Fault]) -> Condition {
    let message = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Condition::fails(ConditionType::Accepted, "Invalid", message)
}

/// A namespace that is named but shares nothing is worth a word: someone expects routes from it.
fn route_namespaces(team: &ValidTeam, users: &BTreeSet<&str>, world: &World) -> Condition {
    // A route must allow the namespaces of the Team's keys: it is there that its credentials are delivered.
    let own = BTreeSet::from([team.name.namespace()]);
    let users = if users.is_empty() { &own } else { users };
    let silent: Vec<&str> = team
        .route_namespaces
        .iter()
        .map(String::as_str)
        .filter(|namespace| {
            !world.routes.values().any(|route| {
                route.name.namespace() == *namespace
                    && users.iter().all(|user| consents(&route.spec.allowed_namespaces, namespace, user, world))
            })
        })
        .collect();
    if silent.is_empty() {
        Condition::holds(ConditionType::ResolvedRefs, "ResolvedRefs", "")
    } else {
        let message = format!(
            "spec.routeNamespaces: {} has no ModelRoute that allows the namespaces of this Team's keys ({}): its owner sets spec.allowedNamespaces \
             there",
            silent.join(", "),
            users.iter().copied().collect::<Vec<_>>().join(", ")
        );
        Condition::fails(ConditionType::ResolvedRefs, "RefNotPermitted", message)
    }
}

/// The namespaces of the Team's keys: of those that it allows. Nobody else's say anything about it.
fn users<'a>(team: &ValidTeam, world: &'a World) -> BTreeSet<&'a str> {
    world
        .api_keys
        .values()
        .filter(|key| {
            let namespace = key.spec.team_ref.namespace.as_deref().unwrap_or(key.name.namespace());
            key.spec.team_ref.name == team.name.name() && namespace == team.name.namespace()
        })
        .map(|key| key.name.namespace())
        .filter(|namespace| consents(&team.allowed_namespaces, team.name.namespace(), namespace, world))
        .collect()
}

fn is_limited(team: &ValidTeam) -> bool {
    let by_limit = !team.limits.is_none() || !team.user_limits.is_none() || !team.model_limits.is_empty();
    by_limit || team.budget.is_some() || team.user_budget.is_some()
}
