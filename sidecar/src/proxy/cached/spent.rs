//! What was spent on a call, over all that was sent for it.

use http::HeaderMap;

use crate::{accounting::Settled, memory::MemoryPermit};

/// What was spent on a call, over all that was sent for it.
#[derive(Default)]
pub(super) struct Spent {
    pub(super) tokens: u64,
    pub(super) headers: HeaderMap,
    pub(super) settled: Option<Settled>,
    /// What the vectors take until the answer is made of them.
    pub(super) memory: Vec<MemoryPermit>,
}
