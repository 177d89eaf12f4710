#![allow(clippy::unwrap_used, reason = "tests")]
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Secret;
use vectoll_config::{Uid, v1};
use vectoll_crds::{ApiKeySpec, TeamSpec};

use super::*;
use crate::{
    desired_state::{DesiredState, desired_state},
    key_secret::Notes,
    observed_state::{DeliveredValue, Kind, Object, ResourceRef},
};

const NOW: &str = "2026-01-10T00:00:00Z";

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// A Team, and the ApiKey `alice` of UID `u` with this spec and request.
fn observed(spec: &str, request: Option<&str>) -> ObservedState {
    let mut observed = ObservedState::default();
    let team = ObjectName::new("apps", "team");
    let spec_of_team: TeamSpec = serde_yaml::from_str("{}").unwrap();
    let object = Object::new(team.clone(), Uid::new("t"), spec_of_team);
    observed.teams.insert(team, object.into());
    let name = ObjectName::new("apps", "alice");
    let spec: ApiKeySpec = serde_yaml::from_str(&format!("{{teamRef: {{name: team}}{spec}}}")).unwrap();
    let rotate = request.map(str::to_owned);
    observed.api_keys.insert(name.clone(), Object { rotate, ..Object::new(name, Uid::new("u"), spec) }.into());
    observed
}

/// The Secret of `alice` as the operator made it for an owner's UID at a time.
fn secret(uid: &str, value: &str, made_at: &str, request: Option<&str>, previous: Vec<Previous>) -> SecretContent {
    let creation = ValueCreation {
        api_key: ObjectName::new("apps", "alice"),
        uid: Uid::new(uid),
        secret: ObjectName::new("apps", "alice"),
        cause: Cause::New,
        previous,
        request: request.map(str::to_owned),
    };
    let mut secret: Secret = creation.secret(value, at(made_at));
    secret.metadata.owner_references = Some(vec![creation.owner_reference()]);
    SecretContent::of(secret)
}

fn desired(spec: &str, request: Option<&str>, content: Option<SecretContent>) -> DesiredState {
    let mut observed = observed(spec, request);
    if let Some(content) = content {
        observed.secrets = BTreeMap::from([(ObjectName::new("apps", "alice"), content.into())]);
    }
    desired_state(&observed, at(NOW))
}

const VALUE: &str = "sk-vt-a-value-of-some-length";

#[test]
fn a_value_is_renewed_when_its_time_has_come_and_not_before() {
    let rotation = ", rotation: {interval: 24h, gracePeriod: 1h}";
    let made = |at: Timestamp| desired(rotation, None, Some(secret("u", VALUE, &at.to_string(), None, Vec::new())));
    let young = at("2026-01-09T12:00:00Z");
    let next = made(young).next.unwrap();
    let early = at("2026-01-10T12:00:00Z").duration_since(next);
    assert!((SignedDuration::ZERO..SignedDuration::from_hours(1)).contains(&early), "{early}, and it is known when");
    // Of the same age at another time, so that it is due now, or in a second.
    let due = young - next.duration_since(at(NOW));
    let second = SignedDuration::from_secs(1);
    assert!(made(due + second).to_create.is_empty());
    assert_eq!(made(due + second).next, Some(at(NOW) + second));
    let old = made(due);
    let creation = old.to_create.first().unwrap();
    assert_eq!(creation.cause, Cause::Interval);
    let hash = KeyHash::of(VALUE.as_bytes());
    assert_eq!(creation.previous, [Previous { hash, until: at("2026-01-10T01:00:00Z") }]);
    assert!(old.key(&ObjectName::new("apps", "alice")).is_some(), "until then it works as it is");
}

