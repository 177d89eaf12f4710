//! Memory and processors for what is done with a call here.

use std::time::Duration;

use crate::{
    call::Call,
    compute::{Compute, NotDone},
    memory::{Claim, MemoryPermit, NoRoom},
    refusal::Refusal,
};

/// The longest that a call waits for memory at a time, and that its answer may take if its route has no bound.
pub(super) const MAX_MEMORY_WAIT: Duration = Duration::from_mins(1);
/// A body from which on what is done with all of it is done on a thread of its own: each of its texts is copied, hashed and looked up.
const LONG: u64 = 16 * 1024;

/// Waits for memory, though not for ever.
pub(super) async fn room(claim: &Claim, held: &mut MemoryPermit, bytes: usize) -> Result<(), Refusal> {
    let end = tokio::time::Instant::now() + MAX_MEMORY_WAIT;
    claim.hold_until(held, bytes, end).await.map_err(|NoRoom| Refusal::no_room())
}

/// Does work on all of a call here, or on a thread of its own where it is long.
pub(super) async fn run<T: Send + 'static>(
    compute: &Compute,
    call: &Call,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    compute.run_above(LONG, call.request.body.len() as u64, work).await.map_err(|error| failed(&error))
}

/// What was to be done was not.
pub(super) fn failed(error: &NotDone) -> Refusal {
    Refusal::unavailable("computing_failed", format!("The call could not be worked on: {error}"))
}
