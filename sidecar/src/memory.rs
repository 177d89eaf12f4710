//! One bound for the memory of all that is held whole: large bodies of requests, and answers that are read before they are
//! passed on.
//!
//! A call takes memory as it learns what it needs, and waits where there is none. Two calls that hold some and want more would
//! wait for each other for ever: so the oldest of those that wait may go beyond the bound, one call at a time, until it holds
//! nothing more or all fits again. One that waits for what another call is about to get hands its turn on. At most the bound
//! is held, and what the calls need besides that had the turn.
//!
//! What takes [`LITTLE`] is not counted, and pays nothing for what is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};

/// So many bytes are held without being counted.
pub const LITTLE: usize = 256 * 1024;
/// More is taken in steps of so many, lest each piece of a body ask for its own.
const STEP: usize = 256 * 1024;

/// The memory for all calls. A handle: clones share it.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    /// The number of the next call that takes some: a lower one is older.
    next: AtomicU64,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// What each call holds of it.
    of_calls: BTreeMap<u64, usize>,
    /// Calls that wait.
    waiting: BTreeSet<u64>,
    /// The one whose turn it is to go beyond the bound. It holds something.
    beyond: Option<u64>,
}

impl Memory {
    /// At most so many bytes.
    pub fn new(most: usize) -> Self {
        let (next, state, changed) = (AtomicU64::new(0), Mutex::default(), Notify::new());
        Self(Arc::new(Shared { most, next, state, changed }))
    }

    /// Of a call that holds nothing yet.
    pub fn claim(&self) -> Claim {
        Claim { memory: self.clone(), number: OnceLock::new() }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic is done under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, call: u64, bytes: usize) {
        if bytes > 0 {
            self.state().give_back(call, bytes, self.most);
            self.changed.notify_waiters();
        }
    }
}

impl State {
    /// Takes so many bytes for a call, if it may have them now; else it waits for them.
    fn take(&mut self, call: u64, bytes: usize, most: usize) -> bool {
        let is_next = self.waiting.first().is_none_or(|first| call <= *first);
        let fits = self.used.saturating_add(bytes) <= most;
        let may = self.beyond == Some(call) || (is_next && (fits || self.beyond.is_none()));
        if may {
            self.used += bytes;
            *self.of_calls.entry(call).or_default() += bytes;
            if self.used > most {
                self.beyond = Some(call);
            }
        } else {
            self.waiting.insert(call);
        }
        may
    }

    fn give_back(&mut self, call: u64, bytes: usize, most: usize) {
        self.used = self.used.saturating_sub(bytes);
        let left = self.of_calls.get(&call).copied().unwrap_or_default().saturating_sub(bytes);
        if left == 0 {
            self.of_calls.remove(&call);
        } else {
            self.of_calls.insert(call, left);
        }
        // What it held was beyond the bound: the next one's turn.
        if self.used <= most || (left == 0 && self.beyond == Some(call)) {
            self.beyond = None;
        }
    }

    /// It waits for another call: whose turn it was, others may need it, or it would wait in vain.
    fn follow(&mut self, call: u64) {
        if self.beyond == Some(call) {
            self.beyond = None;
        }
    }
}

/// There was no memory in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// What one call may take its memory by.
#[derive(Debug)]
pub struct Claim {
    memory: Memory,
    /// Most calls take nothing, and have none.
    number: OnceLock<u64>,
}

impl Claim {
    fn number(&self) -> u64 {
        *self.number.get_or_init(|| self.memory.0.next.fetch_add(1, Ordering::Relaxed))
    }

    /// For work that is a part of the same call: it must not wait for what the call itself holds.
    #[must_use]
    pub fn of_part(&self) -> Self {
        Self { memory: self.memory.clone(), number: OnceLock::from(self.number()) }
    }

    /// The call is about to wait for what another one gets: it has no turn any more to go beyond the bound, lest it be the one
    /// that the other waits for.
    pub fn follow(&self) {
        if let Some(number) = self.number.get() {
            self.memory.0.state().follow(*number);
            self.memory.0.changed.notify_waiters();
        }
    }

    /// Makes `held` so many bytes at least, and waits until there is room for them. Dropped meanwhile, nothing has changed.
    pub async fn hold(&self, held: &mut Held, bytes: usize) {
        let more = bytes.saturating_sub(held.bytes);
        if bytes <= LITTLE || more == 0 {
            return;
        }
        let more = more.next_multiple_of(STEP);
        let (call, shared) = (self.number(), &self.memory.0);
        let mut waiting: Option<Waiting<'_>> = None;
        loop {
            let mut changed = std::pin::pin!(shared.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if shared.state().take(call, more, shared.most) {
                break;
            }
            waiting.get_or_insert_with(|| Waiting { shared, call });
            changed.await;
        }
        drop(waiting);
        held.bytes += more;
        held.of.get_or_insert_with(|| (self.memory.clone(), call));
    }

    /// The same until a moment.
    pub async fn hold_until(&self, held: &mut Held, bytes: usize, end: Instant) -> Result<(), NoRoom> {
        tokio::time::timeout_at(end, self.hold(held, bytes)).await.map_err(|_| NoRoom)
    }
}

/// A call that waits, until it does no longer.
struct Waiting<'a> {
    shared: &'a Shared,
    call: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.state().waiting.remove(&self.call);
        // Those behind it may be next.
        self.shared.changed.notify_waiters();
    }
}

