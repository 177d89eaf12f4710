//! What a refusal's scope and reason mean, and which limits of a key or Team they are about. Pure.

use crate::plugin::{
    access_log::CallLine,
    explain::{BudgetRow, LimitRow},
};

/// The fields of a spec that a reason is about; none: it is about no limit.
fn fields(reason: &str) -> &'static [&'static str] {
    match reason {
        "requests" => &["requestsPerMinute"],
        "requests_per_hour" => &["requestsPerHour"],
        "requests_per_day" => &["requestsPerDay"],
        "tokens" => &["tokensPerMinute"],
        "tokens_per_hour" => &["tokensPerHour"],
        "tokens_per_day" => &["tokensPerDay"],
        "tokens_never" => &["tokensPerMinute", "tokensPerHour", "tokensPerDay"],
        "parallel" => &["parallelRequests"],
        "tokens_per_call" => &["maxTokensPerCall"],
        _ => &[],
    }
}

/// Whether a reason is about a limit or a budget.
pub(super) fn is_of_limits(reason: &str) -> bool {
    reason == "budget" || !fields(reason).is_empty()
}

/// Whether somebody's limit is of the scope that a refusal names.
fn is_of(scope: &str, whose: &str) -> bool {
    match scope {
        "key" => whose.starts_with("key "),
        "team" => whose.starts_with("team "),
        "user" => whose.starts_with("each user of "),
        "namespace" => whose.starts_with("namespace "),
        "tag" => whose.starts_with("calls of team "),
        "model" => whose.contains(" of key ") || whose.contains(" of team ") && !whose.starts_with("calls "),
        _ => false,
    }
}

pub(super) fn is_limit(scope: &str, reason: &str, row: &LimitRow) -> bool {
    fields(reason).contains(&row.limit) && is_of(scope, &row.scope) && !row.audit
}

pub(super) fn is_budget(scope: &str, reason: &str, row: &BudgetRow) -> bool {
    reason == "budget" && is_of(scope, &row.scope) && !row.audit
}

/// Whose rule a line says that it was, and which; none: it says nothing of it.
pub(in crate::plugin) fn because(line: &CallLine) -> Option<String> {
    let (scope, reason) = line.scope.as_deref().zip(line.reason.as_deref())?;
    let whose = match scope {
        "key" => line.key.as_ref().map(|key| format!("key {key}")),
        "team" => line.team.as_ref().map(|team| format!("team {team}, or one above it")),
        "user" => line.user.as_ref().map(|user| format!("user {user}")),
        "model" => line.model.as_ref().map(|model| format!("model {model}")),
        _ => None,
    };
    let whose = whose.unwrap_or_else(|| scope.to_owned());
    let words = in_words(scope, reason).map(|words| format!(": {words}")).unwrap_or_default();
    Some(format!("{whose}: {reason}{words}"))
}

/// A reason in words; none: the word itself says it.
fn in_words(scope: &str, reason: &str) -> Option<&'static str> {
    Some(match (scope, reason) {
        (_, "requests") => "all requests of any 60 seconds were used",
        (_, "requests_per_hour") => "all requests of any hour were used",
        (_, "requests_per_day") => "all requests of any 24 hours were used",
        (_, "tokens") => "all tokens of any 60 seconds were used",
        (_, "tokens_per_hour") => "all tokens of any hour were used",
        (_, "tokens_per_day") => "all tokens of any 24 hours were used",
        (_, "tokens_never") => "the call has more tokens than the whole limit: it can never fit",
        (_, "tokens_per_call") => "the call has more tokens than one call may have",
        (_, "parallel") => "as many calls were under way as there may be",
        (_, "queue") => "as many calls were waiting for room as there may be",
        (_, "budget") => "the money of the period was spent, or held by calls under way",
        (_, "model_not_allowed") => "the model is not among those of its spec.models",
        ("key", "unknown") => "no key has that value: it is mistyped, of another namespace, or revoked",
        ("key", "missing") => "the call had no key",
        ("key", "expired") => "the key is past its spec.expiresAt",
        ("key", "suspended") => "the key, or a Team of it, is suspended",
        ("model", "unpriced") => "nobody knows the model's price, and the caller has a budget",
        ("model", "input_too_long") => "an input has more tokens than the model takes",
        ("store", "store_unavailable") => "the store of limits could not be reached",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_about_the_limits_of_its_scope_and_no_other() {
        let row = |scope: &str, limit| LimitRow {
            scope: scope.to_owned(),
            limit,
            amount: 5,
            audit: false,
            reserved_for_queries_percent: None,
        };
        let all = [
            "key web/a",
            "team web/t",
            "each user of team web/t",
            "namespace web in team x/t",
            "calls of team web/t tagged x",
        ];
        for (at, scope) in ["key", "team", "user", "namespace", "tag"].into_iter().enumerate() {
            for (other, whose) in all.iter().enumerate() {
                assert_eq!(is_limit(scope, "tokens", &row(whose, "tokensPerMinute")), at == other, "{scope} {whose}");
            }
        }
        assert!(is_limit("model", "requests", &row("text-* of key web/a", "requestsPerMinute")));
        assert!(!is_limit("key", "requests", &row("key web/a", "tokensPerMinute")));
        let tried = LimitRow { audit: true, ..row("key web/a", "tokensPerMinute") };
        assert!(!is_limit("key", "tokens", &tried), "a limit on trial refuses nothing");
        assert!(is_of_limits("budget") && !is_of_limits("unknown"));
    }
}
