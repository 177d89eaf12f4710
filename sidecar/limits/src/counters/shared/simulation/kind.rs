//! What a schedule may have in it.

use vectoll_config::v1::OnStoreFailure;

/// What a schedule may have in it.
#[allow(clippy::struct_excessive_bools, reason = "facts of their own, not states of one thing")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) on_failure: OnStoreFailure,
    /// Sidecars crash, and come back with their journal or never.
    pub(super) crashes: bool,
    /// The store is started anew; `true`: without the last exchanges that it had taken.
    pub(super) store: Option<bool>,
    pub(super) stalls: bool,
    /// The store's clock steps back.
    pub(super) clock: bool,
    /// Limits and budgets are raised, lowered, taken away and set again.
    pub(super) edits: bool,
    /// Sidecars stop in good order and come back, and count alone for a while.
    pub(super) leaves: bool,
}
