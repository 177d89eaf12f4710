//! How large a journal may be, and what its segments are kept for.

use std::sync::Arc;

use tokio::sync::Notify;

use super::retention::Retention;

/// The largest size of a segment, in bytes, but for what is carried over into it.
const SEGMENT: u64 = 1024 * 1024;
/// So many open intents are carried over at a time, into the next segment: about a tenth of a millisecond's work.
const CARRIED_AT_ONCE: usize = 64;
/// A journal has room for at least so many segments.
const SEGMENTS: u64 = 16;

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most bytes of all segments. Ends of calls under way may go beyond.
    pub(super) most_bytes: u64,
    /// Where a segment ends.
    pub(super) segment_bytes: u64,
    /// How many open intents are carried over at a time.
    pub(super) carried_at_once: usize,
    /// What segments are kept for, to begin with.
    pub(super) retention: Retention,
    /// Told when a segment has come to its end.
    pub(super) rotated: Arc<Notify>,
}

impl Options {
    /// A journal of at most so many bytes.
    pub fn new(most_bytes: u64, retention: Retention) -> Self {
        let segment_bytes = (most_bytes / SEGMENTS).clamp(1, SEGMENT);
        Self { most_bytes, segment_bytes, carried_at_once: CARRIED_AT_ONCE, retention, rotated: Arc::default() }
    }
}
