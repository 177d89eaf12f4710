//! Keys, their Teams and their Secrets.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use vectoll_config::{KeyHash, ObjectName};

use super::teams::invalid;
use crate::{
    condition::{Condition, ConditionType, complete},
    consent::consents,
    validate::{KeySource, ValidKey, ValidTeam, api_key},
    world::{KEY_SECRET_TYPE, Kind, Object, ResourceRef, Unresolved, World},
};
use vectoll_crds::ApiKeySpec;

/// The shortest key that may be brought: a shorter one could be guessed.
const SHORTEST: usize = 16;

/// A key that works.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedKey {
    pub(crate) key: ValidKey,
    pub(crate) hash: KeyHash,
}

/// What became of all keys.
#[derive(Debug, Default)]
pub(crate) struct KeyOutcome {
    /// Keys that work.
    pub(crate) working: Vec<ResolvedKey>,
    /// Secrets that are to be made: the ApiKey and its Secret.
    pub(crate) to_mint: Vec<(ObjectName, ObjectName)>,
}

/// The ApiKey that has a value, by namespace and value.
type Values = HashMap<(String, KeyHash), ObjectName>;

/// Resolves all keys; older ones first, so that of two with the same value the older one keeps it.
pub(crate) fn resolve_keys(
    world: &World,
    teams: &BTreeMap<ObjectName, ValidTeam>,
    conditions: &mut BTreeMap<ResourceRef, Vec<Condition>>,
) -> KeyOutcome {
    let mut outcome = KeyOutcome::default();
    let mut values = Values::new();
    let mut objects: Vec<&Object<ApiKeySpec>> = world.api_keys.values().collect();
    objects.sort_by_key(|object| object.seniority());
    for object in objects {
        let mut found = Vec::new();
        let mut ready = Ok(());
        match api_key(object) {
            Err(faults) => found.push(invalid(&faults)),
            Ok(key) => {
                found.push(Condition::holds(ConditionType::Accepted, "Accepted", ""));
                let resolved = team_of(&key, teams, world).and_then(|()| value_of(&key, world, &mut outcome));
                match resolved.and_then(|hash| first_with(hash, &key, &mut values)) {
                    Ok(hash) => {
                        found.push(Condition::holds(ConditionType::ResolvedRefs, "ResolvedRefs", ""));
                        if key.suspended {
                            ready = Err(("Suspended", "the key is suspended: calls are refused".to_owned()));
                        }
                        outcome.working.push(ResolvedKey { key, hash });
                    }
                    Err((reason, message)) => {
                        found.push(Condition::fails(ConditionType::ResolvedRefs, reason, message));
                    }
                }
            }
        }
        let of = ResourceRef { kind: Kind::ApiKey, name: object.name.clone() };
        conditions.insert(of, complete(found, ready));
    }
    outcome.working.sort_by(|a, b| a.key.name.cmp(&b.key.name));
    outcome
}

fn team_of(key: &ValidKey, teams: &BTreeMap<ObjectName, ValidTeam>, world: &World) -> Result<(), Unresolved> {
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
        Some(team) if consents(&team.allowed_namespaces, name.namespace(), key.name.namespace(), world) => Ok(()),
        Some(_) => Err(not_permitted()),
        None if foreign => Err(not_permitted()),
        None if world.teams.contains_key(name) => {
            Err(("TeamNotAccepted", format!("spec.teamRef: the Team {name} is not valid: see its conditions")))
        }
        None => Err(("TeamNotFound", format!("spec.teamRef: there is no Team {name}: create it, or name another"))),
    }
}

fn value_of(key: &ValidKey, world: &World, outcome: &mut KeyOutcome) -> Result<KeyHash, Unresolved> {
    match &key.source {
        KeySource::Brought { secret, entry } => {
            let value = world.entry(secret, entry, "spec.secretRef")?;
            if value.len() < SHORTEST {
                let message = format!("spec.secretRef: the key in {secret} is shorter than {SHORTEST} characters");
                return Err(("KeyTooShort", message));
            }
            Ok(KeyHash::of(value))
        }
        KeySource::Generated { secret } => {
            let Some(content) = world.secrets.get(secret) else {
                if let Some((owner, _)) = outcome.to_mint.iter().find(|(_, taken)| taken == secret) {
                    let message = format!(
                        "the Secret {secret} is the ApiKey {}'s: set spec.secretName to another name",
                        owner.name()
                    );
                    return Err(("SecretNotOwned", message));
                }
                outcome.to_mint.push((key.name.clone(), secret.clone()));
                return Err(("SecretPending", format!("the Secret {secret} is about to be made")));
            };
            let not_ours = |whose: String| {
                let message = format!(
                    "the Secret {secret} is {whose} and is not overwritten: set spec.secretName to another name, or \
                     spec.secretRef to use the key in it"
                );
                Err(("SecretNotOwned", message))
            };
            if content.kind != KEY_SECRET_TYPE {
                return not_ours(format!("not the operator's (its type is {})", content.kind));
            }
            match &content.owner {
                Some(owner) if *owner != *key.name.name() => not_ours(format!("the ApiKey {owner}'s")),
                Some(_) | None => match content.entry("key") {
                    Some(value) if value.len() >= SHORTEST => Ok(KeyHash::of(value)),
                    Some(_) => {
                        Err(("KeyTooShort", format!("the key in {secret} is shorter than {SHORTEST} characters")))
                    }
                    // Made by the operator and emptied by someone: it is made anew. In a manifest it is the author's.
                    None if content.minted => {
                        outcome.to_mint.push((key.name.clone(), secret.clone()));
                        Err(("SecretPending", format!("the Secret {secret} is about to be made anew")))
                    }
                    None => Err(("SecretKeyMissing", format!("the Secret {secret} has no entry \"key\""))),
                },
            }
        }
    }
}

fn first_with(hash: KeyHash, key: &ValidKey, values: &mut Values) -> Result<KeyHash, Unresolved> {
    // A key works only in its own namespace, so only there can two be confused.
    match values.entry((key.name.namespace().to_owned(), hash)) {
        Entry::Occupied(older) => {
            let older = older.get();
            Err(("DuplicateKey", format!("the ApiKey {older} has the same value and is older: use another value")))
        }
        Entry::Vacant(free) => {
            free.insert(key.name.clone());
            Ok(hash)
        }
    }
}