#[test]
fn keys_of_one_apply_are_renewed_one_after_the_other() {
    let observed = observed(", rotation: {interval: 24h}", None);
    let due = |uid: &str| {
        let mut observed = observed.clone();
        let name = ObjectName::new("apps", "alice");
        let key = Arc::unwrap_or_clone(observed.api_keys.remove(&name).unwrap());
        observed.api_keys.insert(name.clone(), Object { uid: Uid::new(uid), ..key }.into());
        observed.secrets.insert(name, secret(uid, VALUE, NOW, None, Vec::new()).into());
        desired_state(&observed, at(NOW)).next.unwrap()
    };
    let times: BTreeSet<Timestamp> = (0..100).map(|n| due(&format!("uid-{n}"))).collect();
    assert!(times.len() > 90, "{} of 100", times.len());
    assert_eq!(due("uid-1"), due("uid-1"), "each at a time of its own");
}

#[test]
fn a_wish_is_met_once() {
    let content = || Some(secret("u", VALUE, NOW, Some("1"), Vec::new()));
    assert!(desired("", Some("1"), content()).to_create.is_empty());
    assert!(desired("", None, content()).to_create.is_empty(), "taking the annotation away is no request");
    let desired = desired("", Some("2"), content());
    let creation = desired.to_create.first().unwrap();
    assert_eq!((creation.cause, creation.request.as_deref()), (Cause::Requested, Some("2")));
}

#[test]
fn values_before_end_with_their_grace_period() {
    let previous = |hash: &[u8], until: &str| Previous { hash: KeyHash::of(hash), until: at(until) };
    let both = [previous(b"late", "2026-01-10T00:00:01Z"), previous(b"gone", NOW)];
    let desired = desired("", None, Some(secret("u", VALUE, NOW, None, both.to_vec())));
    let key = desired.key(&ObjectName::new("apps", "alice")).unwrap();
    assert_eq!(key.value.previous, both[..1]);
    assert_eq!(desired.next, Some(at("2026-01-10T00:00:01Z")));
}

#[test]
fn a_shorter_grace_period_ends_what_was_replaced_before() {
    let leaked = Previous { hash: KeyHash::of(b"leaked"), until: at("2026-01-10T23:00:00Z") };
    let content = || Some(secret("u", VALUE, "2026-01-09T23:00:00Z", None, vec![leaked]));
    let alice = ObjectName::new("apps", "alice");
    assert_eq!(desired("", None, content()).key(&alice).unwrap().value.previous, [leaked]);
    let ended = desired(", rotation: {gracePeriod: 0s}", None, content());
    assert_eq!(ended.key(&alice).unwrap().value.previous, []);
}

#[test]
fn a_key_that_moves_to_another_secret_has_its_value_for_the_grace_period() {
    let mut observed = observed(", secretName: new, rotation: {gracePeriod: 1h}", None);
    let (old, new) = (ObjectName::new("apps", "alice"), ObjectName::new("apps", "new"));
    observed.had_value.insert(old.clone());
    observed.secrets.insert(old.clone(), secret("u", VALUE, NOW, None, Vec::new()).into());
    let desired = desired_state(&observed, at(NOW));
    let creation = desired.to_create.first().unwrap();
    let before = Previous { hash: KeyHash::of(VALUE.as_bytes()), until: at("2026-01-10T01:00:00Z") };
    assert_eq!((creation.cause, &creation.secret, &*creation.previous), (Cause::Moved, &new, &[before][..]));
    assert!(desired.stale.is_empty(), "first the new one is made");

    let made = secret("u", "sk-vt-another-value-of-some-length", NOW, None, creation.previous.clone());
    observed.secrets.insert(new, made.into());
    let desired = desired_state(&observed, at(NOW));
    assert_eq!(desired.key(&old).unwrap().value.previous, [before]);
    assert_eq!((desired.stale, desired.to_create.len()), (vec![old], 0));
}

