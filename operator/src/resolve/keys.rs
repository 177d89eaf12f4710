//! Keys, their Teams and their values.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::Arc,
};

use jiff::Timestamp;
use vectoll_config::{KeyHash, ObjectName};

use super::{
    claims::Claims,
    lineages::Lineages,
    reachable::KeyLists,
    routes::ResolvedRoute,
    teams::{invalid, not_accepted, unreadable},
    values::{Generated, Value, ValueOutcome, delivered, value_of},
};
use crate::{
    condition::{Condition, ConditionType, complete, exactness, expiry, suspended},
    consent::consents,
    key_secret::ADOPT,
    observed_state::{Kind, Object, ObservedState, ResourceRef, SECRET_UNREADABLE, Unresolved},
    validate::{FieldError, KeySource, ValidKey, ValidTeam, api_key},
};
use vectoll_crds::ApiKeySpec;

/// A key that works.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedKey {
    pub(crate) key: ValidKey,
    pub(crate) value: Value,
}

/// What became of all keys.
#[derive(Debug, Default)]
pub(crate) struct KeyOutcome {
    /// Keys that work, by name.
    pub(crate) working: Vec<ResolvedKey>,
    /// What became of their values.
    pub(crate) values: ValueOutcome,
}

/// The ApiKey that has a value, by namespace and value.
type Values = HashMap<(String, KeyHash), ObjectName>;

/// Resolves all keys; older ones first, so that of two with the same value the older one keeps it.
pub(crate) fn resolve_keys(
    observed: &ObservedState,
    (teams, lineages): (&BTreeMap<ObjectName, Arc<ValidTeam>>, &Lineages),
    routes: &[Arc<ResolvedRoute>],
    now: Timestamp,
    conditions: &mut BTreeMap<ResourceRef, Vec<Condition>>,
) -> KeyOutcome {
    let mut outcome = KeyOutcome::default();
    outcome.values.generated = Generated::of(observed);
    let mut values = Values::new();
    let mut lists = KeyLists::new(observed, teams, routes);
    let claims = Claims::of(|| observed.api_keys.values().chain(&observed.claimants.api_keys).map(|object| &**object));
    let mut objects: Vec<&Arc<Object<ApiKeySpec>>> = observed.api_keys.values().collect();
    objects.sort_by_key(|object| object.seniority());
    for object in objects {
        let of = ResourceRef { kind: Kind::ApiKey, name: object.name.clone() };
        let unread = observed.unreadable_resources.get(&of);
        if let Some(unread) = unread.filter(|unread| !unread.has_last) {
            conditions.insert(of, complete(vec![unreadable(unread)]));
            continue;
        }
        let mut found = Vec::new();
        let checked = |key: &ValidKey| claims.check(object).and_then(|()| not_adopting(key, observed));
        let valid = api_key(object).and_then(|key| checked(&key).map(|()| key).map_err(|error| vec![error]));
        let valid = valid.and_then(|key| match team_of(&key, (teams, lineages), observed) {
            Ok(team) => {
                let above = lineages.above(&team.name).unwrap_or_default().iter().filter_map(|name| teams.get(name));
                let above: Vec<_> = above.map(|team| (&team.key_defaults, &team.key_bounds)).collect();
                key.of_teams((&team.key_defaults, &team.key_bounds), &above, object.created)
            }
            // Whose bounds they are is not known, or not theirs to know.
            Err(_) => Ok(key),
        });
        match valid {
            Err(errors) => found.push(invalid(&errors)),
            Ok(key) => {
                found.push(Condition::holds(ConditionType::Accepted, "Accepted", ""));
                let of_team = team_of(&key, (teams, lineages), observed);
                let listed = of_team.is_ok().then(|| lists.judge(&key)).flatten();
                let resolved =
                    of_team.and_then(|_| value_of(&key, object.rotate.as_deref(), observed, now, &mut outcome.values));
                let (resolved, refs) = in_force(resolved, &key, observed);
                match resolved.and_then(|value| first_with(value, &key, &mut values)) {
                    Ok(value) => {
                        found.push(refs);
                        if is_limited(&key) {
                            let sidecars = observed.sidecars.get(key.name.namespace()).copied().unwrap_or_default();
                            found.push(exactness(observed.counting, sidecars));
                        }
                        found.extend(refused(&key, now));
                        outcome.values.due(key.expires_at, now);
                        outcome.working.push(ResolvedKey { key, value });
                    }
                    Err((reason, message)) => {
                        found.push(Condition::fails(ConditionType::ResolvedRefs, reason, message));
                    }
                }
                found.extend(listed);
            }
        }
        not_accepted(&mut found, unread);
        conditions.insert(of, complete(found));
    }
    // Values of today first: what was replaced must not keep out, nor stand beside, a value that is in force.
    for ResolvedKey { key, value } in &mut outcome.working {
        let namespace = key.name.namespace();
        value.previous.retain(|previous| match values.entry((namespace.to_owned(), previous.hash)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(key.name.clone());
                true
            }
        });
    }
    outcome.working.sort_by(|a, b| a.key.name.cmp(&b.key.name));
    outcome
}

