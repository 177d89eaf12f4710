//! What goes with every attempt of a call.

use http::HeaderMap;
use vectoll_clock::Clock;

use crate::background::Background;

/// What goes with every attempt of a call.
#[derive(Debug)]
pub(super) struct Sending {
    /// The caller's headers.
    pub(super) from_caller: HeaderMap,
    /// Work that outlives the call.
    pub(super) tasks: Background,
    /// The largest body, in bytes.
    pub(super) most: usize,
    /// The time.
    pub(super) clock: Clock,
}
