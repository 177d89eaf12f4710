//! What a call is sent in.

use std::sync::Arc;

use super::split::Split;
use crate::memory::MemoryPermit;
use vectoll_upstream::provider::{dialect::extension::Extensions, outgoing::OutgoingRequest};

/// What a call is sent in.
pub(super) struct Plan {
    /// The call, split.
    pub(super) call: Arc<SplitCall>,
    /// The request for the first of them. It is made before anything is sent: what the provider cannot do costs nothing.
    pub(super) first: OutgoingRequest,
    /// The memory for the parts' answers. It is there before anything is sent, as well.
    pub(super) held: MemoryPermit,
}

/// A call in parts.
pub(super) struct SplitCall {
    /// Its inputs, and which of them are in which part.
    pub(super) split: Split,
    /// What the call says beyond OpenAI's fields.
    pub(super) extensions: Extensions,
}

/// Without the texts, which are the caller's.
impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("parts", &self.call.split.parts.len()).finish_non_exhaustive()
    }
}
