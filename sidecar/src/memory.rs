//! One bound for the memory of all that is held: bodies of requests, answers that are read or passed on, and what each call takes by
//! itself.
//!
//! A call takes memory as it learns what it needs, and waits where there is none. Two calls that hold some and want more would
//! wait for each other for ever: so the oldest of those that wait may go beyond the bound, one call at a time, until it holds
//! nothing more or all fits again. One that waits for what another call is about to get hands its turn on. At most the bound
//! is held, and what the calls need besides that had the turn.
//!
//! A third of it is for what is small, up to [`LITTLE`] at a time: small calls never wait for large ones. A call that has taken
//! from the larger part takes nothing more from the smaller one, so that neither part waits for the other and back. All calls of one
//! key together get three quarters of either part, and the oldest of them what it needs: no key takes all.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};

/// So many bytes at a time are little.
pub const LITTLE: usize = 256 * 1024;
/// What a call takes by itself: its state, and the buffers of its connections.
pub const CALL: usize = 32 * 1024;
/// What an answer takes that streams through: what is read ahead of a caller, and written ahead of it.
pub const STREAM: usize = 512 * 1024;
/// More is taken in steps of so many, lest each piece of a body ask for its own.
const STEP: usize = 256 * 1024;
/// The same for what is little.
const SMALL_STEP: usize = 16 * 1024;

/// Whose a call is: the namespace and name of its team and its key.
pub type Owner = (Arc<str>, Arc<str>);

/// The memory for all calls. A handle: clones share it.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    small: Pool,
    large: Pool,
    /// The number of the next call that takes some: a lower one is older.
    next: AtomicU64,
}

/// A part of the memory.
#[derive(Debug)]
struct Pool {
    most: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    of_owners: HashMap<Owner, OfOwner>,
    /// The one whose turn it is to go beyond the bound. It holds something.
    beyond: Option<u64>,
}

#[derive(Debug, Default)]
struct OfOwner {
    used: usize,
    /// What each call holds.
    of_calls: BTreeMap<u64, usize>,
    /// Calls that wait, and for how much.
    waiting: BTreeMap<u64, usize>,
}

impl Memory {
    /// At most so many bytes.
    pub fn new(most: usize) -> Self {
        let small = most / 3;
        Self(Arc::new(Shared { small: Pool::new(small), large: Pool::new(most - small), next: AtomicU64::new(0) }))
    }

    /// Of a call that holds nothing yet.
    pub fn claim(&self, owner: Owner) -> Claim {
        Claim { memory: self.clone(), owner, number: OnceLock::new(), is_large: Arc::default() }
    }

    fn pool(&self, is_large: bool) -> &Pool {
        if is_large { &self.0.large } else { &self.0.small }
    }
}

impl Pool {
    fn new(most: usize) -> Self {
        Self { most, state: Mutex::default(), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic is done under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, call: u64, owner: &Owner, bytes: usize) {
        if bytes > 0 {
            self.state().give_back(call, owner, bytes, self.most);
            self.changed.notify_waiters();
        }
    }
}

impl OfOwner {
    /// Whether a call may have so many bytes as far as the others of its owner go. The oldest of them always may.
    fn has_share(&self, call: u64, bytes: usize, most: usize) -> bool {
        let oldest = self.of_calls.keys().next().is_none_or(|oldest| call <= *oldest);
        self.used.saturating_add(bytes) <= most - most / 4 || oldest
    }

    /// Whether one of its calls that waits is older, and may have what it waits for.
    fn is_before(&self, call: u64, most: usize) -> bool {
        let first = self.waiting.first_key_value();
        first.is_some_and(|(first, bytes)| *first < call && self.has_share(*first, *bytes, most))
    }
}

impl State {
    /// Takes so many bytes for a call, if it may have them now; else it waits for them.
    fn take(&mut self, call: u64, owner: &Owner, bytes: usize, most: usize) -> bool {
        let fits = self.used.saturating_add(bytes) <= most;
        let is_next = !self.of_owners.values().any(|of| of.is_before(call, most));
        let of = self.of_owners.entry(owner.clone()).or_default();
        let may = self.beyond == Some(call)
            || (of.has_share(call, bytes, most) && is_next && (fits || self.beyond.is_none()));
        if may {
            self.used += bytes;
            of.used += bytes;
            *of.of_calls.entry(call).or_default() += bytes;
            if self.used > most {
                self.beyond = Some(call);
            }
        } else {
            of.waiting.insert(call, bytes);
        }
        may
    }

