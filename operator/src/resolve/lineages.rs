//! Teams above Teams: the way up from each, or why it leads nowhere.
//!
//! A Team whose way up does not hold is none that keys could use: without the Teams above it nobody would hold them to what those allow.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vectoll_config::{ObjectName, v1::MAX_TREE_DEPTH};

use crate::{
    condition::{Condition, ConditionType, Status},
    consent::consents,
    observed_state::{Kind, ObservedState, ResourceRef, Unresolved},
    validate::ValidTeam,
};

/// Of each Team the Teams above it, the nearest first; or why there is no saying.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lineages(BTreeMap<ObjectName, Result<Vec<ObjectName>, Unresolved>>);

impl Lineages {
    /// Follows the references of all Teams.
    pub(crate) fn of(teams: &BTreeMap<ObjectName, Arc<ValidTeam>>, observed: &ObservedState) -> Self {
        let with_parents = teams.iter().filter(|(_, team)| team.parent.is_some());
        Self(with_parents.map(|(name, team)| (name.clone(), way_up(team, teams, observed))).collect())
    }

    /// The Teams above one, the nearest first.
    pub(crate) fn above(&self, team: &ObjectName) -> Result<&[ObjectName], &Unresolved> {
        match self.0.get(team) {
            None => Ok(&[]),
            Some(way) => way.as_deref(),
        }
    }

    /// Teams and all those above them.
    pub(crate) fn with_above<'a>(
        &'a self,
        teams: impl IntoIterator<Item = &'a ObjectName>,
    ) -> BTreeSet<&'a ObjectName> {
        let above = |team: &'a ObjectName| self.above(team).unwrap_or_default().iter().chain([team]);
        teams.into_iter().flat_map(above).collect()
    }

    /// Says in the conditions of Teams what their way up means for them.
    pub(crate) fn tell(
        &self,
        teams: &BTreeMap<ObjectName, Arc<ValidTeam>>,
        conditions: &mut BTreeMap<ResourceRef, Vec<Condition>>,
    ) {
        for (name, way) in &self.0 {
            let of = ResourceRef { kind: Kind::Team, name: name.clone() };
            let Some(found) = conditions.get_mut(&of) else { continue };
            match way {
                Err(why) => stop(found, why),
                Ok(above) => {
                    let is_suspended = |name: &&ObjectName| teams.get(*name).is_some_and(|team| team.suspended);
                    let is_told = found.iter().any(|condition| condition.kind == ConditionType::Suspended);
                    if above.iter().any(|name| is_suspended(&name)) && !is_told {
                        let at = found.iter().position(|condition| condition.kind == ConditionType::Programmed);
                        let message = "a Team above it is suspended: its keys are refused";
                        let condition = crate::condition::suspended(message);
                        found.insert(at.unwrap_or(found.len()), condition);
                    }
                }
            }
        }
    }
}

/// The reference does not hold: it is said where references are, and the Team is not ready.
fn stop(found: &mut [Condition], (reason, message): &Unresolved) {
    for condition in found {
        if condition.kind == ConditionType::ResolvedRefs {
            // What was wrong beside it is said behind it.
            let beside =
                if condition.status == Status::False { format!("; {}", condition.message) } else { String::new() };
            *condition = Condition::fails(condition.kind, reason, format!("{message}{beside}"));
        } else if condition.kind == ConditionType::Ready && condition.status == Status::True {
            *condition = Condition::fails(condition.kind, reason, message.clone());
        }
    }
}

