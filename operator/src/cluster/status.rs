//! From the desired state to what stands in a resource's status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as ApiCondition, Time};
use serde::Serialize;
use serde_json::{Value, json};
use vectoll_config::ObjectName;
use vectoll_crds::{ApiKeyStatus, BackendStatus, ModelRouteStatus, Spend, TeamStatus};

use super::{api_time::whole_second, spend::SpendStatus};
use crate::{condition::ConditionType, desired_state::Condition, resolve::ResolvedKey};

/// The longest message of a condition that the API server takes, in bytes.
const LONGEST_MESSAGE: usize = 32_768;

/// A status that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NewStatus {
    /// The status as a merge patch: what is not there any more is null.
    pub(super) patch: Value,
    /// The conditions as they are to be.
    pub(super) conditions: Vec<ApiCondition>,
}

/// What is to become of a status.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// It is as it should be.
    Nothing,
    /// Only what was spent has changed: not before this time.
    Later(Timestamp),
    /// It is to be written.
    Write(NewStatus),
}

/// The status of an ApiKey, if it differs from the present one.
pub(super) fn api_key(
    present: Option<&ApiKeyStatus>,
    generation: Option<i64>,
    found: &[Condition],
    key: Option<&ResolvedKey>,
    spend: &SpendStatus,
    now: Timestamp,
) -> Change {
    let value = key.map(|key| &key.value);
    let secret_name = value.and_then(|value| value.secret.as_ref()).map(ObjectName::name);
    // A key that lost its Secret is still the key that had it. One of which only the hash is known is another.
    let is_elsewhere = value.is_some_and(|value| value.secret.is_none());
    let had = || present.and_then(|status| status.key_hint.as_deref()).filter(|_| !is_elsewhere);
    let key_hint = value.and_then(|value| value.hint.as_deref()).or_else(had);
    let next_rotation = value.and_then(|value| value.next_rotation).map(|at| Time(whole_second(at)));
    let same = present.is_some_and(|status| {
        status.observed_generation == generation
            && status.secret_name.as_deref() == secret_name
            && status.key_hint.as_deref() == key_hint
            && status.next_rotation == next_rotation
            && are_same(&status.conditions, generation, found)
    });
    if same && spend.due.is_none_or(|due| due > now) {
        return spend.due.map_or(Change::Nothing, Change::Later);
    }
    let wanted = ApiKeyStatus {
        observed_generation: generation,
        conditions: conditions(present.map(|status| &*status.conditions), generation, found, now),
        secret_name: secret_name.map(str::to_owned),
        key_hint: key_hint.map(str::to_owned),
        next_rotation,
        spend: spend.spend.clone(),
    };
    let mut patch = patch(&wanted);
    if let Some(fields) = patch.as_object_mut() {
        for optional in ["secretName", "keyHint", "nextRotation"] {
            fields.entry(optional).or_insert(Value::Null);
        }
        fields.extend(spend_field(present.and_then(|status| status.spend.as_ref()), wanted.spend.as_ref()));
    }
    Change::Write(NewStatus { patch, conditions: wanted.conditions })
}

/// The status of a Team, if it differs from the present one.
pub(super) fn team(
    present: Option<&TeamStatus>,
    generation: Option<i64>,
    found: &[Condition],
    spend: &SpendStatus,
    now: Timestamp,
) -> Change {
    let conditions_of = present.map(|status| (status.observed_generation, &*status.conditions));
    if is_told(conditions_of, generation, found) && spend.due.is_none_or(|due| due > now) {
        return spend.due.map_or(Change::Nothing, Change::Later);
    }
    let mut status = plain(conditions_of, generation, found, now);
    if let Some(fields) = status.patch.as_object_mut() {
        fields.extend(spend_field(present.and_then(|status| status.spend.as_ref()), spend.spend.as_ref()));
    }
    Change::Write(status)
}

