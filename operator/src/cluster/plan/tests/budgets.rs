//! What is said of budgets, as the store tells of them, and how often it is written.

use jiff::SignedDuration;
use vectoll_config::{
    PicoUsd, ZoneName,
    v1::{Budget, Period},
};

use super::*;
use crate::ledger::{Account, Acknowledgements, Money, Spent, TeamLedger};

const ENDS: &str = "2026-01-11T00:00:00Z";

/// A key with a budget of ten dollars a day, of which 80% are worth a warning, and a store that has been heard.
fn budgeted() -> Planner {
    let mut cluster = observed(&["alice"]);
    give_value(&mut cluster, "alice");
    let mut planner = Planner::new(cluster);
    planner.write_config();
    limit(&mut planner, "10.00", 1);
    planner.cluster.books.acknowledgements = Acknowledgements::Heard { at: now(), live: BTreeMap::new() };
    planner
}

/// An edit of the key.
fn put_spec(planner: &mut Planner, spec: &serde_json::Value, generation: i64) {
    let object: Raw<ApiKey> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "ApiKey",
        "metadata": {"name": "alice", "namespace": "apps", "uid": "alice", "generation": generation}, "spec": spec}))
    .unwrap();
    let before = planner.cluster.api_keys.get(&name("alice")).unwrap().clone();
    let tracked = tracked::Tracked { status: before.value.status, ..cluster_state::tracked(object, None).unwrap() };
    planner.cluster.api_keys.put(name("alice"), before.version + 1, tracked);
}

fn limit(planner: &mut Planner, limit: &str, generation: i64) {
    let budget = json!({"limit": limit, "period": "Daily", "warnAtPercent": 80});
    put_spec(planner, &json!({"teamRef": {"name": "team"}, "budget": budget}), generation);
}

/// What the store says.
fn heard(planner: &mut Planner, spent: &str, refused_at: Option<&str>, period: Period, ends: &str) {
    let time_zone = ZoneName::try_from("UTC".to_owned()).unwrap();
    let budget = Some(Budget::new("10.00".parse().unwrap(), period, time_zone));
    let refused_at = refused_at.map(|limit| limit.parse().unwrap());
    let spent = Spent { spent: spent.parse().unwrap(), held: PicoUsd::ZERO, refused_at };
    let money =
        BTreeMap::from([(Account::Key(Uid::new("alice")), vec![Money { budget, ends: ends.parse().ok(), spent }])]);
    planner.cluster.books.teams.insert(Uid::new("t"), Arc::new(TeamLedger { money, ..TeamLedger::default() }));
}

fn daily(planner: &mut Planner, spent: &str, refused_at: Option<&str>) {
    heard(planner, spent, refused_at, Period::Daily, ENDS);
}

/// Carries out what is to be told of the key. Returns the events, `Warning` or `Normal` and the reason; none: nothing is written.
fn write(planner: &mut Planner) -> Option<Vec<String>> {
    let (status, turns) = planner.actions().into_iter().find_map(|action| match action {
        Action::Report { status, of, turns, .. } if of.kind == Kind::ApiKey => Some((status.patch, turns)),
        _ => None,
    })?;
    let seen = planner.cluster.api_keys.get(&name("alice")).unwrap().clone();
    let tracked = tracked::Tracked { status: serde_json::from_value(status).unwrap(), ..seen.value };
    planner.cluster.api_keys.put(name("alice"), seen.version + 1, tracked);
    let told = |turn: &Transition| format!("{} {}", if turn.warns { "Warning" } else { "Normal" }, turn.reason);
    Some(turns.iter().map(told).collect())
}

/// `STATUS/REASON` of a condition as it stands there, and its message.
fn stands(planner: &Planner, condition: &str) -> Option<(String, String)> {
    let status = planner.cluster.api_keys.get(&name("alice")).unwrap().value.status.clone()?;
    let found = status.conditions.iter().find(|found| found.type_ == condition)?.clone();
    Some((format!("{}/{}", found.status, found.reason), found.message))
}

fn both(planner: &Planner) -> [String; 2] {
    ["BudgetExceeded", "BudgetWarning"].map(|kind| stands(planner, kind).map(|(what, _)| what).unwrap_or_default())
}

fn later(planner: &mut Planner, seconds: i64) {
    planner.now += SignedDuration::from_secs(seconds);
}