/// Bytes that are held; dropped, they are free.
#[derive(Debug, Default)]
pub struct Held {
    /// Of which memory, and which call holds it.
    of: Option<(Memory, u64)>,
    bytes: usize,
}

impl Held {
    /// Gives back what is more than so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes);
        self.bytes -= excess;
        if let Some((memory, call)) = &self.of {
            memory.0.give_back(*call, excess);
        }
    }

    /// A part of it, of so many bytes or as many as there are.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { of: self.of.clone(), bytes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn used(memory: &Memory) -> usize {
        memory.0.state().used
    }

    /// Whether a call gets so much at once.
    async fn gets(claim: &Claim, held: &mut Held, bytes: usize) -> bool {
        tokio::time::timeout(Duration::from_millis(20), claim.hold(held, bytes)).await.is_ok()
    }

    #[tokio::test]
    async fn little_is_not_counted_and_more_waits_for_room() {
        let memory = Memory::new(4 * MIB);
        let (one, other) = (memory.claim(), memory.claim());
        let (mut a, mut b) = (Held::default(), Held::default());
        assert!(gets(&one, &mut a, LITTLE).await);
        assert_eq!((used(&memory), one.number.get()), (0, None));
        assert!(gets(&one, &mut a, 4 * MIB).await);
        // One call goes beyond the bound: else two that hold some could wait for each other.
        assert!(gets(&other, &mut b, MIB).await);
        let third = memory.claim();
        let mut c = Held::default();
        assert!(!gets(&third, &mut c, MIB).await);
        assert_eq!(used(&memory), 5 * MIB, "who gave up waiting holds nothing");
        let waiting = tokio::spawn(async move {
            third.hold(&mut c, MIB).await;
            c
        });
        tokio::task::yield_now().await;
        a.shrink(2 * MIB);
        let c = waiting.await.unwrap();
        assert_eq!(used(&memory), 4 * MIB);
        drop((a, b, c));
        assert_eq!(used(&memory), 0);
        assert!(memory.0.state().waiting.is_empty());
    }

    #[tokio::test]
    async fn a_part_of_a_call_goes_on_where_the_call_does() {
        let memory = Memory::new(MIB);
        let (call, mut whole, mut of_part) = (memory.claim(), Held::default(), Held::default());
        assert!(gets(&call, &mut whole, 2 * MIB).await, "beyond the bound");
        assert!(!gets(&memory.claim(), &mut Held::default(), MIB).await);
        assert!(gets(&call.of_part(), &mut of_part, 2 * MIB).await);
        let half = whole.split(MIB);
        drop(whole);
        assert_eq!(used(&memory), 3 * MIB);
        drop((half, of_part));
        assert_eq!(used(&memory), 0);
    }

    #[tokio::test]
    async fn who_waits_for_another_call_lets_it_go_on() {
        let memory = Memory::new(2 * MIB);
        // In both orders: a call has its number from when it first takes some.
        for follower_is_older in [false, true] {
            let (one, two, other) = (memory.claim(), memory.claim(), memory.claim());
            let (leads, follows) = if follower_is_older { (&two, &one) } else { (&one, &two) };
            let numbers = (one.number(), two.number(), other.number());
            assert!(numbers.0 < numbers.1 && numbers.1 < numbers.2);
            let (mut a, mut b) = (Held::default(), Held::default());
            assert!(gets(leads, &mut a, MIB).await);
            assert!(gets(follows, &mut b, 3 * MIB).await, "beyond the bound, by itself");
            assert!(!gets(leads, &mut a, 2 * MIB).await, "who follows nobody comes to its end by itself");
            follows.follow();
            assert!(gets(leads, &mut a, 2 * MIB).await);
            assert!(!gets(&other, &mut Held::default(), MIB).await);
            assert!(!gets(follows, &mut b, 4 * MIB).await, "the other one has its turn");
            drop(a);
            // Though it holds more than the bound: whose turn it was is gone.
            assert!(gets(follows, &mut b, 4 * MIB).await);
            drop(b);
            assert_eq!((used(&memory), memory.0.state().of_calls.len()), (0, 0));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn calls_that_hold_some_and_want_more_all_come_to_their_end_within_the_bound_and_one_call() {
        let memory = Memory::new(8 * MIB);
        let calls = (0..40).map(|at| {
            let memory = memory.clone();
            tokio::spawn(async move {
                let (claim, mut body, mut answer) = (memory.claim(), Held::default(), Held::default());
                claim.hold(&mut body, 2 * MIB).await;
                for step in 1..=6 {
                    claim.hold(&mut answer, step * MIB).await;
                    let most = used(&memory);
                    assert!(most <= 16 * MIB, "{most}");
                    if (at + step) % 3 == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            })
        });
        let all = futures_util::future::join_all(calls);
        for ended in tokio::time::timeout(Duration::from_secs(20), all).await.unwrap() {
            ended.unwrap();
        }
        assert_eq!(used(&memory), 0);
    }
}
