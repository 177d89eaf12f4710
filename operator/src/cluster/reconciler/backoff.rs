//! How long a target is left alone.

use std::time::Instant;

/// Not before a time, after so many failures.
pub(super) struct Backoff {
    pub(super) until: Instant,
    pub(super) failures: u32,
    /// What the last one was.
    pub(super) error: String,
}
