//! The value of a key: where it is, whether it is the key's own, and when it is to be made or renewed.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use vectoll_config::{KeyHash, ObjectName, Uid};

use crate::{
    key_secret::{self, Adoption, Cause, Previous, TemplateChange, ValueCreation},
    observed_state::{ObservedState, SecretContent, Unresolved},
    spread::offset_of,
    validate::{KeySource, ValidKey},
};

/// The shortest key that may be brought: a shorter one could be guessed.
const MIN_KEY_LENGTH: usize = 16;
/// Characters of a key that are shown, to tell keys apart. A short key shows none.
const HINT_LENGTH: usize = 4;

/// The most by which a renewal by interval comes early.
const LONGEST_ADVANCE: SignedDuration = SignedDuration::from_hours(1);

/// A key's value, as far as it may be known.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// Its SHA-256.
    pub(crate) hash: KeyHash,
    /// Values before it that are still valid.
    pub(crate) previous: Vec<Previous>,
    /// Its last characters; none where only its hash is known.
    pub(crate) hint: Option<String>,
    /// The Secret it is in; none where only its hash is known.
    pub(crate) secret: Option<ObjectName>,
    /// When it is renewed.
    pub(crate) next_rotation: Option<Timestamp>,
}

/// What is to be done about the values of all keys.
#[derive(Debug, Default)]
pub(crate) struct ValueOutcome {
    /// Values that are to be made.
    pub(crate) to_create: Vec<ValueCreation>,
    /// Secrets that keys take over.
    pub(crate) to_adopt: Vec<Adoption>,
    /// Generated Secrets whose labels and annotations are to follow their template.
    pub(crate) to_label: Vec<TemplateChange>,
    /// Generated Secrets that are to go: their ApiKey is gone, or has its value elsewhere by now.
    pub(crate) stale: Vec<ObjectName>,
    /// When to reconcile again though nothing changes.
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
    pub(super) fn of(observed: &ObservedState) -> Self {
        let mut by_owner: HashMap<Uid, Vec<ObjectName>> = HashMap::new();
        for (name, content) in &observed.secrets {
            if content.generated
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

/// The value of a key. `rotate` is the request for a new one.
pub(super) fn value_of(
    key: &ValidKey,
    rotate: Option<&str>,
    observed: &ObservedState,
    now: Timestamp,
    outcome: &mut ValueOutcome,
) -> Result<Value, Unresolved> {
    if let Some((secret, path)) = key.source.secret() {
        observed.readable(secret, path)?;
    }
    match &key.source {
        KeySource::Brought { secret, entry } => {
            let value = long_enough(observed.entry(secret, entry, "spec.secretRef")?, secret, "spec.secretRef: ")?;
            // The value that was generated before ends here.
            outcome.stale.extend(outcome.generated.beside(key, None));
            Ok(plain(value, secret))
        }
        KeySource::Generated { secret } => generated(key, secret, rotate, observed, now, outcome),
        KeySource::Elsewhere { hash } => {
            // As with a value that is brought: one that was generated before ends here.
            outcome.stale.extend(outcome.generated.beside(key, None));
            Ok(Value { hash: *hash, previous: Vec::new(), hint: None, secret: None, next_rotation: None })
        }
    }
}

/// The value that sidecars have of a key whose Secret cannot be read.
pub(super) fn delivered(key: &ValidKey, observed: &ObservedState) -> Option<Value> {
    let (secret, _) = key.source.secret()?;
    let known = observed.delivered.values.get(&key.name)?;
    // What was in another Secret has ended with the reference to it.
    let known = Some(known).filter(|known| known.account == key.account && known.secret == *secret)?;
    let previous =
        known.credentials.iter().filter_map(|one| Some(Previous { hash: one.sha256, until: one.expires_at? }));
    Some(Value {
        hash: known.credentials.iter().find(|one| one.expires_at.is_none())?.sha256,
        previous: previous.collect(),
        hint: None,
        secret: Some(secret.clone()),
        next_rotation: None,
    })
}

fn generated(
    key: &ValidKey,
    secret: &ObjectName,
    rotate: Option<&str>,
    observed: &ObservedState,
    now: Timestamp,
    outcome: &mut ValueOutcome,
) -> Result<Value, Unresolved> {
    let creation = |cause| ValueCreation {
        api_key: key.name.clone(),
        uid: key.uid.clone(),
        secret: secret.clone(),
        cause,
        previous: Vec::new(),
        request: rotate.map(str::to_owned),
    };
    let Some(content) = observed.secrets.get(secret) else {
        if let Some(other) = outcome.claimed.get(secret) {
            let owner = other.name();
            let message = format!("the Secret {secret} is the ApiKey {owner}'s: set spec.secretName to another name");
            return Err(("SecretNotOwned", message));
        }
        outcome.claimed.insert(secret.clone(), key.name.clone());
        // spec.secretName was changed: as with a rotation, what was handed out stays valid for a while.
        let elsewhere =
            outcome.generated.beside(key, Some(secret)).into_iter().filter_map(|name| observed.secrets.get(&name));
        let mut previous: Vec<Previous> = Vec::new();
        for content in elsewhere {
            let value = content.entry(key_secret::ENTRY).filter(|value| value.len() >= MIN_KEY_LENGTH);
            previous.extend(value.map(|value| replaced(KeyHash::of(value), key, now)));
            previous.extend(still_valid(key, content, now));
        }
        let cause = match observed.had_value.contains(&key.name) {
            _ if !previous.is_empty() => Cause::Moved,
            true => Cause::Deleted,
            false => Cause::New,
        };
        outcome.to_create.push(ValueCreation { previous, ..creation(cause) });
        return Err(("SecretPending", format!("the Secret {secret} is about to be made")));
    };
    match whose(key, secret, content, observed) {
        Whose::Own => {}
        Whose::ToAdopt => {
            outcome.to_adopt.push(Adoption { api_key: key.name.clone(), uid: key.uid.clone(), secret: secret.clone() });
            return Err(("SecretPending", format!("the Secret {secret} is about to be taken over")));
        }
        Whose::OfAnEarlier => {
            outcome.stale.push(secret.clone());
            return Err(("SecretPending", format!("the Secret {secret} of an earlier ApiKey is about to be removed")));
        }
        Whose::Foreign(message) => return Err(("SecretNotOwned", message)),
    }
    match content.entry(key_secret::ENTRY) {
        Some(value) => {
            let mut value = plain(long_enough(value, secret, "")?, secret);
            value.previous = still_valid(key, content, now);
            outcome.stale.extend(outcome.generated.beside(key, Some(secret)));
            for previous in &value.previous {
                outcome.due(Some(previous.until), now);
            }
            if content.generated {
                value.next_rotation = next_rotation(key, content, now);
                outcome.due(value.next_rotation, now);
                if let Some(cause) = renewal(rotate, content, value.next_rotation, now) {
                    let mut previous = vec![replaced(value.hash, key, now)];
                    previous.extend(&value.previous);
                    outcome.to_create.push(ValueCreation { previous, ..creation(cause) });
                } else if content.owner_uid.is_some() {
                    // In a cluster. In a folder there is no Secret that somebody could look at.
                    outcome.to_label.extend(content.template.change(secret, &key.secret_template));
                }
            }
            Ok(value)
        }
        // Made by the operator and emptied by someone: it is recreated. In a manifest it is the author's.
        None if content.generated => {
            outcome
                .to_create
                .push(ValueCreation { previous: still_valid(key, content, now), ..creation(Cause::Emptied) });
            Err(("SecretPending", format!("the Secret {secret} is about to be generated again")))
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
    // Values before one whose age is unknown have no end that could be believed.
    let Some(made_at) = made_at(content, now) else { return Vec::new() };
    let end = made_at.checked_add(key.rotation.grace).unwrap_or(Timestamp::MAX);
    let shortened = content.notes.previous.iter().map(|one| Previous { until: one.until.min(end), ..*one });
    shortened.filter(|previous| previous.until > now).collect()
}

/// When a value was made, as noted on its Secret. Whoever may write Secrets may write a time to come, in which the value would never
/// be old: that is none. Clocks of replicas may differ a little.
fn made_at(content: &SecretContent, now: Timestamp) -> Option<Timestamp> {
    const MAX_SKEW: SignedDuration = SignedDuration::from_mins(5);
    content.notes.made_at.filter(|made_at| made_at.duration_since(now) <= MAX_SKEW)
}

/// Whose a Secret is that bears the name of a key's.
enum Whose {
    /// The key's.
    Own,
    /// Nobody's that is there, and the key's owner asks for it.
    ToAdopt,
    /// Of an ApiKey of the same name that is gone: whoever knew that value must not get in by this one.
    OfAnEarlier,
    /// Somebody else's, and what to do about it.
    Foreign(String),
}

/// In a cluster a Secret is a key's own only by an owner reference to this very ApiKey, whose UID nobody can know beforehand: whoever
/// may make Secrets could plant one under the name of a key to come otherwise, and so choose its value.
fn whose(key: &ValidKey, secret: &ObjectName, content: &SecretContent, observed: &ObservedState) -> Whose {
    let or_else = "set spec.secretName to another name, or spec.secretRef to use the key in it";
    if content.kind != key_secret::TYPE {
        let kind = &content.kind;
        return Whose::Foreign(format!(
            "the Secret {secret} is not the operator's (its type is {kind}) and is not overwritten: {or_else}"
        ));
    }
    if content.owner_uid.as_ref() == Some(&key.uid) {
        return Whose::Own;
    }
    let names_another = content.owner.as_deref().is_some_and(|owner| owner != key.name.name());
    if let Some(owner) = content.owner.as_deref().filter(|_| names_another) {
        return Whose::Foreign(format!(
            "the Secret {secret} is the ApiKey {owner}'s and is not overwritten: {or_else}"
        ));
    }
    if observed.adopting.contains(&key.name) {
        return Whose::ToAdopt;
    }
    match &content.owner_uid {
        Some(_) if content.owner.is_some() => Whose::OfAnEarlier,
        // In a folder of manifests it is its author's word, or the operator's own.
        None if content.generated || observed.secrets_are_authored => Whose::Own,
        Some(_) | None => Whose::Foreign(format!(
            "the Secret {secret} was not made for this ApiKey: if it was restored from a backup, set the annotation {}: \"true\" on \
             the ApiKey to take it over with its value; otherwise delete it, and a new value is made",
            key_secret::ADOPT
        )),
    }
}

fn long_enough<'a>(value: &'a [u8], secret: &ObjectName, path: &str) -> Result<&'a [u8], Unresolved> {
    if value.len() < MIN_KEY_LENGTH {
        return Err(("KeyTooShort", format!("{path}the key in {secret} is shorter than {MIN_KEY_LENGTH} characters")));
    }
    Ok(value)
}

fn plain(value: &[u8], secret: &ObjectName) -> Value {
    let hint = value.get(value.len().saturating_sub(HINT_LENGTH)..).unwrap_or_default();
    Value {
        hash: KeyHash::of(value),
        previous: Vec::new(),
        hint: Some(String::from_utf8_lossy(hint).into_owned()),
        secret: Some(secret.clone()),
        next_rotation: None,
    }
}

/// When a value is old enough. Up to a twentieth of the interval, and at most an hour, earlier than that: keys that were made by one
/// apply are not all renewed in the same second.
fn next_rotation(key: &ValidKey, content: &SecretContent, now: Timestamp) -> Option<Timestamp> {
    // Without a note of its age a value counts as old.
    let made_at = made_at(content, now).unwrap_or(Timestamp::UNIX_EPOCH);
    let interval = key.rotation.interval?;
    let earlier = offset_of(key.uid.as_str(), (interval / 20).min(LONGEST_ADVANCE));
    made_at.checked_add(interval.saturating_sub(earlier)).ok()
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
mod tests;