/// The status of a ModelRoute, if it differs from the present one.
pub(super) fn route(
    present: Option<&ModelRouteStatus>,
    generation: Option<i64>,
    found: &[Condition],
    owed: &[(&str, SpendStatus)],
    now: Timestamp,
) -> Change {
    let stand = present.map_or(&[][..], |status| &*status.backends);
    let present = present.map(|status| (status.observed_generation, &*status.conditions));
    let due = owed.iter().filter_map(|(_, spend)| spend.due).min();
    // A backend that has no budget any more is not told of.
    let is_gone = stand.iter().any(|listed| owed.iter().all(|(backend, _)| listed.name != *backend));
    if is_told(present, generation, found) && !is_gone && due.is_none_or(|due| due > now) {
        return due.map_or(Change::Nothing, Change::Later);
    }
    let mut status = plain(present, generation, found, now);
    let backends: Vec<BackendStatus> = owed
        .iter()
        .filter_map(|(backend, spend)| Some(BackendStatus { name: (*backend).to_owned(), spend: spend.spend.clone()? }))
        .collect();
    if let Some(fields) = status.patch.as_object_mut()
        && !(backends.is_empty() && stand.is_empty())
    {
        // A list in a merge patch is the whole list.
        let list = if backends.is_empty() { Value::Null } else { json!(backends) };
        fields.insert("backends".to_owned(), list);
    }
    Change::Write(status)
}

fn is_told(present: Option<(Option<i64>, &[ApiCondition])>, generation: Option<i64>, found: &[Condition]) -> bool {
    present.is_some_and(|(cluster, present)| cluster == generation && are_same(present, generation, found))
}

/// A status that has nothing but conditions and the generation they are of.
fn plain(
    present: Option<(Option<i64>, &[ApiCondition])>,
    generation: Option<i64>,
    found: &[Condition],
    now: Timestamp,
) -> NewStatus {
    let conditions = conditions(present.map(|(_, conditions)| conditions), generation, found, now);
    NewStatus { patch: json!({"observedGeneration": generation, "conditions": conditions}), conditions }
}

/// Whether the conditions say what was found. Nearly all of them do, nearly always. Amounts in messages are those of what was
/// spent, and are written along with that. Conditions of types that are not ours are somebody else's, and say nothing here.
fn are_same(present: &[ApiCondition], generation: Option<i64>, found: &[Condition]) -> bool {
    let mut present = present.iter().filter(|condition| is_ours(condition));
    let all_stand = found.iter().all(|found| {
        present.next().is_some_and(|present| {
            present.type_ == found.kind.name()
                && present.status == found.status.name()
                && present.reason == found.reason
                && present.observed_generation == generation
                && (found.kind.has_amounts() || present.message == shortened(&found.message))
        })
    });
    all_stand && present.next().is_none()
}

/// Whether a condition is of a type that the operator writes. Others belong to whoever put them there.
fn is_ours(condition: &ApiCondition) -> bool {
    ConditionType::ALL.iter().any(|kind| kind.name() == condition.type_)
}

fn patch(status: &impl Serialize) -> Value {
    serde_json::to_value(status).unwrap_or_else(|_| json!({}))
}

/// What was spent, as a field of a merge patch: null where it is to stand there no more.
fn spend_field(present: Option<&Spend>, wanted: Option<&Spend>) -> Option<(String, Value)> {
    let value = match (present, wanted) {
        (present, Some(spend)) => spend_patch(present, spend),
        (Some(_), None) => Value::Null,
        (None, None) => return None,
    };
    Some(("spend".to_owned(), value))
}

/// What was spent, as a merge patch: what is there no more is null.
fn spend_patch(present: Option<&Spend>, spend: &Spend) -> Value {
    let mut patch = patch(spend);
    if let Some(fields) = patch.as_object_mut() {
        let had_several = present.is_some_and(|present| !present.budgets.is_empty());
        for optional in ["limit", "remaining", "resetsAt"].into_iter().chain(had_several.then_some("budgets")) {
            fields.entry(optional).or_insert(Value::Null);
        }
    }
    patch
}

