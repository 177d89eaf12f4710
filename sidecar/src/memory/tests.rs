//! Who gets memory, and who waits.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;

use super::{claim::STEP, *};

const MIB: usize = 1024 * 1024;

fn used(memory: &MemoryLimiter) -> usize {
    memory.0.large.state().used
}

/// With so much for what is not little.
fn memory(large: usize) -> MemoryLimiter {
    MemoryLimiter::new(large + large / 2)
}

fn owner(name: &str) -> Owner {
    ("team".into(), name.into())
}

/// Of a key of its own, or there would be a share.
fn claim(memory: &MemoryLimiter) -> Claim {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    memory.claim(owner(&NEXT.fetch_add(1, Ordering::Relaxed).to_string()))
}

fn is_empty(memory: &MemoryLimiter) -> bool {
    [&memory.0.small, &memory.0.large].iter().all(|pool| pool.state().used == 0 && pool.state().of_owners.is_empty())
}

/// Whether a call gets so much at once.
async fn gets(claim: &Claim, held: &mut MemoryPermit, bytes: usize) -> bool {
    tokio::time::timeout(Duration::from_millis(20), claim.hold(held, bytes)).await.is_ok()
}

#[tokio::test]
async fn little_has_a_part_of_its_own_and_more_waits_for_room() {
    let memory = memory(4 * MIB);
    let (one, other) = (claim(&memory), claim(&memory));
    let (mut a, mut b) = (MemoryPermit::default(), MemoryPermit::default());
    assert!(gets(&one, &mut a, SMALL_CLAIM_BYTES).await);
    assert_eq!((used(&memory), memory.0.small.state().used), (0, SMALL_CLAIM_BYTES));
    assert!(gets(&one, &mut a, 4 * MIB).await);
    // One call goes beyond the bound: else two that hold some could wait for each other.
    assert!(gets(&other, &mut b, MIB).await);
    let third = claim(&memory);
    let mut c = MemoryPermit::default();
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
    let (call, mut whole, mut of_part) = (claim(&memory), MemoryPermit::default(), MemoryPermit::default());
    assert!(gets(&call, &mut whole, 2 * MIB).await, "beyond the bound");
    assert!(!gets(&claim(&memory), &mut MemoryPermit::default(), MIB).await);
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
        let (mut a, mut b) = (MemoryPermit::default(), MemoryPermit::default());
        assert!(gets(leads, &mut a, MIB).await);
        assert!(gets(follows, &mut b, 3 * MIB).await, "beyond the bound, by itself");
        assert!(!gets(leads, &mut a, 2 * MIB).await, "who follows nobody comes to its end by itself");
        follows.follow();
        assert!(gets(leads, &mut a, 2 * MIB).await);
        assert!(!gets(&other, &mut MemoryPermit::default(), MIB).await);
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
            let (claim, mut body, mut answer) = (claim(&memory), MemoryPermit::default(), MemoryPermit::default());
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
    let mut held: Vec<MemoryPermit> = (0..4).map(|_| MemoryPermit::default()).collect();
    for (at, gets_it) in [(0, true), (1, true), (2, true), (3, false)] {
        assert_eq!(gets(&calls[at], &mut held[at], 2 * MIB).await, gets_it, "{at}");
    }
    // Another key's call passes the one that waits.
    let last = calls.pop().unwrap();
    let mut waiting = Box::pin(async {
        let mut waits = MemoryPermit::default();
        last.hold(&mut waits, 2 * MIB).await;
        waits
    });
    assert!(tokio::time::timeout(Duration::from_millis(20), waiting.as_mut()).await.is_err());
    let (other, mut others) = (memory.claim(owner("modest")), MemoryPermit::default());
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
    let (call, mut held) = (claim(&memory), MemoryPermit::default());
    assert!(gets(&call, &mut held, CALL_OVERHEAD_BYTES).await);
    assert!(gets(&call, &mut held, SMALL_CLAIM_BYTES + 1).await);
    assert_eq!((memory.0.small.state().used, used(&memory)), (0, 2 * STEP));
    let mut answer = MemoryPermit::default();
    assert!(gets(&call, &mut answer, CALL_OVERHEAD_BYTES).await);
    assert_eq!(memory.0.small.state().used, 0, "and takes nothing there any more");
    let bytes = held.attach(Bytes::from_static(b"abc"));
    let part = bytes.slice(1..2);
    drop((bytes, answer));
    assert_eq!((used(&memory), &*part), (2 * STEP, b"b".as_slice()));
    drop(part);
    assert!(is_empty(&memory));
}
