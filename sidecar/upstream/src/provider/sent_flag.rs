//! Whether a request has left.
//!
//! Who waits for an answer in vain does not learn from the clock what the time was spent on: a credential that is still being
//! fetched, and a connection that is not there yet, cost nothing.

use std::sync::atomic::{AtomicBool, Ordering};

/// What became of one request, as seen by the one who sent it.
#[derive(Debug, Default)]
pub struct SentFlag(AtomicBool);

impl SentFlag {
    /// It is handed over to a connection: from here on its provider may have it.
    pub(super) fn handed_over(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// It came back whole from a connection that had ended.
    pub(super) fn came_back(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether its provider may have it.
    pub fn has_left(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
