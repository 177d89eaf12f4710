//! One bound for the memory of all that is held: bodies of requests, answers that are read or passed on, and what each call takes by
//! itself.
//!
//! A call takes memory as it learns what it needs, and waits where there is none. Two calls that hold some and want more would
//! wait for each other for ever: so the oldest of those that wait may go beyond the bound, one call at a time, until it holds
//! nothing more or all fits again. One that waits for what another call is about to get hands its turn on. At most the bound
//! is held, and what the calls need besides that had the turn.
//!
//! A third of it is for what is small, up to [`SMALL_CLAIM_BYTES`] at a time: small calls never wait for large ones. A call that has taken
//! from the larger part takes nothing more from the smaller one, so that neither part waits for the other and back. All calls of one
//! key together get three quarters of either part, and the oldest of them what it needs: no key takes all.

mod claim;
mod permit;
mod pool;

use std::sync::{Arc, atomic::AtomicU64};

use self::pool::Pool;
pub use self::{
    claim::{Claim, NoRoom},
    permit::MemoryPermit,
    pool::Owner,
};

/// So many bytes at a time are little.
pub const SMALL_CLAIM_BYTES: usize = 256 * 1024;
/// What a call takes by itself: its state, and the buffers of its connections.
pub const CALL_OVERHEAD_BYTES: usize = 32 * 1024;
/// What an answer takes that streams through: what is read ahead of a caller, and written ahead of it.
pub const STREAM: usize = 512 * 1024;

/// The memory for all calls. A handle: clones share it.
#[derive(Clone, Debug)]
pub struct MemoryLimiter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    small: Pool,
    large: Pool,
    /// The number of the next call that takes some: a lower one is older.
    next: AtomicU64,
}

impl MemoryLimiter {
    /// At most so many bytes.
    pub fn new(most: usize) -> Self {
        let small = most / 3;
        Self(Arc::new(Shared { small: Pool::new(small), large: Pool::new(most - small), next: AtomicU64::new(0) }))
    }

    fn pool(&self, is_large: bool) -> &Pool {
        if is_large { &self.0.large } else { &self.0.small }
    }
}

#[cfg(test)]
mod tests;
