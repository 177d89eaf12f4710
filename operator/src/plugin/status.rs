//! `status`: Teams and keys, whether they are ready, and what they have spent.

use std::io::Write;

use jiff::Timestamp;
use serde::Serialize;
use vectoll_crds::{ApiKey, ApiKeySpec, ApiKeyStatus, Budget, BudgetSpend, Spend, Team, TeamSpec, TeamStatus};

use super::{
    cli::Status,
    condition_summary::{ConditionSummary, Level, summarize},
    connect::{Place, connect_to},
    duration::until,
    objects::list,
    output::print,
    table::Table,
};
use crate::cluster::Tracked;

/// What was read.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Statuses {
    teams: Vec<Entry>,
    keys: Vec<Entry>,
}

/// A Team or a key.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) namespace: String,
    pub(super) name: String,
    /// The Team of a key, the Team above a Team.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) team: Option<String>,
    ready: bool,
    state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) spend: Vec<Spent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_rotation: Option<Timestamp>,
}

/// What was spent in a period: of a budget, or of the calendar month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spent {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) period: Option<String>,
    pub(super) amount: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remaining: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resets_at: Option<Timestamp>,
}

pub(super) async fn run(settings: &Status, out: &mut impl Write) -> anyhow::Result<()> {
    let (client, place) = connect_to(&settings.scope).await?;
    let teams = list::<Team>(&client, &place).await?;
    let keys = list::<ApiKey>(&client, &place).await?;
    let found = Statuses { teams: teams.iter().map(of_team).collect(), keys: keys.iter().map(of_key).collect() };
    print(&found, settings.output, |wide| found.table(wide, &place, Timestamp::now()), out)
}

/// A Team's.
pub(super) fn of_team(team: &Tracked<TeamSpec, TeamStatus>) -> Entry {
    let status = team.status.as_deref().cloned().unwrap_or_default();
    let TeamStatus { observed_generation, conditions, spend } = status;
    let name = &team.object.name;
    let above = team.object.spec.parent_ref.as_ref();
    let spec = &team.object.spec;
    Entry {
        team: above.map(|above| format!("{}/{}", above.namespace.as_deref().unwrap_or(name.namespace()), above.name)),
        spend: spent(spend.as_ref(), spec.budget.as_ref()),
        expires_at: None,
        next_rotation: None,
        ..entry(name.namespace(), name.name(), summarize(&conditions, observed_generation, team.generation))
    }
}

/// A key's.
pub(super) fn of_key(key: &Tracked<ApiKeySpec, ApiKeyStatus>) -> Entry {
    let status = key.status.as_deref().cloned().unwrap_or_default();
    let ApiKeyStatus { observed_generation, conditions, secret_name: _, key_hint: _, next_rotation, spend } = status;
    let name = &key.object.name;
    let spec = &key.object.spec;
    let of = spec.team_ref.namespace.as_deref().unwrap_or(name.namespace());
    Entry {
        team: Some(format!("{of}/{}", spec.team_ref.name)),
        spend: spent(spend.as_ref(), spec.budget.as_ref()),
        expires_at: spec.expires_at.map(|at| at.0),
        next_rotation: next_rotation.map(|at| at.0),
        ..entry(name.namespace(), name.name(), summarize(&conditions, observed_generation, key.generation))
    }
}

fn entry(namespace: &str, name: &str, summary: ConditionSummary) -> Entry {
    let ConditionSummary { level, word, message } = summary;
    Entry {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        team: None,
        ready: level != Level::Bad,
        state: word,
        message,
        spend: Vec::new(),
        expires_at: None,
        next_rotation: None,
    }
}

/// One for each budget.
pub(super) fn spent(spend: Option<&Spend>, budget: Option<&Budget>) -> Vec<Spent> {
    let Some(Spend { amount, limit, remaining, resets_at, budgets, updated_at: _ }) = spend else { return Vec::new() };
    if budgets.is_empty() {
        let period = if limit.is_some() { budget.and_then(period) } else { Some("month".to_owned()) };
        return vec![Spent {
            period,
            amount: amount.clone(),
            limit: limit.clone(),
            remaining: remaining.clone(),
            resets_at: resets_at.as_ref().map(|at| at.0),
        }];
    }
    let of = |BudgetSpend { period, amount, limit, remaining, resets_at }: &BudgetSpend| Spent {
        period: Some(period.clone()),
        amount: amount.clone(),
        limit: Some(limit.clone()),
        remaining: Some(remaining.clone()),
        resets_at: resets_at.as_ref().map(|at| at.0),
    };
    budgets.iter().map(of).collect()
}

/// A period as the spec has it.
fn period(budget: &Budget) -> Option<String> {
    match (budget.period, budget.every_days) {
        (Some(period), _) => serde_json::to_value(period).ok()?.as_str().map(str::to_owned),
        (None, Some(days)) => Some(format!("{days} days")),
        (None, None) => None,
    }
}

const NONE: &str = "-";

