//! What one call may take its memory by: it waits where there is none.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tokio::time::Instant;

use super::{
    MemoryLimiter, SMALL_CLAIM_BYTES,
    permit::{MemoryPermit, Of},
    pool::{Owner, Pool},
};

/// More is taken in steps of so many, lest each piece of a body ask for its own.
pub(super) const STEP: usize = 256 * 1024;
/// The same for what is little.
const SMALL_STEP: usize = 16 * 1024;

/// There was no memory in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// What one call may take its memory by.
#[derive(Debug)]
pub struct Claim {
    memory: MemoryLimiter,
    owner: Owner,
    number: OnceLock<u64>,
    /// Whether it has taken more than little: all that follows is taken from there.
    is_large: Arc<AtomicBool>,
}

impl Claim {
    /// Its place among all calls: of two that wait, the one with the lower number is the older one.
    pub fn number(&self) -> u64 {
        *self.number.get_or_init(|| self.memory.0.next.fetch_add(1, Ordering::Relaxed))
    }

    /// For work that is a part of the same call: it must not wait for what the call itself holds.
    #[must_use]
    pub fn of_part(&self) -> Self {
        Self {
            memory: self.memory.clone(),
            owner: self.owner.clone(),
            number: OnceLock::from(self.number()),
            is_large: self.is_large.clone(),
        }
    }

    /// The call is about to wait for what another one gets: it has no turn any more to go beyond the bound, lest it be the one
    /// that the other waits for.
    pub fn follow(&self) {
        if let Some(number) = self.number.get() {
            for is_large in [false, true] {
                let pool = self.memory.pool(is_large);
                pool.state().follow(*number);
                pool.changed.notify_waiters();
            }
        }
    }

    /// Makes `held` so many bytes at least, and waits until there is room for them. Dropped meanwhile, nothing has changed.
    pub async fn hold(&self, held: &mut MemoryPermit, bytes: usize) {
        if bytes <= held.bytes {
            return;
        }
        let is_large = bytes > SMALL_CLAIM_BYTES || self.is_large.load(Ordering::Relaxed);
        if is_large {
            self.is_large.store(true, Ordering::Relaxed);
        }
        let moves = held.of.as_ref().is_some_and(|of| of.is_large != is_large);
        let more = if moves { bytes } else { bytes - held.bytes };
        let more = more.next_multiple_of(if is_large { STEP } else { SMALL_STEP });
        let (call, pool) = (self.number(), self.memory.pool(is_large));
        let mut queued: Option<QueuedClaim<'_>> = None;
        loop {
            let mut changed = std::pin::pin!(pool.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if pool.state().take(call, &self.owner, more, pool.most) {
                break;
            }
            queued.get_or_insert_with(|| QueuedClaim { pool, call, owner: &self.owner });
            changed.await;
        }
        drop(queued);
        if moves {
            held.shrink(0);
            held.of = None;
        }
        held.bytes += more;
        let of = || Of { memory: self.memory.clone(), call, owner: self.owner.clone(), is_large };
        held.of.get_or_insert_with(of);
    }

    /// The same until a moment.
    pub async fn hold_until(&self, held: &mut MemoryPermit, bytes: usize, end: Instant) -> Result<(), NoRoom> {
        tokio::time::timeout_at(end, self.hold(held, bytes)).await.map_err(|_| NoRoom)
    }
}

/// A claim in the pool's queue: dropped, it leaves the queue.
struct QueuedClaim<'a> {
    pool: &'a Pool,
    call: u64,
    owner: &'a Owner,
}

impl Drop for QueuedClaim<'_> {
    fn drop(&mut self) {
        self.pool.state().leave(self.call, self.owner);
        // Those behind it may be next.
        self.pool.changed.notify_waiters();
    }
}

impl MemoryLimiter {
    /// Of a call that holds nothing yet.
    pub fn claim(&self, owner: Owner) -> Claim {
        Claim { memory: self.clone(), owner, number: OnceLock::new(), is_large: Arc::default() }
    }
}