#[test]
fn a_budget_warns_is_exceeded_and_is_so_no_more_in_a_new_period() {
    let mut planner = budgeted();
    daily(&mut planner, "7.999999999999", None);
    assert_eq!(write(&mut planner), Some(vec![]), "nothing has turned");
    assert_eq!(both(&planner), ["False/WithinBudget", "False/BelowThreshold"]);
    assert_eq!(planner.plan().due, ENDS.parse().ok(), "the end of the period is looked at");
    daily(&mut planner, "8", None);
    assert_eq!(write(&mut planner).unwrap(), ["Warning BudgetWarning"], "at once");
    daily(&mut planner, "10", None);
    assert_eq!(write(&mut planner).unwrap(), ["Warning BudgetExceeded"], "at once");
    let (exceeded, message) = stands(&planner, "BudgetExceeded").unwrap();
    assert_eq!(exceeded, "True/LimitReached");
    assert_eq!(message, "10.00 of 10.00 USD are spent: calls are refused until 2026-01-11T00:00:00Z");
    let (_, message) = stands(&planner, "BudgetWarning").unwrap();
    let expected = "10.00 of 10.00 USD are spent in the period that ends at 2026-01-11T00:00:00Z: that is 80% or more";
    assert_eq!(message, expected);
    assert_eq!(write(&mut planner), None);
    // The period ends by the operator's clock, and the store was not asked since.
    planner.now = ENDS.parse().unwrap();
    assert_eq!(write(&mut planner).unwrap(), ["Normal WithinBudget", "Normal BelowThreshold"]);
    heard(&mut planner, "0", None, Period::Daily, "2026-01-12T00:00:00Z");
    // At its own moment of the minute: it ends for all keys at once.
    later(&mut planner, 60);
    assert_eq!(write(&mut planner), Some(vec![]));
    assert_eq!(both(&planner), ["False/WithinBudget", "False/BelowThreshold"]);
}

#[test]
fn what_turns_is_written_at_once_and_amounts_after_ten_seconds() {
    let mut planner = budgeted();
    daily(&mut planner, "8", None);
    write(&mut planner).unwrap();
    later(&mut planner, 5);
    daily(&mut planner, "8.5", None);
    assert_eq!(write(&mut planner), None, "only amounts have changed");
    daily(&mut planner, "9.5", Some("10"));
    assert_eq!(write(&mut planner).unwrap(), ["Warning BudgetExceeded"]);
    assert!(stands(&planner, "BudgetWarning").unwrap().1.starts_with("9.50 of 10.00 USD"), "they go along");
    later(&mut planner, 10);
    daily(&mut planner, "9.6", Some("10"));
    assert_eq!(write(&mut planner), None);
    later(&mut planner, 1);
    assert_eq!(write(&mut planner), Some(vec![]));
    assert!(stands(&planner, "BudgetExceeded").unwrap().1.starts_with("9.60 of 10.00 USD"));
    assert_eq!(write(&mut planner), None);
}

#[test]
fn a_refusal_exceeds_the_limit_that_it_was_at_and_no_higher_one() {
    let mut planner = budgeted();
    daily(&mut planner, "7", Some("10"));
    assert_eq!(write(&mut planner).unwrap(), ["Warning BudgetExceeded"]);
    assert_eq!(both(&planner), ["True/CallsRefused", "False/BelowThreshold"]);
    limit(&mut planner, "10.01", 2);
    assert_eq!(write(&mut planner).unwrap(), ["Normal WithinBudget"], "at once, before anybody calls");
    limit(&mut planner, "9", 3);
    assert_eq!(write(&mut planner).unwrap(), ["Warning BudgetExceeded"]);
    limit(&mut planner, "7", 4);
    assert_eq!(write(&mut planner).unwrap(), ["Warning BudgetWarning"]);
    assert_eq!(both(&planner), ["True/LimitReached", "True/ThresholdReached"]);
}