impl Statuses {
    fn table(&self, wide: bool, place: &Place, now: Timestamp) -> String {
        if self.teams.is_empty() && self.keys.is_empty() {
            return match place {
                Place::All => "no Teams and no ApiKeys in any namespace\n".to_owned(),
                Place::Namespace(namespace) => format!("no Teams and no ApiKeys in namespace {namespace}\n"),
            };
        }
        let all = *place == Place::All;
        let parts = [("TEAM", "ABOVE", &self.teams), ("KEY", "TEAM", &self.keys)].map(|(what, of, entries)| {
            let mut head = if all { vec!["NAMESPACE"] } else { Vec::new() };
            head.extend([what, of, "STATE", "PERIOD", "SPENT", "BUDGET", "LEFT", "RESETS"]);
            if what == "KEY" {
                head.push("EXPIRES");
            }
            if wide {
                head.extend(if what == "KEY" { vec!["ROTATES", "MESSAGE"] } else { vec!["MESSAGE"] });
            }
            let mut table = Table::new(&head);
            for entry in entries {
                entry.rows(&mut table, (all, wide, what == "KEY"), now);
            }
            table
        });
        let texts: Vec<String> = parts.iter().filter(|table| !table.is_empty()).map(Table::text).collect();
        texts.join("\n")
    }
}

impl Entry {
    fn rows(&self, table: &mut Table, (all, wide, is_key): (bool, bool, bool), now: Timestamp) {
        let time = |at: Option<Timestamp>| at.map_or_else(|| NONE.to_owned(), |at| until(at, now));
        let none = Spent { period: None, amount: NONE.to_owned(), limit: None, remaining: None, resets_at: None };
        let spend = if self.spend.is_empty() { std::slice::from_ref(&none) } else { &*self.spend };
        for (at, Spent { period, amount, limit, remaining, resets_at }) in spend.iter().enumerate() {
            // A second budget of the same: its name stands above.
            let first = |text: &str| if at == 0 { text.to_owned() } else { String::new() };
            let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_owned());
            let mut cells = if all { vec![first(&self.namespace)] } else { Vec::new() };
            cells.extend([first(&self.name), first(self.team.as_deref().unwrap_or(NONE)), first(&self.state)]);
            cells.extend([or_none(period), amount.clone(), or_none(limit), or_none(remaining), time(*resets_at)]);
            if is_key {
                cells.push(first(&time(self.expires_at)));
            }
            if wide && is_key {
                cells.push(first(&time(self.next_rotation)));
            }
            if wide {
                cells.push(first(&self.message));
            }
            table.row(cells);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::Arc;

    use serde_json::json;
    use vectoll_config::{ObjectName, Uid};

    use super::*;
    use crate::observed_state::Object;

    fn tracked<S, T>(name: &str, spec: serde_json::Value, status: serde_json::Value) -> Tracked<S, T>
    where
        S: serde::de::DeserializeOwned,
        T: serde::de::DeserializeOwned,
    {
        let object = Object::new(ObjectName::new("web", name), Uid::new(name), serde_json::from_value(spec).unwrap());
        let status = serde_json::from_value(status).ok().map(Arc::new);
        Tracked {
            object: Arc::new(object),
            generation: Some(1),
            status,
            labels: Arc::default(),
            adopts: false,
            unreadable: None,
        }
    }

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> serde_json::Value {
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-11-01T00:00:00Z"})
    }

    fn statuses() -> Statuses {
        let at = "2026-11-24T10:00:00Z";
        let ready = condition("Ready", "True", "Ready", "");
        let several = json!([
            {"period": "Daily", "amount": "1.00", "limit": "2.00", "remaining": "1.00", "resetsAt": "2026-11-25T00:00:00Z"},
            {"period": "Yearly", "amount": "500.00", "limit": "1000.00", "remaining": "500.00", "resetsAt": "2027-01-01T00:00:00Z"},
        ]);
        let team = tracked(
            "search",
            json!({"parentRef": {"name": "org", "namespace": "top"}}),
            json!({"observedGeneration": 1, "conditions": [ready], "spend": {"amount": "1.00", "limit": "2.00", "remaining": "1.00",
                   "budgets": several, "updatedAt": at}}),
        );
        let alice = tracked(
            "alice",
            json!({"teamRef": {"name": "search"}, "budget": {"limit": "25", "period": "Monthly"}, "expiresAt": "2026-12-01T00:00:00Z"}),
            json!({"observedGeneration": 1, "conditions": [ready, condition("BudgetWarning", "True", "ThresholdReached", "80% are spent")],
                   "nextRotation": "2026-11-26T10:00:00Z",
                   "spend": {"amount": "20.00", "limit": "25.00", "remaining": "5.00", "resetsAt": "2026-12-01T00:00:00Z", "updatedAt": at}}),
        );
        let bob = tracked(
            "bob",
            json!({"teamRef": {"name": "gone"}}),
            json!({"observedGeneration": 1, "conditions": [condition("Ready", "False", "TeamNotFound", "there is no Team web/gone")]}),
        );
        let carol = tracked("carol", json!({"teamRef": {"name": "search"}}), json!(null));
        Statuses { teams: vec![of_team(&team)], keys: [alice, bob, carol].iter().map(of_key).collect() }
    }

    #[test]
    fn state_and_spend_of_each_are_on_its_line() {
        let now = "2026-11-24T10:00:00Z".parse().unwrap();
        let place = Place::Namespace("web".to_owned());
        insta::assert_snapshot!(statuses().table(false, &place, now));
        insta::assert_snapshot!(statuses().table(true, &Place::All, now));
        assert_eq!(Statuses::default().table(false, &place, now), "no Teams and no ApiKeys in namespace web\n");
    }

    #[test]
    fn programs_read_the_same() {
        insta::assert_yaml_snapshot!(statuses());
    }
}
