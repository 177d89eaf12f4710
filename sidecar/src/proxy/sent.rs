//! What came back from a backend.

use http::HeaderMap;

use crate::answer::Answer;

/// What came back from a backend.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) answer: Answer,
    /// All of the provider's.
    pub(super) headers: HeaderMap,
}