/// Conditions as the API has them: ours, and behind them those of others as they stand, because a merge patch replaces a list as a
/// whole. The time of a condition is when its status turned, not when it was last written.
fn conditions(
    present: Option<&[ApiCondition]>,
    generation: Option<i64>,
    found: &[Condition],
    now: Timestamp,
) -> Vec<ApiCondition> {
    let condition = |condition: &Condition| {
        let (type_, status) = (condition.kind.name(), condition.status.name());
        let before = present.into_iter().flatten().find(|before| before.type_ == type_);
        let turned = before.filter(|before| before.status == status).map(|before| before.last_transition_time.clone());
        ApiCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: condition.reason.to_owned(),
            message: shortened(&condition.message).to_owned(),
            observed_generation: generation,
            last_transition_time: turned.unwrap_or(Time(whole_second(now))),
        }
    };
    let others = present.into_iter().flatten().filter(|condition| !is_ours(condition)).cloned();
    found.iter().map(condition).chain(others).collect()
}

/// What the API server takes of a message.
fn shortened(message: &str) -> &str {
    message.get(..message.floor_char_boundary(LONGEST_MESSAGE)).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
    use vectoll_config::{KeyHash, Uid};
    use vectoll_crds::BudgetSpend;

    use super::*;
    use crate::{
        desired_state::desired_state,
        observed_state::{Object, ObservedState},
    };

    fn object<S>(name: ObjectName, spec: S) -> Object<S> {
        Object::new(name, Uid::new("u"), spec)
    }

    /// Nothing was spent.
    fn no_spend() -> SpendStatus {
        SpendStatus { spend: None, due: None }
    }

    fn written(change: Change) -> NewStatus {
        let Change::Write(status) = change else { panic!("{change:?}") };
        status
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn what_is_as_it_was_is_not_written_and_keeps_its_time() {
        let found = [Condition::holds(ConditionType::Accepted, "Accepted", "")];
        let first = written(team(None, Some(1), &found, &no_spend(), at("2026-01-01T00:00:00.5Z")));
        let status: TeamStatus = serde_json::from_value(first.patch).unwrap();
        let same = team(Some(&status), Some(1), &found, &no_spend(), at("2026-01-02T00:00:00Z"));
        assert_eq!(same, Change::Nothing);

        let failed = [Condition::fails(ConditionType::Accepted, "Invalid", "spec.budget.limit: no")];
        let turned = written(team(Some(&status), Some(2), &failed, &no_spend(), at("2026-01-03T00:00:00Z")));
        assert_eq!(turned.conditions.first().unwrap().last_transition_time.0, at("2026-01-03T00:00:00Z"));
        let same = written(team(Some(&status), Some(2), &found, &no_spend(), at("2026-01-03T00:00:00Z")));
        assert_eq!(same.conditions.first().unwrap().last_transition_time.0, at("2026-01-01T00:00:00Z"));
        assert_eq!(same.conditions.first().unwrap().observed_generation, Some(2));
    }

    #[test]
    fn a_condition_of_somebody_else_stays_and_is_no_reason_to_write() {
        let found = [Condition::holds(ConditionType::Accepted, "Accepted", "")];
        let now = at("2026-01-01T00:00:00Z");
        let mut status: TeamStatus =
            serde_json::from_value(written(team(None, Some(1), &found, &no_spend(), now)).patch).unwrap();
        let theirs = ApiCondition { type_: "policy.example/Audited".to_owned(), ..status.conditions[0].clone() };
        for place in [0, 1] {
            let mut conditions = status.conditions.clone();
            conditions.retain(|condition| condition.type_ != theirs.type_);
            conditions.insert(place, theirs.clone());
            status.conditions = conditions;
            assert_eq!(team(Some(&status), Some(1), &found, &no_spend(), now), Change::Nothing, "at place {place}");
        }
        let turned = written(team(Some(&status), Some(2), &found, &no_spend(), now)).conditions;
        let types: Vec<&str> = turned.iter().map(|condition| &*condition.type_).collect();
        assert_eq!(types, ["Accepted", "policy.example/Audited"]);
        assert_eq!(turned[1], theirs, "as it was, the generation that it speaks of included");
        // One of ours that does not hold any more is not somebody else's.
        let ours = ApiCondition { type_: "Suspended".to_owned(), ..theirs };
        status.conditions.push(ours);
        assert_eq!(written(team(Some(&status), Some(1), &found, &no_spend(), now)).conditions.len(), 2);
    }

    #[test]
    fn what_an_api_key_has_no_more_is_taken_out() {
        let present = ApiKeyStatus { secret_name: Some("alice".to_owned()), ..ApiKeyStatus::default() };
        let patch = written(api_key(Some(&present), None, &[], None, &no_spend(), at("2026-01-01T00:00:00Z"))).patch;
        assert_eq!(patch.get("secretName"), Some(&Value::Null));
    }

    #[test]
    fn a_key_whose_value_is_elsewhere_has_neither_secret_nor_hint() {
        let hash = KeyHash::of(b"sk-handed-out-elsewhere");
        let spec = serde_yaml::from_str(&format!("{{teamRef: {{name: team}}, keyHash: 'sha256:{hash}'}}")).unwrap();
        let (name, team) = (ObjectName::new("apps", "moved"), ObjectName::new("apps", "team"));
        let mut observed = ObservedState::default();
        observed.teams.insert(team.clone(), object(team, serde_yaml::from_str("{}").unwrap()).into());
        observed.api_keys.insert(name.clone(), object(name.clone(), spec).into());
        let desired = desired_state(&observed, at("2026-01-01T00:00:00Z"));
        let key = desired.key(&name).unwrap();
        // It was generated before.
        let present = ApiKeyStatus {
            secret_name: Some("moved".to_owned()),
            key_hint: Some("abcd".to_owned()),
            ..ApiKeyStatus::default()
        };
        let now = at("2026-01-01T00:00:00Z");
        let patch = written(api_key(Some(&present), None, &[], Some(key), &no_spend(), now)).patch;
        assert_eq!((patch.get("secretName"), patch.get("keyHint")), (Some(&Value::Null), Some(&Value::Null)));
        assert_eq!(api_key(Some(&ApiKeyStatus::default()), None, &[], Some(key), &no_spend(), now), Change::Nothing);
    }

    #[test]
    fn spend_waits_for_its_time_and_goes_along_with_any_other_change() {
        let found = [Condition::holds(ConditionType::Accepted, "Accepted", "")];
        let now = at("2026-01-01T00:00:00Z");
        let first = written(team(None, Some(1), &found, &no_spend(), now));
        let status: TeamStatus = serde_json::from_value(first.patch).unwrap();
        let spend = Spend {
            amount: "1.00".to_owned(),
            limit: None,
            remaining: None,
            resets_at: None,
            budgets: Vec::new(),
            updated_at: Time(now),
        };
        let due = at("2026-01-01T00:00:11Z");
        let after = SpendStatus { spend: Some(spend), due: Some(due) };
        assert_eq!(team(Some(&status), Some(1), &found, &after, at("2026-01-01T00:00:10Z")), Change::Later(due));
        let in_time = written(team(Some(&status), Some(1), &found, &after, due));
        assert_eq!(in_time.patch.pointer("/spend/amount"), Some(&json!("1.00")));
        let with_an_edit = written(team(Some(&status), Some(2), &found, &after, at("2026-01-01T00:00:01Z")));
        assert_eq!(with_an_edit.patch.pointer("/spend/amount"), Some(&json!("1.00")));
        let key = written(api_key(None, Some(1), &found, None, &after, now));
        assert_eq!(key.patch.pointer("/spend/amount"), Some(&json!("1.00")));
        let status = TeamStatus { spend: after.spend.clone(), ..status };
        let one = BudgetSpend {
            period: "Daily".to_owned(),
            amount: "1.00".to_owned(),
            limit: "2.00".to_owned(),
            remaining: "1.00".to_owned(),
            resets_at: None,
        };
        let several = after.spend.clone().map(|spend| Spend { budgets: vec![one], ..spend });
        let before = TeamStatus { spend: several, ..status.clone() };
        let alone = written(team(Some(&before), Some(1), &found, &after, due));
        assert_eq!(alone.patch.pointer("/spend/budgets"), Some(&Value::Null), "one is in no list");
        let off = SpendStatus { spend: None, due: Some(now) };
        let off = written(team(Some(&status), Some(1), &found, &off, now));
        assert_eq!(off.patch.get("spend"), Some(&Value::Null), "where spend is not written any more");
        // A budget that was taken away takes its limit along.
        for status in [key, with_an_edit] {
            assert_eq!(status.patch.pointer("/spend/limit"), Some(&Value::Null));
            assert_eq!(status.patch.pointer("/spend/remaining"), Some(&Value::Null));
        }
    }
}