#[test]
fn a_value_that_comes_back_stands_once() {
    let current = Previous { hash: KeyHash::of(VALUE.as_bytes()), until: at("2026-01-10T00:30:00Z") };
    let mut observed = observed("", None);
    let (alice, bob) = (ObjectName::new("apps", "alice"), ObjectName::new("apps", "bob"));
    observed.secrets.insert(alice.clone(), secret("u", VALUE, NOW, None, vec![current]).into());
    // Another key brings what is still in its grace period here.
    let lent = Previous { hash: KeyHash::of(b"sk-vt-a-value-that-moved-on"), until: at("2026-01-10T00:30:00Z") };
    Arc::make_mut(observed.secrets.get_mut(&alice).unwrap()).notes.previous.push(lent);
    let spec: ApiKeySpec = serde_yaml::from_str("{teamRef: {name: team}, secretRef: {name: brought}}").unwrap();
    let object = Object::new(bob.clone(), Uid::new("b"), spec);
    observed.api_keys.insert(bob.clone(), object.into());
    let data = [("key".to_owned(), k8s_openapi::ByteString(b"sk-vt-a-value-that-moved-on".to_vec()))];
    let brought = Secret { data: Some(data.into()), ..Secret::default() };
    observed.secrets.insert(ObjectName::new("apps", "brought"), SecretContent::of(brought).into());

    let desired = desired_state(&observed, at(NOW));
    assert_eq!(desired.key(&alice).unwrap().value.previous, []);
    assert_eq!(desired.key(&bob).unwrap().value.hash, lent.hash);
    let mut config = desired.config(&observed, "apps", crate::desired_state::Credentials::Withhold, None).config;
    config.generation = 1;
    vectoll_config::read_v1(&vectoll_config::write_v1(&config).unwrap()).unwrap();
}

#[test]
fn the_value_of_a_deleted_key_is_not_taken_over() {
    let desired = desired("", None, Some(secret("someone-before", VALUE, NOW, None, Vec::new())));
    assert!(desired.key(&ObjectName::new("apps", "alice")).is_none());
    assert!(desired.to_create.is_empty(), "first the old one goes");
    assert_eq!(desired.stale, [ObjectName::new("apps", "alice")]);
}

/// The conditions of `alice` beside a Secret, and what is to be done about it.
fn beside(content: SecretContent, adopts: bool) -> (DesiredState, String) {
    let mut observed = observed("", None);
    let alice = ObjectName::new("apps", "alice");
    observed.secrets.insert(alice.clone(), content.into());
    observed.adopting.extend(adopts.then(|| alice.clone()));
    let desired = desired_state(&observed, at(NOW));
    let of = ResourceRef { kind: Kind::ApiKey, name: alice };
    let found = desired.conditions.get(&of).unwrap().iter().find(|found| found.stops());
    let found = found.map_or_else(String::new, |found| format!("{}: {}", found.reason, found.message));
    (desired, found)
}

/// As whoever may make Secrets would plant it, or a backup brings it back: without its owner.
fn without_owner() -> SecretContent {
    let mut planted = secret("u", VALUE, NOW, None, Vec::new());
    planted.owner_uid = None;
    planted.generated = false;
    planted
}

#[test]
fn a_secret_that_was_planted_does_not_choose_the_value() {
    let mut nobody = without_owner();
    nobody.owner = None;
    for planted in [without_owner(), nobody] {
        let (desired, found) = beside(planted, false);
        assert!(desired.key(&ObjectName::new("apps", "alice")).is_none());
        assert!(desired.to_create.is_empty() && desired.stale.is_empty(), "nor is it taken away without a word");
        assert!(found.starts_with("SecretNotOwned: the Secret apps/alice was not made for this ApiKey"), "{found}");
        assert!(found.contains("vectoll.dev/adopt-secret: \"true\"") && found.contains("delete it"), "{found}");
    }
}

