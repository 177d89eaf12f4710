//! Teams and the namespaces they look for routes in.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use vectoll_config::ObjectName;

use super::claims::Claims;
use crate::{
    condition::{Condition, ConditionType, complete, exactness, suspended},
    consent::consents,
    validate::{self, ValidTeam, team},
    world::{Fault, Kind, ResourceRef, World},
};

/// The Teams that can be used, and every Team's conditions.
pub(crate) fn resolve_teams(
    world: &World,
    conditions: &mut BTreeMap<ResourceRef, Vec<Condition>>,
) -> BTreeMap<ObjectName, Arc<ValidTeam>> {
    let mut usable = BTreeMap::new();
    let users_of = users_of(world);
    let claims = Claims::of(|| world.teams.values().chain(&world.claimants.teams).map(|object| &**object));
    for object in world.teams.values() {
        let of = ResourceRef { kind: Kind::Team, name: object.name.clone() };
        let fault = world.faults.get(&of);
        if let Some(fault) = fault.filter(|fault| !fault.has_last) {
            conditions.insert(of, complete(vec![unreadable(fault)]));
            continue;
        }
        let mut found = Vec::new();
        let valid = team(object).and_then(|team| claims.check(object).map(|()| team).map_err(|fault| vec![fault]));
        match valid {
            Ok(team) => {
                found.push(Condition::holds(ConditionType::Accepted, "Accepted", ""));
                // Of those that it allows: nobody else's keys say anything about it.
                let users = users_of.get(&(team.name.namespace(), team.name.name())).into_iter().flatten();
                let allowed = |user: &&str| consents(&team.allowed_namespaces, team.name.namespace(), user, world);
                let users: BTreeSet<&str> = users.copied().filter(allowed).collect();
                found.push(route_namespaces(&team, &users, world));
                if is_limited(&team) {
                    let sidecars = |namespace: &&str| world.sidecars.get(*namespace).copied().unwrap_or_default();
                    found.push(exactness(world.counting, users.iter().map(sidecars).sum()));
                }
                if team.suspended {
                    found.push(suspended("the Team is suspended: its keys are refused"));
                }
                usable.insert(team.name.clone(), Arc::new(team));
            }
            Err(faults) => found.push(invalid(&faults)),
        }
        not_accepted(&mut found, fault);
        conditions.insert(of, complete(found));
    }
    usable
}

/// The condition of a spec that makes no sense.
pub(crate) fn invalid(faults: &[validate::Fault]) -> Condition {
    let message = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Condition::fails(ConditionType::Accepted, "Invalid", message)
}

/// The condition of a resource that cannot be read.
pub(super) fn unreadable(fault: &Fault) -> Condition {
    Condition::fails(ConditionType::Accepted, "Unreadable", fault.message.to_string())
}

/// What holds of a resource of which an earlier state goes on in force: it is not accepted as it is now.
pub(super) fn not_accepted(found: &mut [Condition], fault: Option<&Fault>) {
    let accepted = found.iter_mut().find(|condition| condition.kind == ConditionType::Accepted);
    if let (Some(accepted), Some(fault)) = (accepted, fault) {
        *accepted = unreadable(fault);
    }
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
            !world.routes.values().chain(world.routes_elsewhere.values()).any(|route| {
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

/// The namespaces of each Team's keys, by the Team's namespace and name.
fn users_of(world: &World) -> HashMap<(&str, &str), BTreeSet<&str>> {
    let mut users: HashMap<(&str, &str), BTreeSet<&str>> = HashMap::new();
    for key in world.api_keys.values() {
        let namespace = key.name.namespace();
        let team = (key.spec.team_ref.namespace.as_deref().unwrap_or(namespace), &*key.spec.team_ref.name);
        users.entry(team).or_default().insert(namespace);
    }
    for (team, namespaces) in &world.team_users {
        let users = users.entry((team.namespace(), team.name())).or_default();
        users.extend(namespaces.iter().map(String::as_str));
    }
    users
}

fn is_limited(team: &ValidTeam) -> bool {
    let limits = [&team.limits, &team.user_limits, &team.namespace_limits];
    let by_limit = limits.iter().any(|limits| !limits.is_none()) || !team.model_limits.is_empty();
    let budgets = [&team.budget, &team.user_budget, &team.namespace_budget];
    by_limit || budgets.iter().any(|budget| budget.is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_config::Uid;
    use vectoll_crds::{ApiKeySpec, TeamSpec};

    use super::*;
    use crate::{
        condition::Status,
        world::{Counting, Object},
    };

    #[test]
    fn keys_of_those_whom_a_team_does_not_allow_say_nothing_about_it() {
        let mut world = World::default();
        let team = ObjectName::new("apps", "team");
        let spec: TeamSpec = serde_yaml::from_str("{limits: {requestsPerMinute: 1}}").unwrap();
        let object =
            Object { name: team.clone(), uid: Uid::new("t"), created: None, rotate: None, account: None, spec };
        world.teams.insert(team.clone(), object.into());
        world.sidecars.insert("elsewhere".to_owned(), 9);
        let name = ObjectName::new("elsewhere", "stranger");
        let spec: ApiKeySpec = serde_yaml::from_str("{teamRef: {name: team, namespace: apps}}").unwrap();
        let object =
            Object { name: name.clone(), uid: Uid::new("s"), created: None, rotate: None, account: None, spec };
        world.api_keys.insert(name, object.into());
        let exact = |world: &World| {
            let mut conditions = BTreeMap::new();
            resolve_teams(world, &mut conditions);
            let found = conditions.remove(&ResourceRef { kind: Kind::Team, name: team.clone() }).unwrap();
            found.iter().find(|condition| condition.kind == ConditionType::LimitsExact).unwrap().status
        };
        assert_eq!(exact(&world), Status::True);
        let spec: TeamSpec =
            serde_yaml::from_str("{limits: {requestsPerMinute: 1}, allowedNamespaces: {from: All}}").unwrap();
        let object =
            Object { name: team.clone(), uid: Uid::new("t"), created: None, rotate: None, account: None, spec };
        world.teams.insert(team.clone(), object.into());
        assert_eq!(exact(&world), Status::False);
        // With a store all count together, for as long as it can be reached.
        for (counting, expected) in [
            (Counting::Together, Status::True),
            (Counting::Unreachable, Status::False),
            (Counting::Volatile, Status::False),
        ] {
            world.counting = counting;
            assert_eq!(exact(&world), expected);
        }
    }
}