    fn give_back(&mut self, call: u64, owner: &Owner, bytes: usize, most: usize) {
        self.used = self.used.saturating_sub(bytes);
        let Some(of) = self.of_owners.get_mut(owner) else { return };
        of.used = of.used.saturating_sub(bytes);
        let left = of.of_calls.get(&call).copied().unwrap_or_default().saturating_sub(bytes);
        if left == 0 {
            of.of_calls.remove(&call);
        } else {
            of.of_calls.insert(call, left);
        }
        // What it held was beyond the bound: the next one's turn.
        if self.used <= most || (left == 0 && self.beyond == Some(call)) {
            self.beyond = None;
        }
        self.forget(owner);
    }

    /// It does not wait any more.
    fn leave(&mut self, call: u64, owner: &Owner) {
        if let Some(of) = self.of_owners.get_mut(owner) {
            of.waiting.remove(&call);
            self.forget(owner);
        }
    }

    fn forget(&mut self, owner: &Owner) {
        if self.of_owners.get(owner).is_some_and(|of| of.of_calls.is_empty() && of.waiting.is_empty()) {
            self.of_owners.remove(owner);
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
    owner: Owner,
    number: OnceLock<u64>,
    /// Whether it has taken more than little: all that follows is taken from there.
    is_large: Arc<AtomicBool>,
}

impl Claim {
    fn number(&self) -> u64 {
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
    pub async fn hold(&self, held: &mut Held, bytes: usize) {
        if bytes <= held.bytes {
            return;
        }
        let is_large = bytes > LITTLE || self.is_large.load(Ordering::Relaxed);
        if is_large {
            self.is_large.store(true, Ordering::Relaxed);
        }
        let moves = held.of.as_ref().is_some_and(|of| of.is_large != is_large);
        let more = if moves { bytes } else { bytes - held.bytes };
        let more = more.next_multiple_of(if is_large { STEP } else { SMALL_STEP });
        let (call, pool) = (self.number(), self.memory.pool(is_large));
        let mut waiting: Option<Waiting<'_>> = None;
        loop {
            let mut changed = std::pin::pin!(pool.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if pool.state().take(call, &self.owner, more, pool.most) {
                break;
            }
            waiting.get_or_insert_with(|| Waiting { pool, call, owner: &self.owner });
            changed.await;
        }
        drop(waiting);
        if moves {
            held.shrink(0);
            held.of = None;
        }
        held.bytes += more;
        let of = || Of { memory: self.memory.clone(), call, owner: self.owner.clone(), is_large };
        held.of.get_or_insert_with(of);
    }

    /// The same until a moment.
    pub async fn hold_until(&self, held: &mut Held, bytes: usize, end: Instant) -> Result<(), NoRoom> {
        tokio::time::timeout_at(end, self.hold(held, bytes)).await.map_err(|_| NoRoom)
    }
}

/// A call that waits, until it does no longer.
struct Waiting<'a> {
    pool: &'a Pool,
    call: u64,
    owner: &'a Owner,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.state().leave(self.call, self.owner);
        // Those behind it may be next.
        self.pool.changed.notify_waiters();
    }
}

/// Bytes that are held; dropped, they are free.
#[derive(Debug, Default)]
pub struct Held {
    of: Option<Of>,
    bytes: usize,
}

/// Of which part of which memory, and which call holds it.
#[derive(Clone, Debug)]
struct Of {
    memory: Memory,
    call: u64,
    owner: Owner,
    is_large: bool,
}

impl Held {
    /// Gives back what is more than so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes);
        self.bytes -= excess;
        if let Some(Of { memory, call, owner, is_large }) = &self.of {
            memory.pool(*is_large).give_back(*call, owner, excess);
        }
    }

    /// A part of it, of so many bytes or as many as there are.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { of: self.of.clone(), bytes }
    }

    /// Holds it for as long as somebody has any of these bytes.
    pub fn attach(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Attached { bytes, _held: self })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

/// Bytes, and the memory that they are.
struct Attached {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Attached {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn used(memory: &Memory) -> usize {
        memory.0.large.state().used
    }

    /// With so much for what is not little.
    fn memory(large: usize) -> Memory {
        Memory::new(large + large / 2)
    }

    fn owner(name: &str) -> Owner {
        ("team".into(), name.into())
    }

    /// Of a key of its own, or there would be a share.
    fn claim(memory: &Memory) -> Claim {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        memory.claim(owner(&NEXT.fetch_add(1, Ordering::Relaxed).to_string()))
    }

    fn is_empty(memory: &Memory) -> bool {
        [&memory.0.small, &memory.0.large]
            .iter()
            .all(|pool| pool.state().used == 0 && pool.state().of_owners.is_empty())
    }

