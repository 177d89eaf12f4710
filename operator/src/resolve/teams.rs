//! Teams and the namespaces they look for routes in.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use vectoll_config::ObjectName;

use super::{Lineages, claims::Claims, model_lists::team_list};
use crate::{
    condition::{Condition, ConditionType, complete, exactness, suspended},
    consent::consents,
    observed_state::{Kind, ObservedState, ResourceRef, UnreadableResource},
    validate::{self, ValidTeam, team},
};

/// The Teams that can be used, and every Team's conditions.
pub(crate) fn resolve_teams(
    observed: &ObservedState,
    conditions: &mut BTreeMap<ResourceRef, Vec<Condition>>,
) -> BTreeMap<ObjectName, Arc<ValidTeam>> {
    let users_of = users_of(observed);
    let claims = Claims::of(|| observed.teams.values().chain(&observed.claimants.teams).map(|object| &**object));
    let mut usable = BTreeMap::new();
    let mut judged = Vec::new();
    for object in observed.teams.values() {
        let of = ResourceRef { kind: Kind::Team, name: object.name.clone() };
        let unread = observed.unreadable_resources.get(&of);
        if let Some(unread) = unread.filter(|unread| !unread.has_last) {
            conditions.insert(of, complete(vec![unreadable(unread)]));
            continue;
        }
        let valid = team(object).and_then(|team| claims.check(object).map(|()| team).map_err(|error| vec![error]));
        let valid = valid.map(Arc::new);
        if let Ok(team) = &valid {
            usable.insert(team.name.clone(), Arc::clone(team));
        }
        judged.push((of, unread, valid));
    }
    let below = users_below(&users_of, &usable, observed);
    for (of, unread, valid) in judged {
        let mut found = Vec::new();
        match valid {
            Ok(team) => {
                found.push(Condition::holds(ConditionType::Accepted, "Accepted", ""));
                let users = allowed_users(&team, &users_of, observed);
                found.push(route_namespaces(&team, &users, observed));
                found.extend(team_list(&team, &users, observed));
                if is_limited(&team) {
                    let sidecars = |namespace: &str| observed.sidecars.get(namespace).copied().unwrap_or_default();
                    // Those of Teams below are held to it as well.
                    let mut holding = below.get(&team.name).cloned().unwrap_or_default();
                    holding.extend(users.iter().map(|user| (*user).to_owned()));
                    found.push(exactness(observed.counting, holding.iter().map(|namespace| sidecars(namespace)).sum()));
                }
                if team.suspended {
                    found.push(suspended("the Team is suspended: its keys are refused"));
                }
            }
            Err(errors) => found.push(invalid(&errors)),
        }
        not_accepted(&mut found, unread);
        conditions.insert(of, complete(found));
    }
    usable
}

/// The condition of a spec that is invalid.
pub(crate) fn invalid(errors: &[validate::FieldError]) -> Condition {
    let message = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Condition::fails(ConditionType::Accepted, "Invalid", message)
}

/// The condition of a resource that cannot be read.
pub(super) fn unreadable(unread: &UnreadableResource) -> Condition {
    Condition::fails(ConditionType::Accepted, "Unreadable", unread.message.to_string())
}

/// What holds of a resource of which an earlier state goes on in force: it is not accepted as it is now.
pub(super) fn not_accepted(found: &mut [Condition], unread: Option<&UnreadableResource>) {
    let accepted = found.iter_mut().find(|condition| condition.kind == ConditionType::Accepted);
    if let (Some(accepted), Some(unread)) = (accepted, unread) {
        *accepted = unreadable(unread);
    }
}