/// What is in force of a key's value, and what to say of its references.
fn in_force(
    resolved: Result<Value, Unresolved>,
    key: &ValidKey,
    observed: &ObservedState,
) -> (Result<Value, Unresolved>, Condition) {
    let delivered = match &resolved {
        Err((SECRET_UNREADABLE, message)) => delivered(key, observed).map(|value| (value, message.clone())),
        Ok(_) | Err(_) => None,
    };
    match delivered {
        Some((value, message)) => {
            (Ok(value), Condition::fails(ConditionType::ResolvedRefs, SECRET_UNREADABLE, message))
        }
        None => (resolved, Condition::holds(ConditionType::ResolvedRefs, "ResolvedRefs", "")),
    }
}

/// There is no Secret that a key could take over of which only the hash is known.
fn not_adopting(key: &ValidKey, observed: &ObservedState) -> Result<(), FieldError> {
    match key.source {
        KeySource::Elsewhere { .. } if observed.adopting.contains(&key.name) => Err(FieldError {
            path: format!("metadata.annotations[{ADOPT}]"),
            reason: "takes over a Secret, and keyHash is of a key whose value is elsewhere: remove one of them"
                .to_owned(),
        }),
        KeySource::Elsewhere { .. } | KeySource::Brought { .. } | KeySource::Generated { .. } => Ok(()),
    }
}

fn is_limited(key: &ValidKey) -> bool {
    let by_limit = !key.limits.is_none() || !key.user_limits.is_none() || !key.model_limits.is_empty();
    by_limit || !key.budgets.is_empty()
}

/// Why its calls are refused though it is as it should be.
fn refused(key: &ValidKey, now: Timestamp) -> impl Iterator<Item = Condition> {
    let suspended = key.suspended.then(|| suspended("the key is suspended: calls are refused"));
    suspended.into_iter().chain(key.expires_at.map(|end| expiry(end, now)))
}

fn team_of<'a>(
    key: &ValidKey,
    (teams, lineages): (&'a BTreeMap<ObjectName, Arc<ValidTeam>>, &Lineages),
    observed: &ObservedState,
) -> Result<&'a ValidTeam, Unresolved> {
    let name = &key.team;
    // Whether a Team elsewhere exists is told only to those whom it allows.
    let foreign = name.namespace() != key.name.namespace();
    let not_permitted = || {
        let message = format!(
            "spec.teamRef: there is no Team {name} that allows namespace {}: its owner sets spec.allowedNamespaces",
            key.name.namespace()
        );
        ("RefNotPermitted", message)
    };
    match teams.get(name) {
        Some(team) if consents(&team.allowed_namespaces, name.namespace(), key.name.namespace(), observed) => {
            if lineages.above(name).is_err() {
                let message =
                    format!("spec.teamRef: the parentRef of the Team {name} does not hold: see its conditions");
                return Err(("TeamNotAccepted", message));
            }
            Ok(team)
        }
        Some(_) => Err(not_permitted()),
        None if foreign => Err(not_permitted()),
        None if observed.teams.contains_key(name) => {
            Err(("TeamNotAccepted", format!("spec.teamRef: the Team {name} is not valid: see its conditions")))
        }
        None => Err(("TeamNotFound", format!("spec.teamRef: there is no Team {name}: create it, or name another"))),
    }
}

fn first_with(value: Value, key: &ValidKey, values: &mut Values) -> Result<Value, Unresolved> {
    // A key works only in its own namespace, so only there can two be confused.
    match values.entry((key.name.namespace().to_owned(), value.hash)) {
        Entry::Occupied(older) => {
            let older = older.get();
            let path = match key.source {
                KeySource::Elsewhere { .. } => "spec.keyHash: ",
                KeySource::Brought { .. } | KeySource::Generated { .. } => "",
            };
            Err((
                "DuplicateKey",
                format!("{path}the ApiKey {older} has the same value and is older: use another value"),
            ))
        }
        Entry::Vacant(free) => {
            free.insert(key.name.clone());
            Ok(value)
        }
    }
}