    /// Whether a call gets so much at once.
    async fn gets(claim: &Claim, held: &mut Held, bytes: usize) -> bool {
        tokio::time::timeout(Duration::from_millis(20), claim.hold(held, bytes)).await.is_ok()
    }

    #[tokio::test]
    async fn little_has_a_part_of_its_own_and_more_waits_for_room() {
        let memory = memory(4 * MIB);
        let (one, other) = (claim(&memory), claim(&memory));
        let (mut a, mut b) = (Held::default(), Held::default());
        assert!(gets(&one, &mut a, LITTLE).await);
        assert_eq!((used(&memory), memory.0.small.state().used), (0, LITTLE));
        assert!(gets(&one, &mut a, 4 * MIB).await);
        // One call goes beyond the bound: else two that hold some could wait for each other.
        assert!(gets(&other, &mut b, MIB).await);
        let third = claim(&memory);
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
        assert!(is_empty(&memory));
    }

    #[tokio::test]
    async fn a_part_of_a_call_goes_on_where_the_call_does() {
        let memory = memory(MIB);
        let (call, mut whole, mut of_part) = (claim(&memory), Held::default(), Held::default());
        assert!(gets(&call, &mut whole, 2 * MIB).await, "beyond the bound");
        assert!(!gets(&claim(&memory), &mut Held::default(), MIB).await);
        assert!(gets(&call.of_part(), &mut of_part, 2 * MIB).await);
        let half = whole.split(MIB);
        drop(whole);
        assert_eq!(used(&memory), 3 * MIB);
        drop((half, of_part));
        assert_eq!(used(&memory), 0);
    }

    #[tokio::test]
    async fn who_waits_for_another_call_lets_it_go_on() {
        let memory = memory(2 * MIB);
        // In both orders: a call has its number from when it first takes some.
        for follower_is_older in [false, true] {
            let (one, two, other) = (claim(&memory), claim(&memory), claim(&memory));
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
            assert!(is_empty(&memory));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn calls_that_hold_some_and_want_more_all_come_to_their_end_within_the_bound_and_one_call() {
        let memory = memory(8 * MIB);
        let calls = (0..40).map(|at| {
            let memory = memory.clone();
            tokio::spawn(async move {
                let (claim, mut body, mut answer) = (claim(&memory), Held::default(), Held::default());
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

    #[tokio::test]
    async fn no_key_takes_all_and_its_oldest_call_comes_to_its_end() {
        let memory = memory(8 * MIB);
        let mut calls: Vec<Claim> = (0..4).map(|_| memory.claim(owner("greedy"))).collect();
        let mut held: Vec<Held> = (0..4).map(|_| Held::default()).collect();
        for (at, gets_it) in [(0, true), (1, true), (2, true), (3, false)] {
            assert_eq!(gets(&calls[at], &mut held[at], 2 * MIB).await, gets_it, "{at}");
        }
        // Another key's call passes the one that waits.
        let last = calls.pop().unwrap();
        let mut waiting = Box::pin(async {
            let mut waits = Held::default();
            last.hold(&mut waits, 2 * MIB).await;
            waits
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), waiting.as_mut()).await.is_err());
        let (other, mut others) = (memory.claim(owner("modest")), Held::default());
        assert!(gets(&other, &mut others, 2 * MIB).await);
        assert!(!gets(&calls[1], &mut held[1], 3 * MIB).await);
        assert!(gets(&calls[0], &mut held[0], 3 * MIB).await, "the oldest");
        held.clear();
        drop((waiting.await, others));
        assert!(is_empty(&memory));
    }

    #[tokio::test]
    async fn what_grows_large_leaves_the_room_of_the_small() {
        let memory = memory(4 * MIB);
        let (call, mut held) = (claim(&memory), Held::default());
        assert!(gets(&call, &mut held, CALL).await);
        assert!(gets(&call, &mut held, LITTLE + 1).await);
        assert_eq!((memory.0.small.state().used, used(&memory)), (0, 2 * STEP));
        let mut answer = Held::default();
        assert!(gets(&call, &mut answer, CALL).await);
        assert_eq!(memory.0.small.state().used, 0, "and takes nothing there any more");
        let bytes = held.attach(Bytes::from_static(b"abc"));
        let part = bytes.slice(1..2);
        drop((bytes, answer));
        assert_eq!((used(&memory), &*part), (2 * STEP, b"b".as_slice()));
        drop(part);
        assert!(is_empty(&memory));
    }
}
