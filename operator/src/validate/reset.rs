//! Budgets that count anew from a moment on.

use jiff::Timestamp;
use vectoll_config::v1::Budget;

use super::FieldErrors;
use crate::observed_state::{Object, RESET_BUDGETS};

/// From when on the budgets of a resource count anew. What was spent before stays in the ledger.
pub(super) fn reset<S>(object: &Object<S>, errors: &mut FieldErrors) -> Option<Timestamp> {
    let text = object.reset.as_deref()?;
    let read = text.parse::<Timestamp>().ok().filter(|at| at.as_second() > 0);
    let read = read.ok_or("is not a time since 1970, as 2026-11-30T12:00:00Z is");
    errors.check(path(), read)
}

/// Where the reset is written.
pub(super) fn path() -> String {
    format!("metadata.annotations[{RESET_BUDGETS}]")
}

/// Has budgets count from a moment on.
pub(super) fn count_from<'a>(reset: Option<Timestamp>, budgets: impl IntoIterator<Item = &'a mut Budget>) {
    for budget in budgets {
        budget.reset_at = reset;
    }
}