/// A namespace that is named but shares nothing is worth a word: someone expects routes from it.
fn route_namespaces(team: &ValidTeam, users: &BTreeSet<&str>, observed: &ObservedState) -> Condition {
    // A route must allow the namespaces of the Team's keys: it is there that its credentials are delivered.
    let own = BTreeSet::from([team.name.namespace()]);
    let users = if users.is_empty() { &own } else { users };
    let silent: Vec<&str> = team
        .route_namespaces
        .iter()
        .map(String::as_str)
        .filter(|namespace| {
            !observed.routes.values().chain(observed.routes_elsewhere.values()).any(|route| {
                route.name.namespace() == *namespace
                    && users.iter().all(|user| consents(&route.spec.allowed_namespaces, namespace, user, observed))
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
fn users_of(observed: &ObservedState) -> HashMap<(&str, &str), BTreeSet<&str>> {
    let mut users: HashMap<(&str, &str), BTreeSet<&str>> = HashMap::new();
    for key in observed.api_keys.values() {
        let namespace = key.name.namespace();
        let team = (key.spec.team_ref.namespace.as_deref().unwrap_or(namespace), &*key.spec.team_ref.name);
        users.entry(team).or_default().insert(namespace);
    }
    for (team, namespaces) in &observed.team_users {
        let users = users.entry((team.namespace(), team.name())).or_default();
        users.extend(namespaces.iter().map(String::as_str));
    }
    users
}

/// Of those, the ones that it allows: nobody else's keys say anything about it.
fn allowed_users<'a>(
    team: &ValidTeam,
    users_of: &HashMap<(&str, &str), BTreeSet<&'a str>>,
    observed: &ObservedState,
) -> BTreeSet<&'a str> {
    let users = users_of.get(&(team.name.namespace(), team.name.name())).into_iter().flatten().copied();
    users.filter(|user| consents(&team.allowed_namespaces, team.name.namespace(), user, observed)).collect()
}

/// The namespaces of the keys of all Teams below each Team: of those that it holds, and that hold the keys.
fn users_below(
    users_of: &HashMap<(&str, &str), BTreeSet<&str>>,
    teams: &BTreeMap<ObjectName, Arc<ValidTeam>>,
    observed: &ObservedState,
) -> BTreeMap<ObjectName, BTreeSet<String>> {
    let mut below = observed.users_below.clone();
    let lineages = Lineages::of(teams, observed);
    for (name, team) in teams.iter().filter(|(_, team)| team.parent.is_some()) {
        let users = allowed_users(team, users_of, observed);
        for above in lineages.above(name).unwrap_or_default() {
            below.entry(above.clone()).or_default().extend(users.iter().map(|user| (*user).to_owned()));
        }
    }
    below
}

fn is_limited(team: &ValidTeam) -> bool {
    let limits = [&team.limits, &team.user_limits, &team.namespace_limits];
    let by_limit =
        limits.iter().any(|limits| !limits.is_none()) || !team.model_limits.is_empty() || !team.tag_limits.is_empty();
    by_limit || !team.budgets.is_empty() || !team.user_budgets.is_empty() || !team.namespace_budgets.is_empty()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_config::Uid;
    use vectoll_crds::{ApiKeySpec, TeamSpec};

    use super::*;
    use crate::{
        condition::Status,
        observed_state::{Counting, Object},
    };

    #[test]
    fn keys_of_those_whom_a_team_does_not_allow_say_nothing_about_it() {
        let mut observed = ObservedState::default();
        let team = ObjectName::new("apps", "team");
        let spec: TeamSpec = serde_yaml::from_str("{limits: {requestsPerMinute: 1}}").unwrap();
        let object = Object::new(team.clone(), Uid::new("t"), spec);
        observed.teams.insert(team.clone(), object.into());
        observed.sidecars.insert("elsewhere".to_owned(), 9);
        let name = ObjectName::new("elsewhere", "stranger");
        let spec: ApiKeySpec = serde_yaml::from_str("{teamRef: {name: team, namespace: apps}}").unwrap();
        let object = Object::new(name.clone(), Uid::new("s"), spec);
        observed.api_keys.insert(name, object.into());
        let exact = |observed: &ObservedState| {
            let mut conditions = BTreeMap::new();
            resolve_teams(observed, &mut conditions);
            let found = conditions.remove(&ResourceRef { kind: Kind::Team, name: team.clone() }).unwrap();
            found.iter().find(|condition| condition.kind == ConditionType::LimitsExact).unwrap().status
        };
        assert_eq!(exact(&observed), Status::True);
        let spec: TeamSpec =
            serde_yaml::from_str("{limits: {requestsPerMinute: 1}, allowedNamespaces: {from: All}}").unwrap();
        let object = Object::new(team.clone(), Uid::new("t"), spec);
        observed.teams.insert(team.clone(), object.into());
        assert_eq!(exact(&observed), Status::False);
        // Keys of a Team below it say something, too.
        observed.counting = Counting::Apart;
        let object = |name: &ObjectName, uid: &str, spec: &str| {
            let spec: TeamSpec = serde_yaml::from_str(spec).unwrap();
            Object::new(name.clone(), Uid::new(uid), spec)
        };
        let child = ObjectName::new("apps", "child");
        let alone = object(&team, "t", "{limits: {requestsPerMinute: 1}}");
        observed.teams.insert(team.clone(), alone.into());
        let below = object(&child, "c", "{parentRef: {name: team}, allowedNamespaces: {from: All}}");
        observed.teams.insert(child.clone(), below.into());
        let name = ObjectName::new("elsewhere", "of-the-child");
        let spec: ApiKeySpec = serde_yaml::from_str("{teamRef: {name: child, namespace: apps}}").unwrap();
        observed.api_keys.insert(name.clone(), Object::new(name, Uid::new("o"), spec).into());
        assert_eq!(exact(&observed), Status::False);
        // Nobody else's: of a key that the child does not allow, or of a Team that this one does not.
        let closed = object(&child, "c", "{parentRef: {name: team}}");
        observed.teams.insert(child.clone(), closed.into());
        assert_eq!(exact(&observed), Status::True);
        let stranger = ObjectName::new("elsewhere", "uninvited");
        let below = object(&stranger, "x", "{parentRef: {name: team, namespace: apps}}");
        observed.teams.insert(stranger, below.into());
        let name = ObjectName::new("elsewhere", "of-the-uninvited");
        let spec: ApiKeySpec = serde_yaml::from_str("{teamRef: {name: uninvited}}").unwrap();
        observed.api_keys.insert(name.clone(), Object::new(name, Uid::new("y"), spec).into());
        assert_eq!(exact(&observed), Status::True);
        let below = object(&child, "c", "{parentRef: {name: team}, allowedNamespaces: {from: All}}");
        observed.teams.insert(child.clone(), below.into());
        // With a store all count together, for as long as it can be reached.
        for (counting, expected) in [
            (Counting::Together, Status::True),
            (Counting::Unreachable, Status::False),
            (Counting::Volatile, Status::False),
        ] {
            observed.counting = counting;
            assert_eq!(exact(&observed), expected);
        }
    }
}
