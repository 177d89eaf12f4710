//! The value of a key: where it is, whether it is the key's own, and when it is to be made or renewed.

use std::collections::HashMap;

use jiff::Timestamp;
use vectoll_config::{KeyHash, ObjectName, Uid};

use crate::{
    key_secret::{self, Cause, Mint, Previous},
    validate::{KeySource, ValidKey},
    world::{SecretContent, Unresolved, World},
};

/// The shortest key that may be brought: a shorter one could be guessed.
const SHORTEST: usize = 16;
/// Characters of a key that are shown, to tell keys apart. A short key shows none.
const HINT: usize = 4;

/// A key's value, as far as it may be known.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// Its SHA-256.
    pub(crate) hash: KeyHash,
    /// Values before it that are still valid.
    pub(crate) previous: Vec<Previous>,
    /// Its last characters.
    pub(crate) hint: String,
    /// The Secret it is in.
    pub(crate) secret: ObjectName,
    /// When it is renewed.
    pub(crate) next_rotation: Option<Timestamp>,
}

/// What is to be done about the values of all keys.
#[derive(Debug, Default)]
pub(crate) struct ValueOutcome {
    /// Values that are to be made.
    pub(crate) to_mint: Vec<Mint>,
    /// Generated Secrets that are to go: their ApiKey is gone, or has its value elsewhere by now.
    pub(crate) stale: Vec<ObjectName>,
    /// When to judge anew though nothing changes.
    pub(crate) next: Option<Timestamp>,
    /// The generated Secrets that there are.
    pub(super) generated: Generated,
    /// For whom a Secret that is to be made is meant.
    claimed: HashMap<ObjectName, ObjectName>,
}

/// Generated Secrets by the UID of the ApiKey that owns them.
#[derive(Debug, Default)]
pub(super) struct Generated(HashMap<Uid, Vec<ObjectName>>);

impl Generated {
    pub(super) fn of(world: &World) -> Self {
        let mut by_owner: HashMap<Uid, Vec<ObjectName>> = HashMap::new();
        for (name, content) in &world.secrets {
            if content.minted
                && let Some(owner) = &content.owner_uid
            {
                by_owner.entry(owner.clone()).or_default().push(name.clone());
            }
        }
        Self(by_owner)
    }

    /// Those of a key, but for one.
    fn beside(&self, key: &ValidKey, secret: Option<&ObjectName>) -> Vec<ObjectName> {
        let of_key = self.0.get(&key.uid).into_iter().flatten();
        of_key.filter(|name| Some(*name) != secret && name.namespace() == key.name.namespace()).cloned().collect()
    }
}

impl ValueOutcome {
    /// At this time things look different.
    pub(crate) fn due(&mut self, at: Option<Timestamp>, now: Timestamp) {
        if let Some(at) = at.filter(|at| *at > now) {
            self.next = Some(self.next.map_or(at, |next| next.min(at)));
        }
    }
}

/// The value of a key. `rotate` is the wish for a new one.
pub(super) fn value_of(
    key: &ValidKey,
    rotate: Option<&str>,
    world: &World,
    now: Timestamp,
    outcome: &mut ValueOutcome,
) -> Result<Value, Unresolved> {
    match &key.source {
        KeySource::Brought { secret, entry } => {
            let value = long_enough(world.entry(secret, entry, "spec.secretRef")?, secret, "spec.secretRef: ")?;
            // The value that was generated before ends here.
            outcome.stale.extend(outcome.generated.beside(key, None));
            Ok(plain(value, secret))
        }
        KeySource::Generated { secret } => generated(key, secret, rotate, world, now, outcome),
    }
}

