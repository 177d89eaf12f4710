//! One bound for the memory of all that is held whole: large bodies of requests, and answers that are read before they are
//! passed on.
//!
//! A call takes memory as it learns what it needs, and waits where there is none. Two calls that hold some and want more would
//! wait for each other for ever: so the oldest of those that wait may go beyond the bound, one call at a time. At most the bound
//! is held, and what one call needs besides.
//!
//! What takes [`LITTLE`] is not counted, and pays nothing for what is.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

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
    /// Calls that wait.
    waiting: BTreeSet<u64>,
    /// The one that may go beyond the bound.
    beyond: Option<u64>,
    /// Whether that one waits for what another call is about to get: an older one takes its place, lest it be that one.
    follows: bool,
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

    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            let mut state = self.state();
            state.used -= bytes;
            if state.used <= self.most {
                state.beyond = None;
            }
            drop(state);
            self.changed.notify_waiters();
        }
    }
}

impl State {
    /// Takes so many bytes for a call, if it may have them now; else it waits for them.
    fn take(&mut self, call: u64, bytes: usize, most: usize) -> bool {
        let is_next = self.waiting.first().is_none_or(|first| call <= *first);
        let fits = self.used.saturating_add(bytes) <= most;
        let is_free = self.beyond.is_none_or(|beyond| self.follows && call < beyond);
        let may = self.beyond == Some(call) || (is_next && (fits || is_free));
        if may {
            self.used += bytes;
            if self.used > most && self.beyond != Some(call) {
                (self.beyond, self.follows) = (Some(call), false);
            }
        } else {
            self.waiting.insert(call);
        }
        may
    }
}

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

    /// The call waits for what another one is about to get, until this is dropped.
    pub fn follow(&self) -> Following<'_> {
        self.set_follows(true);
        Following(self)
    }

    fn set_follows(&self, whether: bool) {
        let Some(number) = self.number.get() else { return };
        let mut state = self.memory.0.state();
        if state.beyond == Some(*number) {
            state.follows = whether;
            drop(state);
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
        held.memory.get_or_insert_with(|| self.memory.clone());
    }
}

/// A call that follows another one.
#[derive(Debug)]
pub struct Following<'a>(&'a Claim);

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.set_follows(false);
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
    memory: Option<Memory>,
    bytes: usize,
}

impl Held {
    /// Gives back what is more than so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes);
        self.bytes -= excess;
        if let Some(memory) = &self.memory {
            memory.0.give_back(excess);
        }
    }

    /// A part of it, of so many bytes or as many as there are.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { memory: self.memory.clone(), bytes }
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
    async fn who_waits_for_an_older_call_lets_it_go_on() {
        let memory = Memory::new(2 * MIB);
        let (leads, follows, other) = (memory.claim(), memory.claim(), memory.claim());
        let (mut a, mut b, mut c) = (Held::default(), Held::default(), Held::default());
        assert!(gets(&leads, &mut a, MIB).await);
        assert!(gets(&follows, &mut b, 2 * MIB).await, "beyond the bound");
        assert!(!gets(&leads, &mut a, 2 * MIB).await, "who follows nobody comes to its end by itself");
        let following = follows.follow();
        assert!(!gets(&other, &mut c, MIB).await, "a younger one is not what it waits for");
        assert!(gets(&leads, &mut a, 2 * MIB).await);
        drop(following);
        assert!(!gets(&follows, &mut b, 3 * MIB).await, "the other one has its place");
        drop(a);
        assert!(gets(&follows, &mut b, 3 * MIB).await);
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
