//! Long lists in messages.

use std::fmt::Display;

/// Entries that a message tells; of more it says how many.
const MAX_TOLD: usize = 10;

/// The first entries, and how many more there are.
pub(super) fn shortened<T: Display>(all: &[T]) -> String {
    let told: Vec<String> = all.iter().take(MAX_TOLD).map(ToString::to_string).collect();
    let told = told.join(", ");
    match all.len().saturating_sub(MAX_TOLD) {
        0 => told,
        more => format!("{told}, … ({more} more)"),
    }
}