#[test]
fn a_restored_secret_is_taken_over_when_its_owner_asks_for_it() {
    for restored in [without_owner(), secret("someone-before", VALUE, NOW, None, Vec::new())] {
        let (desired, found) = beside(restored, true);
        assert!(found.starts_with("SecretPending"), "{found}");
        assert_eq!(desired.to_adopt.len(), 1);
        assert!(desired.stale.is_empty() && desired.to_create.is_empty());
    }
    let (desired, found) = beside(secret("u", VALUE, NOW, None, Vec::new()), true);
    assert_eq!((desired.to_adopt.len(), found), (0, String::new()), "then it is its own");
    let mut another = without_owner();
    another.owner = Some("bob".to_owned());
    let (desired, found) = beside(another, true);
    assert!(desired.to_adopt.is_empty() && found.contains("is the ApiKey bob's"), "{found}");
}

#[test]
fn a_time_to_come_makes_no_value_young_for_ever() {
    let rotation = ", rotation: {interval: 24h, gracePeriod: 1h}";
    let lent = Previous { hash: KeyHash::of(b"lent"), until: at("9000-01-01T00:00:00Z") };
    let desired = desired(rotation, None, Some(secret("u", VALUE, "9000-01-01T00:00:00Z", None, vec![lent])));
    assert_eq!(desired.to_create.first().unwrap().cause, Cause::Interval);
    assert_eq!(desired.key(&ObjectName::new("apps", "alice")).unwrap().value.previous, []);
}

#[test]
fn an_emptied_secret_gets_a_value_and_a_lost_one_is_told_from_a_new_one() {
    let mut content = secret("u", "", NOW, None, Vec::new());
    content.notes = Notes::default();
    assert_eq!(desired("", None, Some(content)).to_create.first().unwrap().cause, Cause::Emptied);
    assert_eq!(desired("", None, None).to_create.first().unwrap().cause, Cause::New);
    let mut observed = observed("", None);
    observed.had_value.insert(ObjectName::new("apps", "alice"));
    assert_eq!(desired_state(&observed, at(NOW)).to_create.first().unwrap().cause, Cause::Deleted);
}

#[test]
fn what_is_in_force_of_a_secret_that_cannot_be_read_stays_and_no_more_than_that() {
    let (alice, brought) = (ObjectName::new("apps", "alice"), ObjectName::new("apps", "brought"));
    let mut observed = observed(", suspended: true, secretRef: {name: brought}", None);
    observed.unreadable.insert(brought.clone(), "the operator is not allowed to get it".into());
    let reason = |observed: &ObservedState| {
        let desired = desired_state(observed, at(NOW));
        let of = ResourceRef { kind: Kind::ApiKey, name: alice.clone() };
        let found = desired.conditions.get(&of).unwrap().iter().find(|found| found.stops());
        (desired.key(&alice).cloned(), found.map(|found| (found.reason, found.message.to_string())))
    };
    let (key, why) = reason(&observed);
    assert!(key.is_none(), "nothing is in force of it");
    let (reason_of, message) = why.unwrap();
    assert_eq!(reason_of, "SecretUnreadable");
    assert!(
        message.starts_with("spec.secretRef: the Secret apps/brought cannot be read (the operator is not"),
        "{message}"
    );

    let (hash, before) = (KeyHash::of(VALUE.as_bytes()), KeyHash::of(b"before"));
    let until = at("2026-01-10T01:00:00Z");
    let value = |account: &str, secret: &ObjectName| DeliveredValue {
        account: Uid::new(account),
        secret: secret.clone(),
        credentials: vec![
            v1::Credential { sha256: hash, expires_at: None },
            v1::Credential { sha256: before, expires_at: Some(until) },
        ],
    };
    observed.delivered.values.insert(alice.clone(), value("u", &brought));
    let (key, why) = reason(&observed);
    let key = key.unwrap();
    assert_eq!((key.value.hash, &*key.value.previous), (hash, &[Previous { hash: before, until }][..]));
    assert!(key.key.suspended, "what is set of it holds");
    assert_eq!(why.unwrap().0, "SecretUnreadable");
    for other in [value("another", &brought), value("u", &ObjectName::new("apps", "moved"))] {
        observed.delivered.values.insert(alice.clone(), other);
        assert!(reason(&observed).0.is_none(), "it is of another key, or was in another Secret");
    }
}

