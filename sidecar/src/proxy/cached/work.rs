//! Memory and processors for what is done with a call here.

use std::time::Duration;

use crate::{
    background::Background,
    call::Call,
    memory::{Claim, MemoryPermit, NoRoom},
    refusal::Refusal,
};

/// The longest that a call waits for memory at a time, and that its answer may take if its route has no bound.
pub(super) const MAX_MEMORY_WAIT: Duration = Duration::from_mins(1);
/// A body from which on what is done with all of it is done on a thread of its own.
const LONG: usize = 16 * 1024;

/// Whether what is done with all of a call takes long.
pub(super) fn is_long(call: &Call) -> bool {
    call.request.body.len() > LONG
}

/// Waits for memory, though not for ever.
pub(super) async fn room(claim: &Claim, held: &mut MemoryPermit, bytes: usize) -> Result<(), Refusal> {
    let end = tokio::time::Instant::now() + MAX_MEMORY_WAIT;
    claim.hold_until(held, bytes, end).await.map_err(|NoRoom| Refusal::no_room())
}

/// Does work here, or on a thread of its own where it is `much`: others' calls are not to wait for it.
pub(super) async fn run<T: Send + 'static>(
    tasks: &Background,
    much: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    if !much {
        return Ok(work());
    }
    let failed = |error: tokio::task::JoinError| {
        Refusal::unavailable("computing_failed", format!("The call could not be worked on: {error}"))
    };
    tasks.compute(work).await.map_err(failed)
}