fn generated(
    key: &ValidKey,
    secret: &ObjectName,
    rotate: Option<&str>,
    world: &World,
    now: Timestamp,
    outcome: &mut ValueOutcome,
) -> Result<Value, Unresolved> {
    let mint = |cause| Mint {
        api_key: key.name.clone(),
        uid: key.uid.clone(),
        secret: secret.clone(),
        cause,
        previous: Vec::new(),
        request: rotate.map(str::to_owned),
    };
    let Some(content) = world.secrets.get(secret) else {
        if let Some(other) = outcome.claimed.get(secret) {
            let owner = other.name();
            let message = format!("the Secret {secret} is the ApiKey {owner}'s: set spec.secretName to another name");
            return Err(("SecretNotOwned", message));
        }
        outcome.claimed.insert(secret.clone(), key.name.clone());
        // spec.secretName was changed: as with a rotation, what was handed out stays valid for a while.
        let elsewhere =
            outcome.generated.beside(key, Some(secret)).into_iter().filter_map(|name| world.secrets.get(&name));
        let mut previous: Vec<Previous> = Vec::new();
        for content in elsewhere {
            let value = content.entry("key").filter(|value| value.len() >= SHORTEST);
            previous.extend(value.map(|value| replaced(KeyHash::of(value), key, now)));
            previous.extend(still_valid(key, content, now));
        }
        let cause = match world.had_value.contains(&key.name) {
            _ if !previous.is_empty() => Cause::Moved,
            true => Cause::Deleted,
            false => Cause::New,
        };
        outcome.to_mint.push(Mint { previous, ..mint(cause) });
        return Err(("SecretPending", format!("the Secret {secret} is about to be made")));
    };
    if is_of_an_earlier(key, content) {
        outcome.stale.push(secret.clone());
        return Err(("SecretPending", format!("the Secret {secret} of an earlier ApiKey is about to be removed")));
    }
    own(key, secret, content)?;
    match content.entry("key") {
        Some(value) => {
            let mut value = plain(long_enough(value, secret, "")?, secret);
            value.previous = still_valid(key, content, now);
            outcome.stale.extend(outcome.generated.beside(key, Some(secret)));
            for previous in &value.previous {
                outcome.due(Some(previous.until), now);
            }
            if content.minted {
                value.next_rotation = next_rotation(key, content);
                outcome.due(value.next_rotation, now);
                if let Some(cause) = renewal(rotate, content, value.next_rotation, now) {
                    let mut previous = vec![replaced(value.hash, key, now)];
                    previous.extend(&value.previous);
                    outcome.to_mint.push(Mint { previous, ..mint(cause) });
                }
            }
            Ok(value)
        }
        // Made by the operator and emptied by someone: it is made anew. In a manifest it is the author's.
        None if content.minted => {
            outcome.to_mint.push(Mint { previous: still_valid(key, content, now), ..mint(Cause::Emptied) });
            Err(("SecretPending", format!("the Secret {secret} is about to be made anew")))
        }
        None => Err(("SecretKeyMissing", format!("the Secret {secret} has no entry \"key\""))),
    }
}

/// A value that is replaced now.
fn replaced(hash: KeyHash, key: &ValidKey, now: Timestamp) -> Previous {
    Previous { hash, until: now.checked_add(key.rotation.grace).unwrap_or(Timestamp::MAX) }
}

/// Values before this Secret's that are still valid. A grace period that was shortened counts for them, too: that is how
/// a value that leaked is ended.
fn still_valid(key: &ValidKey, content: &SecretContent, now: Timestamp) -> Vec<Previous> {
    let end = content.notes.made_at.and_then(|made_at| made_at.checked_add(key.rotation.grace).ok());
    let shortened = content
        .notes
        .previous
        .iter()
        .map(|one| Previous { until: end.map_or(one.until, |end| one.until.min(end)), ..*one });
    shortened.filter(|previous| previous.until > now).collect()
}

/// A key does not inherit the value of one that was deleted: whoever knew that must not get in.
fn is_of_an_earlier(key: &ValidKey, content: &SecretContent) -> bool {
    content.kind == key_secret::TYPE
        && content.owner.as_deref() == Some(key.name.name())
        && content.owner_uid.as_ref().is_some_and(|uid| *uid != key.uid)
}

fn own(key: &ValidKey, secret: &ObjectName, content: &SecretContent) -> Result<(), Unresolved> {
    let not_ours = |whose: String| {
        let message = format!(
            "the Secret {secret} is {whose} and is not overwritten: set spec.secretName to another name, or \
             spec.secretRef to use the key in it"
        );
        Err(("SecretNotOwned", message))
    };
    if content.kind != key_secret::TYPE {
        return not_ours(format!("not the operator's (its type is {})", content.kind));
    }
    match &content.owner {
        Some(owner) if *owner != *key.name.name() => not_ours(format!("the ApiKey {owner}'s")),
        Some(_) | None => Ok(()),
    }
}

fn long_enough<'a>(value: &'a [u8], secret: &ObjectName, path: &str) -> Result<&'a [u8], Unresolved> {
    if value.len() < SHORTEST {
        return Err(("KeyTooShort", format!("{path}the key in {secret} is shorter than {SHORTEST} characters")));
    }
    Ok(value)
}

fn plain(value: &[u8], secret: &ObjectName) -> Value {
    let hint = value.get(value.len().saturating_sub(HINT)..).unwrap_or_default();
    Value {
        hash: KeyHash::of(value),
        previous: Vec::new(),
        hint: String::from_utf8_lossy(hint).into_owned(),
        secret: secret.clone(),
        next_rotation: None,
    }
}

fn next_rotation(key: &ValidKey, content: &SecretContent) -> Option<Timestamp> {
    // Without a note of its age a value counts as old.
    let made_at = content.notes.made_at.unwrap_or(Timestamp::UNIX_EPOCH);
    made_at.checked_add(key.rotation.interval?).ok()
}