#[test]
fn of_a_key_that_is_elsewhere_only_its_hash_is_used_and_what_was_generated_ends() {
    let hash = KeyHash::of(b"sk-handed-out-elsewhere");
    let made =
        secret("u", VALUE, NOW, None, vec![Previous { hash: KeyHash::of(b"b"), until: at("9000-01-01T00:00:00Z") }]);
    let desired = desired(&format!(", keyHash: 'sha256:{hash}'"), None, Some(made));
    let alice = ObjectName::new("apps", "alice");
    let Value { hash: used, previous, hint, secret, next_rotation } = &desired.key(&alice).unwrap().value;
    assert_eq!((*used, previous.len(), hint, secret, next_rotation), (hash, 0, &None, &None, &None));
    assert_eq!(desired.stale, [alice], "the Secret of before");
    assert!(desired.to_create.is_empty() && desired.next.is_none());
}

#[test]
fn a_value_has_one_key_whether_it_is_known_or_only_its_hash() {
    let hash = KeyHash::of(VALUE.as_bytes());
    let mut observed = observed("", None);
    observed.secrets =
        BTreeMap::from([(ObjectName::new("apps", "alice"), secret("u", VALUE, NOW, None, Vec::new()).into())]);
    let bob = ObjectName::new("apps", "bob");
    let mut claim = |created: &str| {
        let spec: ApiKeySpec =
            serde_yaml::from_str(&format!("{{teamRef: {{name: team}}, keyHash: 'sha256:{hash}'}}")).unwrap();
        let object = Object { created: Some(at(created)), ..Object::new(bob.clone(), Uid::new("b"), spec) };
        observed.api_keys.insert(bob.clone(), object.into());
        let alice = ObjectName::new("apps", "alice");
        let key = Arc::unwrap_or_clone(observed.api_keys.remove(&alice).unwrap());
        observed.api_keys.insert(alice.clone(), Object { created: Some(at("2026-01-05T00:00:00Z")), ..key }.into());
        let desired = desired_state(&observed, at(NOW));
        [alice, bob.clone()].map(|name| {
            let found = desired.conditions.get(&ResourceRef { kind: Kind::ApiKey, name }).unwrap();
            found.iter().find(|found| found.stops()).map(|found| (found.reason, found.message.to_string()))
        })
    };
    let [alice, younger] = claim("2026-01-06T00:00:00Z");
    assert_eq!(alice, None);
    let (reason, message) = younger.unwrap();
    assert_eq!(reason, "DuplicateKey");
    assert!(message.starts_with("spec.keyHash: the ApiKey apps/alice has the same value"), "{message}");
    let [alice, older] = claim("2026-01-04T00:00:00Z");
    assert_eq!((alice.unwrap().0, older), ("DuplicateKey", None));
}

#[test]
fn a_secret_gets_what_its_template_says_unless_it_is_written_anyway() {
    let template = ", secretTemplate: {labels: {team: search}}";
    let young = || Some(secret("u", VALUE, NOW, None, Vec::new()));
    let change = |state: DesiredState| state.to_label.into_iter().map(|change| change.secret).collect::<Vec<_>>();
    assert_eq!(change(desired(template, None, young())), [ObjectName::new("apps", "alice")]);
    assert!(change(desired("", None, young())).is_empty(), "nothing is on it and nothing is to be");
    // It has another version after a renewal: the next plan looks at that one.
    let renewed = desired(template, Some("1"), young());
    assert_eq!((renewed.to_create.len(), change(renewed).len()), (1, 0));
    // A folder of manifests has no Secret that somebody could look at.
    let mut observed = observed(template, None);
    let content = without_owner().generated();
    observed.secrets = BTreeMap::from([(ObjectName::new("apps", "alice"), content.into())]);
    assert!(change(desired_state(&observed, at(NOW))).is_empty());
}