#[test]
fn where_nothing_is_heard_what_stands_there_stays_until_its_period_ends() {
    let mut planner = budgeted();
    daily(&mut planner, "10", None);
    write(&mut planner).unwrap();
    planner.cluster.books.teams.clear();
    planner.cluster.books.acknowledgements = Acknowledgements::NotYet;
    write(&mut planner);
    assert_eq!(both(&planner), ["True/LimitReached", "True/ThresholdReached"]);
    // An account of another period is another one.
    heard(&mut planner, "0", None, Period::Weekly, "2026-01-12T00:00:00Z");
    write(&mut planner);
    assert_eq!(both(&planner), ["True/LimitReached", "True/ThresholdReached"]);
    planner.cluster.books.teams.clear();
    planner.now = ENDS.parse().unwrap();
    write(&mut planner);
    assert_eq!(both(&planner), ["False/WithinBudget", "False/BelowThreshold"]);
}

#[test]
fn without_a_budget_a_threshold_or_a_store_there_is_nothing_to_say() {
    let mut planner = budgeted();
    daily(&mut planner, "10", None);
    write(&mut planner).unwrap();
    let budget = json!({"limit": "10.00", "period": "Daily"});
    put_spec(&mut planner, &json!({"teamRef": {"name": "team"}, "budget": budget}), 2);
    assert_eq!(write(&mut planner), Some(vec![]));
    assert_eq!(both(&planner), ["True/LimitReached", ""]);
    put_spec(&mut planner, &json!({"teamRef": {"name": "team"}}), 3);
    assert_eq!(write(&mut planner), Some(vec![]));
    assert_eq!(both(&planner), ["", ""]);
    limit(&mut planner, "10.00", 4);
    write(&mut planner).unwrap();
    assert_eq!(both(&planner), ["True/LimitReached", "True/ThresholdReached"]);
    planner.cluster.books.acknowledgements = Acknowledgements::Nowhere;
    write(&mut planner).unwrap();
    assert_eq!(both(&planner), ["", ""]);
}

#[test]
fn of_several_budgets_the_condition_says_which() {
    let mut planner = budgeted();
    let budgets =
        json!([{"limit": "10.00", "period": "Daily", "warnAtPercent": 80}, {"limit": "100.00", "period": "Monthly"}]);
    put_spec(&mut planner, &json!({"teamRef": {"name": "team"}, "budgets": budgets}), 2);
    let money = |period, limit: &str, spent: &str, ends: &str| {
        let time_zone = ZoneName::try_from("UTC".to_owned()).unwrap();
        let budget = Some(Budget::new(limit.parse().unwrap(), period, time_zone));
        let spent = Spent { spent: spent.parse().unwrap(), held: PicoUsd::ZERO, refused_at: None };
        Money { budget, ends: ends.parse().ok(), spent }
    };
    let hear = |planner: &mut Planner, daily: &str, monthly: &str| {
        let all = vec![
            money(Period::Daily, "10.00", daily, ENDS),
            money(Period::Monthly, "100.00", monthly, "2026-02-01T00:00:00Z"),
        ];
        let money = BTreeMap::from([(Account::Key(Uid::new("alice")), all)]);
        planner.cluster.books.teams.insert(Uid::new("t"), Arc::new(TeamLedger { money, ..TeamLedger::default() }));
    };
    hear(&mut planner, "1", "2");
    write(&mut planner);
    assert_eq!(both(&planner), ["False/WithinBudget", "False/BelowThreshold"]);
    let (_, message) = stands(&planner, "BudgetExceeded").unwrap();
    let expected = "Daily: 1.00 of 10.00 USD are spent in the period that ends at 2026-01-11T00:00:00Z; Monthly: 2.00 of 100.00 USD \
                    are spent in the period that ends at 2026-02-01T00:00:00Z";
    assert_eq!(message, expected);
    hear(&mut planner, "1", "100");
    assert_eq!(write(&mut planner).unwrap(), ["Warning BudgetExceeded"]);
    let (exceeded, message) = stands(&planner, "BudgetExceeded").unwrap();
    assert_eq!(exceeded, "True/LimitReached");
    assert_eq!(message, "Monthly: 100.00 of 100.00 USD are spent: calls are refused until 2026-02-01T00:00:00Z");
    // The day ends, and the month goes on.
    planner.now = ENDS.parse().unwrap();
    write(&mut planner);
    assert_eq!(both(&planner), ["True/LimitReached", "False/BelowThreshold"]);
    assert_eq!(planner.plan().due.map(|due| due <= "2026-02-01T00:00:00Z".parse().unwrap()), Some(true));
}
