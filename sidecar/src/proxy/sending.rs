//! What goes with every attempt of a call.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::HeaderMap;
use vectoll_clock::Clock;

use super::coalesce::Coalescer;
use crate::{background::Background, compute::Compute, refusal::Refusal};

/// What goes with every attempt of a call.
#[derive(Debug)]
pub(super) struct Sending {
    /// The caller's headers.
    pub(super) from_caller: HeaderMap,
    /// Work that outlives the call.
    pub(super) tasks: Background,
    /// Threads for what keeps a processor busy.
    pub(super) compute: Compute,
    /// The largest body, in bytes.
    pub(super) most: usize,
    /// Where it may wait to travel with others; none: it travels alone.
    pub(super) coalescer: Option<Arc<Coalescer>>,
    /// The time.
    pub(super) clock: Clock,
    /// Set when the caller has gone.
    pub(super) left: Left,
}

/// Whether the caller has gone: what is not begun then, nobody needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Left(pub(super) Arc<AtomicBool>);

impl Left {
    /// That it has not.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.0.load(Ordering::Relaxed) {
            // Nobody gets it.
            return Err(Refusal::unavailable("caller_left", "The caller has left".to_owned()));
        }
        Ok(())
    }
}