fn renewal(rotate: Option<&str>, content: &SecretContent, next: Option<Timestamp>, now: Timestamp) -> Option<Cause> {
    if rotate.is_some() && rotate != content.notes.request.as_deref() {
        Some(Cause::Requested)
    } else if next.is_some_and(|next| next <= now) {
        Some(Cause::Interval)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::Secret;
    use vectoll_config::Uid;
    use vectoll_crds::{ApiKeySpec, TeamSpec};

    use super::*;
    use crate::{
        judge::{Judgement, judge},
        key_secret::Notes,
        world::Object,
    };

    const NOW: &str = "2026-01-10T00:00:00Z";

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    /// A Team, and the ApiKey `alice` of UID `u` with this spec and wish.
    fn world(spec: &str, wish: Option<&str>) -> World {
        let mut world = World::default();
        let team = ObjectName::new("apps", "team");
        let spec_of_team: TeamSpec = serde_yaml::from_str("{}").unwrap();
        let object = Object { name: team.clone(), uid: Uid::new("t"), created: None, rotate: None, spec: spec_of_team };
        world.teams.insert(team, object.into());
        let name = ObjectName::new("apps", "alice");
        let spec: ApiKeySpec = serde_yaml::from_str(&format!("{{teamRef: {{name: team}}{spec}}}")).unwrap();
        let rotate = wish.map(str::to_owned);
        world.api_keys.insert(name.clone(), Object { name, uid: Uid::new("u"), created: None, rotate, spec }.into());
        world
    }

    /// The Secret of `alice` as the operator made it for an owner's UID at a time.
    fn secret(uid: &str, value: &str, made_at: &str, request: Option<&str>, previous: Vec<Previous>) -> SecretContent {
        let mint = Mint {
            api_key: ObjectName::new("apps", "alice"),
            uid: Uid::new(uid),
            secret: ObjectName::new("apps", "alice"),
            cause: Cause::New,
            previous,
            request: request.map(str::to_owned),
        };
        let mut secret: Secret = mint.secret(value, at(made_at));
        secret.metadata.owner_references = Some(vec![mint.owner_reference()]);
        SecretContent::of(secret)
    }

    fn judged(spec: &str, wish: Option<&str>, content: Option<SecretContent>) -> Judgement {
        let mut world = world(spec, wish);
        if let Some(content) = content {
            world.secrets = BTreeMap::from([(ObjectName::new("apps", "alice"), content.into())]);
        }
        judge(&world, at(NOW))
    }

    const VALUE: &str = "sk-vt-a-value-of-some-length";

    #[test]
    fn a_value_is_renewed_when_its_time_has_come_and_not_before() {
        let rotation = ", rotation: {interval: 24h, gracePeriod: 1h}";
        let young = judged(rotation, None, Some(secret("u", VALUE, "2026-01-09T00:00:01Z", None, Vec::new())));
        assert!(young.to_mint.is_empty());
        assert_eq!(young.next, Some(at("2026-01-10T00:00:01Z")), "and it is known when");
        let old = judged(rotation, None, Some(secret("u", VALUE, "2026-01-09T00:00:00Z", None, Vec::new())));
        let mint = old.to_mint.first().unwrap();
        assert_eq!(mint.cause, Cause::Interval);
        let hash = KeyHash::of(VALUE.as_bytes());
        assert_eq!(mint.previous, [Previous { hash, until: at("2026-01-10T01:00:00Z") }]);
        assert!(old.key(&ObjectName::new("apps", "alice")).is_some(), "until then it works as it is");
    }

    #[test]
    fn a_wish_is_met_once() {
        let content = || Some(secret("u", VALUE, NOW, Some("1"), Vec::new()));
        assert!(judged("", Some("1"), content()).to_mint.is_empty());
        assert!(judged("", None, content()).to_mint.is_empty(), "taking the annotation away is no wish");
        let judgement = judged("", Some("2"), content());
        let mint = judgement.to_mint.first().unwrap();
        assert_eq!((mint.cause, mint.request.as_deref()), (Cause::Requested, Some("2")));
    }

    #[test]
    fn values_before_end_with_their_grace_period() {
        let previous = |hash: &[u8], until: &str| Previous { hash: KeyHash::of(hash), until: at(until) };
        let both = [previous(b"late", "2026-01-10T00:00:01Z"), previous(b"gone", NOW)];
        let judgement = judged("", None, Some(secret("u", VALUE, NOW, None, both.to_vec())));
        let key = judgement.key(&ObjectName::new("apps", "alice")).unwrap();
        assert_eq!(key.value.previous, both[..1]);
        assert_eq!(judgement.next, Some(at("2026-01-10T00:00:01Z")));
    }

    #[test]
    fn a_shorter_grace_period_ends_what_was_replaced_before() {
        let leaked = Previous { hash: KeyHash::of(b"leaked"), until: at("2026-01-10T23:00:00Z") };
        let content = || Some(secret("u", VALUE, "2026-01-09T23:00:00Z", None, vec![leaked]));
        let alice = ObjectName::new("apps", "alice");
        assert_eq!(judged("", None, content()).key(&alice).unwrap().value.previous, [leaked]);
        let ended = judged(", rotation: {gracePeriod: 0s}", None, content());
        assert_eq!(ended.key(&alice).unwrap().value.previous, []);
    }

    #[test]
    fn a_key_that_moves_to_another_secret_has_its_value_for_the_grace_period() {
        let mut world = world(", secretName: new, rotation: {gracePeriod: 1h}", None);
        let (old, new) = (ObjectName::new("apps", "alice"), ObjectName::new("apps", "new"));
        world.had_value.insert(old.clone());
        world.secrets.insert(old.clone(), secret("u", VALUE, NOW, None, Vec::new()).into());
        let judgement = judge(&world, at(NOW));
        let mint = judgement.to_mint.first().unwrap();
        let before = Previous { hash: KeyHash::of(VALUE.as_bytes()), until: at("2026-01-10T01:00:00Z") };
        assert_eq!((mint.cause, &mint.secret, &*mint.previous), (Cause::Moved, &new, &[before][..]));
        assert!(judgement.stale.is_empty(), "first the new one is made");

        let made = secret("u", "sk-vt-another-value-of-some-length", NOW, None, mint.previous.clone());
        world.secrets.insert(new, made.into());
        let judgement = judge(&world, at(NOW));
        assert_eq!(judgement.key(&old).unwrap().value.previous, [before]);
        assert_eq!((judgement.stale, judgement.to_mint.len()), (vec![old], 0));
    }

    #[test]
    fn a_value_that_comes_back_stands_once() {
        let current = Previous { hash: KeyHash::of(VALUE.as_bytes()), until: at("2026-01-10T00:30:00Z") };
        let mut world = world("", None);
        let (alice, bob) = (ObjectName::new("apps", "alice"), ObjectName::new("apps", "bob"));
        world.secrets.insert(alice.clone(), secret("u", VALUE, NOW, None, vec![current]).into());
        // Another key brings what is still in its grace period here.
        let lent = Previous { hash: KeyHash::of(b"sk-vt-a-value-that-moved-on"), until: at("2026-01-10T00:30:00Z") };
        std::sync::Arc::make_mut(world.secrets.get_mut(&alice).unwrap()).notes.previous.push(lent);
        let spec: ApiKeySpec = serde_yaml::from_str("{teamRef: {name: team}, secretRef: {name: brought}}").unwrap();
        let object = Object { name: bob.clone(), uid: Uid::new("b"), created: None, rotate: None, spec };
        world.api_keys.insert(bob.clone(), object.into());
        let data = [("key".to_owned(), k8s_openapi::ByteString(b"sk-vt-a-value-that-moved-on".to_vec()))];
        let brought = Secret { data: Some(data.into()), ..Secret::default() };
        world.secrets.insert(ObjectName::new("apps", "brought"), SecretContent::of(brought).into());

        let judgement = judge(&world, at(NOW));
        assert_eq!(judgement.key(&alice).unwrap().value.previous, []);
        assert_eq!(judgement.key(&bob).unwrap().value.hash, lent.hash);
        let mut config = judgement.config(&world, "apps", crate::judge::Credentials::Withhold, None).config;
        config.generation = 1;
        vectoll_config::read_v1(&vectoll_config::write_v1(&config).unwrap()).unwrap();
    }

    #[test]
    fn the_value_of_a_deleted_key_is_not_taken_over() {
        let judgement = judged("", None, Some(secret("someone-before", VALUE, NOW, None, Vec::new())));
        assert!(judgement.key(&ObjectName::new("apps", "alice")).is_none());
        assert!(judgement.to_mint.is_empty(), "first the old one goes");
        assert_eq!(judgement.stale, [ObjectName::new("apps", "alice")]);
    }

    #[test]
    fn an_emptied_secret_gets_a_value_and_a_lost_one_is_told_from_a_new_one() {
        let mut content = secret("u", "", NOW, None, Vec::new());
        content.notes = Notes::default();
        assert_eq!(judged("", None, Some(content)).to_mint.first().unwrap().cause, Cause::Emptied);
        assert_eq!(judged("", None, None).to_mint.first().unwrap().cause, Cause::New);
        let mut world = world("", None);
        world.had_value.insert(ObjectName::new("apps", "alice"));
        assert_eq!(judge(&world, at(NOW)).to_mint.first().unwrap().cause, Cause::Deleted);
    }
}
