//! What a call is sent in.

use super::split::Split;
use crate::memory::MemoryPermit;
use vectoll_upstream::provider::dialect::{Wire, extension::Extensions};

/// What a call is sent in.
pub(super) struct Plan {
    /// Its parts.
    pub(super) split: Split,
    /// What the call says beyond OpenAI's fields.
    pub(super) extensions: Extensions,
    /// The request for the first. It is made before anything is sent: what the provider cannot do costs nothing.
    pub(super) first: Wire,
    /// The memory for the parts' answers. It is there before anything is sent, as well.
    pub(super) held: MemoryPermit,
}

/// Without the texts, which are the caller's.
impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("parts", &self.split.parts.len()).finish_non_exhaustive()
    }
}
