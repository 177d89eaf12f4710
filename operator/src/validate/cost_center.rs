//! `spec.costCenter` of a key or a Team: the same rules for both, as the API server has them.

use super::FieldErrors;

/// The longest, in characters.
const MAX_CHARS: usize = 63;

pub(super) fn check_cost_center(cost_center: Option<&str>, errors: &mut FieldErrors) {
    let Some(text) = cost_center else { return };
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "-_./: ".contains(c);
    let fits = text.len() <= MAX_CHARS && is_end(text.chars().next()) && is_end(text.chars().last());
    if !fits || !text.chars().all(is_inner) {
        errors.add(
            "spec.costCenter",
            "must have 1 to 63 characters: letters, digits, and - _ . / : and spaces between them",
        );
    }
}
