//! The answer for people.

use super::answer::{Answer, LocatedLine, OutcomeKind};
use crate::plugin::{
    explain::{budget_table, limit_table},
    table::{Table, shown},
};

pub(super) fn text(answer: &Answer) -> String {
    let Answer { call_id, outcome, sidecar, gateway, also, limits, budgets, searched: _, notes } = answer;
    let mut text = match outcome {
        None => format!("call {call_id} was not found\n"),
        Some(outcome) => {
            let word = match outcome.word {
                OutcomeKind::Served => "was served",
                OutcomeKind::Refused => "was refused",
                OutcomeKind::Failed => "failed",
                OutcomeKind::CallerLeft => "was left by its caller before the answer",
            };
            format!("call {call_id} {word} ({})\n", outcome.status)
        }
    };
    if let Some(because) = outcome.as_ref().and_then(|outcome| outcome.because.as_ref()) {
        text.extend(["× ", &*shown(because), "\n"]);
    }
    if let Some(decider) = gateway.as_ref().or(sidecar.as_ref()) {
        text.push('\n');
        text += &facts(decider, sidecar.as_ref(), gateway.as_ref());
    }
    for table in [limit_table(limits), budget_table(budgets, false, jiff::Timestamp::now())] {
        if !table.is_empty() {
            text.extend(["\ntoday:\n", &*table.text()]);
        }
    }
    if !also.is_empty() || !notes.is_empty() {
        text.push('\n');
    }
    text.extend(also.iter().map(|line| format!("{}\n", shown(line))));
    text.extend(notes.iter().map(|note| format!("‼ {}\n", shown(note))));
    text
}

/// What is known, a line each. What is not has none.
fn facts(decider: &LocatedLine, sidecar: Option<&LocatedLine>, gateway: Option<&LocatedLine>) -> String {
    let mut facts = Table::new(&["", ""]);
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            facts.row([name.to_owned(), value]);
        }
    };
    let line = &decider.line;
    fact("time", Some(line.time.to_string()));
    fact("key", line.key.clone());
    fact("team", line.team.clone());
    fact("user", line.user.clone());
    fact("client", line.client.clone());
    fact("model", line.model.clone());
    fact("route", line.route.clone());
    fact("backend", line.backend.clone().filter(|_| !line.is_passed_on()));
    fact("passed on", line.is_passed_on().then(|| "to the gateway".to_owned()));
    let attempts = line.attempts().map(|attempts| match (line.retries, line.hedges) {
        (0, 0) => attempts.to_string(),
        (retries, hedges) => format!("{attempts}: {retries} after a failure, {hedges} beside one that took long"),
    });
    fact("attempts", attempts);
    let usage = line.usage.as_ref().map(|usage| format!(", {usage}")).unwrap_or_default();
    fact("tokens", line.tokens.map(|tokens| format!("{tokens}{usage}")));
    fact("cost", line.cost_usd.as_ref().map(|cost| format!("{cost} USD")));
    fact("cut", line.truncated.map(|inputs| format!("{inputs} inputs that were too long")));
    fact("tags", (!line.tags.is_empty()).then(|| line.tags.join(", ")));
    fact(
        "on trial",
        (!line.would_reject.is_empty()).then(|| format!("{} would have refused it", line.would_reject.join(", "))),
    );
    let took = |located: &LocatedLine| {
        let own = located.line.overhead_ms.map(|own| format!(", {own} ms of it here")).unwrap_or_default();
        format!("{} ms{own} ({})", located.line.duration_ms, located.log)
    };
    fact("took", sidecar.map(took));
    fact(if sidecar.is_some() { "" } else { "took" }, gateway.map(took));
    // The table without its head, which is empty.
    facts.text().split_once('\n').map_or_else(String::new, |(_, rows)| rows.to_owned())
}
