//! The answer for people.

use jiff::Timestamp;

use super::{
    answer::{Answer, BackendFound, Remark},
    last::LastRefusal,
    rows::{BudgetRow, LimitRow},
};
use crate::plugin::{
    duration::{since, until},
    table::{Table, shown},
};

const NONE: &str = "-";

pub(super) fn text(answer: &Answer, wide: bool, now: Timestamp) -> String {
    let Answer { key, model, may, obstacles, remarks, teams, searched, route, limits, budgets, last_refusal } = answer;
    let word = if *may { "may call" } else { "may not call" };
    let mut text = format!("{key} {word} {}\n", shown(model));
    let obstacles: String = obstacles.iter().map(|remark| line('×', remark)).collect();
    text += &obstacles;
    let mut facts = Table::new(&["", ""]);
    let teams: Vec<String> = teams.iter().map(ToString::to_string).collect();
    if !teams.is_empty() {
        facts.row(["team".to_owned(), teams.join(", below ")]);
        facts.row(["looks in".to_owned(), searched.join(", ")]);
    }
    if let Some(route) = route {
        facts.row(["route".to_owned(), format!("{}, by its name {}", route.name, route.pattern)]);
    }
    // The table without its head, which is empty.
    if !facts.is_empty() {
        text.push('\n');
        text += facts.text().split_once('\n').map_or("", |(_, rows)| rows);
    }
    let backends = route.as_ref().map(|route| &*route.backends).unwrap_or_default();
    let parts = [backend_table(backends), limit_table(limits), budget_table(budgets, wide, now)];
    for part in parts.iter().filter(|part| !part.is_empty()) {
        text.push('\n');
        text += &part.text();
    }
    if let Some(last) = last_refusal {
        text.extend(["\n", &*shown(&refusal(last, now)), "\n"]);
    }
    if !remarks.is_empty() {
        text.push('\n');
        text.extend(remarks.iter().map(|remark| line('‼', remark)));
    }
    text
}

fn refusal(last: &LastRefusal, now: Timestamp) -> String {
    match last {
        LastRefusal::Found { at, call_id, status, model, because } => {
            let model = model.as_ref().map(|model| format!(" to {model}")).unwrap_or_default();
            let age = since(*at, now);
            format!("the last call that was refused: {age} ago{model} ({status}), {because} (call {call_id})")
        }
        LastRefusal::None { logs } => format!("no call of the key was refused lately, in the logs of {logs} sidecars"),
        LastRefusal::Unknown { because } => format!("the last call that was refused is not known: {because}"),
    }
}

fn line(mark: char, Remark { of, reason, message }: &Remark) -> String {
    format!("{mark} {of}: {reason}: {}\n", shown(message))
}

fn backend_table(backends: &[BackendFound]) -> Table {
    let mut table = Table::new(&["BACKEND", "PROVIDER", "MODEL", "PRIORITY", "WEIGHT", "USD/1M TOKENS", "PRICE FROM"]);
    for BackendFound { name, provider, model, priority, weight, price_per_million_tokens, price_from } in backends {
        table.row([
            name.clone(),
            (*provider).to_owned(),
            model.clone().unwrap_or_else(|| "as called".to_owned()),
            priority.to_string(),
            weight.to_string(),
            price_per_million_tokens.clone().unwrap_or_else(|| NONE.to_owned()),
            (*price_from).to_owned(),
        ]);
    }
    table
}

pub(in crate::plugin) fn limit_table(limits: &[LimitRow]) -> Table {
    let mut table = Table::new(&["LIMIT", "AMOUNT", "OF", "HOLDS"]);
    for LimitRow { scope, limit, amount, audit, reserved_for_queries_percent } in limits {
        let holds = if *audit { "audit only" } else { "yes" };
        let part = reserved_for_queries_percent.map(|percent| format!("{holds}; {percent}% are left to queries"));
        let holds = part.unwrap_or_else(|| holds.to_owned());
        table.row([(*limit).to_owned(), amount.to_string(), scope.clone(), holds]);
    }
    table
}

pub(in crate::plugin) fn budget_table(budgets: &[BudgetRow], wide: bool, now: Timestamp) -> Table {
    let mut head = vec!["BUDGET", "SPENT", "LEFT", "PERIOD", "RESETS", "OF", "HOLDS"];
    if wide {
        head.push("TIME ZONE");
    }
    let mut table = Table::new(&head);
    for BudgetRow { scope, period, time_zone, limit, spent, left, resets_at, audit } in budgets {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_owned());
        let resets = resets_at.map_or_else(|| NONE.to_owned(), |at| until(at, now));
        let holds = if *audit { "audit only" } else { "yes" };
        let mut cells = vec![limit.clone(), or_none(spent), or_none(left), period.clone(), resets, scope.clone()];
        cells.push(holds.to_owned());
        if wide {
            cells.push(time_zone.clone());
        }
        table.row(cells);
    }
    table
}
