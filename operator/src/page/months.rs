//! What was spent month by month, as a program reads it. Pure.

use serde_json::{Value, json};

use crate::ledger::{HistoryError, Month};

/// The months, the oldest first.
pub(super) fn months(months: &[Month]) -> Value {
    let each = months.iter().map(|Month { month, totals }| {
        json!({
            "month": month,
            "requests": totals.map(|totals| totals.requests.to_string()),
            "tokens": totals.map(|totals| totals.tokens.to_string()),
            "spent": totals.map(|totals| totals.spent.to_string()),
        })
    });
    let note = "Calendar months in UTC. A month without figures had no calls, or is older than the store keeps months (the operator's \
                --store-retention).";
    json!({"months": each.collect::<Vec<_>>(), "note": note})
}

/// Why there are none.
pub(super) fn unavailable(error: &HistoryError) -> Value {
    json!({"months": null, "note": error.to_string()})
}