fn way_up(
    team: &ValidTeam,
    teams: &BTreeMap<ObjectName, Arc<ValidTeam>>,
    observed: &ObservedState,
) -> Result<Vec<ObjectName>, Unresolved> {
    let mut above: Vec<ObjectName> = Vec::new();
    let mut at = team;
    while let Some(parent) = &at.parent {
        if *parent == team.name || above.contains(parent) {
            let message =
                format!("spec.parentRef: leads in a circle, by {parent}: name a Team that is not below this one");
            return Err(("ParentCircle", message));
        }
        // Whether a Team elsewhere exists is told only to those whom it allows.
        let next = match teams.get(parent) {
            Some(next) if consents(&next.allowed_namespaces, parent.namespace(), at.name.namespace(), observed) => next,
            Some(_) | None if at.name != team.name => {
                let message =
                    format!("spec.parentRef: the parentRef of the Team {} does not hold: see its conditions", at.name);
                return Err(("ParentNotAccepted", message));
            }
            None if parent.namespace() == team.name.namespace() => return Err(missing(parent, observed)),
            Some(_) | None => {
                let message = format!(
                    "spec.parentRef: there is no Team {parent} that allows namespace {}: its owner sets spec.allowedNamespaces",
                    team.name.namespace()
                );
                return Err(("RefNotPermitted", message));
            }
        };
        if above.len() + 2 > MAX_TREE_DEPTH {
            let message = format!(
                "spec.parentRef: more than {MAX_TREE_DEPTH} Teams would stand above each other: name one that is nearer to the top"
            );
            return Err(("TreeTooDeep", message));
        }
        above.push(parent.clone());
        at = next;
    }
    Ok(above)
}

fn missing(parent: &ObjectName, observed: &ObservedState) -> Unresolved {
    if observed.teams.contains_key(parent) {
        ("ParentNotAccepted", format!("spec.parentRef: the Team {parent} is not valid: see its conditions"))
    } else {
        ("ParentNotFound", format!("spec.parentRef: there is no Team {parent}: create it, or name another"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use jiff::Timestamp;
    use vectoll_config::Uid;
    use vectoll_crds::TeamSpec;

    use super::*;
    use crate::{desired_state::desired_state, observed_state::Object};

    /// Teams by `namespace/name: spec`, and what is said of the references of each: its reason.
    fn reasons(teams: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut observed = ObservedState::default();
        for (name, spec) in teams {
            let (namespace, plain) = name.split_once('/').unwrap();
            let spec: TeamSpec = serde_yaml::from_str(spec).unwrap();
            let name = ObjectName::new(namespace, plain);
            observed.teams.insert(name.clone(), Object::new(name, Uid::new(plain), spec).into());
        }
        let desired = desired_state(&observed, Timestamp::UNIX_EPOCH);
        let reason = |(of, found): (&ResourceRef, &Vec<Condition>)| {
            let of_kind = |kind| found.iter().find(|condition| condition.kind == kind).unwrap();
            let (refs, ready) = (of_kind(ConditionType::ResolvedRefs), of_kind(ConditionType::Ready));
            assert_eq!((refs.status, refs.reason == "ResolvedRefs"), (ready.status, ready.reason == "Ready"), "{refs}");
            (of.name.to_string(), refs.reason.to_owned())
        };
        desired.conditions.iter().map(reason).collect()
    }

    #[test]
    fn a_way_up_that_does_not_hold_is_said_where_it_breaks_and_below() {
        let found = reasons(&[
            ("org/top", "{allowedNamespaces: {from: All}}"),
            ("org/closed", "{}"),
            ("shop/fine", "{parentRef: {name: top, namespace: org}}"),
            ("shop/uninvited", "{parentRef: {name: closed, namespace: org}}"),
            ("shop/elsewhere", "{parentRef: {name: gone, namespace: org}}"),
            ("shop/orphan", "{parentRef: {name: gone}}"),
            ("shop/below", "{parentRef: {name: orphan}}"),
            ("shop/self", "{parentRef: {name: self}}"),
            ("shop/one", "{parentRef: {name: two}}"),
            ("shop/two", "{parentRef: {name: one}}"),
            ("shop/level2", "{parentRef: {name: fine}}"),
            ("shop/level3", "{parentRef: {name: level2}}"),
            ("shop/level4", "{parentRef: {name: level3}}"),
        ]);
        for (team, reason) in [
            ("org/top", "ResolvedRefs"),
            ("shop/fine", "ResolvedRefs"),
            ("shop/uninvited", "RefNotPermitted"),
            ("shop/elsewhere", "RefNotPermitted"),
            ("shop/orphan", "ParentNotFound"),
            ("shop/below", "ParentNotAccepted"),
            ("shop/self", "ParentCircle"),
            ("shop/one", "ParentCircle"),
            ("shop/two", "ParentCircle"),
            ("shop/level2", "ResolvedRefs"),
            ("shop/level3", "ResolvedRefs"),
            ("shop/level4", "TreeTooDeep"),
        ] {
            assert_eq!(found[team], reason, "{team}");
        }
    }
}
