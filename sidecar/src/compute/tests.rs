#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
    thread::ThreadId,
    time::Duration,
};

use super::*;

fn compute(processors: usize) -> Compute {
    Compute::of_processors(processors, ComputeMetrics::new().unwrap())
}

fn waiting(compute: &Compute) -> i64 {
    compute.0.metrics.waiting.get()
}

/// Work that holds its thread until it is let go, or for so long that something is wrong.
fn held() -> (impl FnOnce() -> ThreadId + Send + 'static, std::sync::mpsc::SyncSender<()>) {
    let (let_go, wait) = sync_channel::<()>(1);
    (
        move || {
            wait.recv_timeout(Duration::from_secs(30)).unwrap();
            thread::current().id()
        },
        let_go,
    )
}

/// On a runtime with one thread, as in a sidecar: while the work goes on others do.
#[tokio::test]
async fn the_loop_is_free_while_work_is_done() {
    let compute = compute(1);
    let (work, let_go) = held();
    let done = tokio::spawn(async move { compute.run(1, work).await });
    // The work would never be let go if it were done here.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let_go.send(()).unwrap();
    assert_ne!(done.await.unwrap().unwrap(), thread::current().id());
}

#[tokio::test]
async fn what_is_little_is_done_at_once_and_starts_no_thread() {
    let compute = compute(2);
    assert_eq!(compute.run_above(10, 10, || thread::current().id()).await, Ok(thread::current().id()));
    assert_eq!(*compute.0.started.lock().unwrap(), 0);
    assert_ne!(compute.run_above(10, 11, || thread::current().id()).await, Ok(thread::current().id()));
    for _ in 0..20 {
        compute.run(11, || ()).await.unwrap();
    }
    assert_eq!(*compute.0.started.lock().unwrap(), 1, "one after the other needs one");
}

#[tokio::test]
async fn large_work_never_has_all_threads() {
    let compute = compute(2);
    let mut let_go = Vec::new();
    let mut large = Vec::new();
    for _ in 0..5 {
        let ((work, go), compute) = (held(), compute.clone());
        let_go.push(go);
        large.push(tokio::spawn(async move { compute.run(LARGE_WORK_BYTES + 1, work).await }));
    }
    while waiting(&compute) < 3 {
        tokio::task::yield_now().await;
    }
    // One that is not large finds a thread, and another one after it.
    for _ in 0..3 {
        compute.run(LARGE_WORK_BYTES, || ()).await.unwrap();
    }
    assert_eq!(waiting(&compute), 3);
    for go in let_go {
        go.send(()).unwrap();
    }
    for done in large {
        done.await.unwrap().unwrap();
    }
    assert_eq!((waiting(&compute), *compute.0.started.lock().unwrap()), (0, 3));
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_begun() {
    let compute = compute(1);
    let begun = Arc::new(AtomicUsize::new(0));
    let ((one, let_one_go), (two, let_two_go)) = (held(), held());
    let busy = [one_of(&compute, one), one_of(&compute, two)];
    while compute.0.threads.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let left = {
        let (compute, begun) = (compute.clone(), begun.clone());
        tokio::spawn(async move { compute.run(1, move || begun.fetch_add(1, Ordering::Relaxed)).await })
    };
    while waiting(&compute) < 1 {
        tokio::task::yield_now().await;
    }
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    assert_eq!(waiting(&compute), 0, "and takes no place");
    let_one_go.send(()).unwrap();
    let_two_go.send(()).unwrap();
    for one in busy {
        one.await.unwrap().unwrap();
    }
    compute.run(1, || ()).await.unwrap();
    assert_eq!(begun.load(Ordering::Relaxed), 0);
}

fn one_of<T: Send + 'static>(
    compute: &Compute,
    work: impl FnOnce() -> T + Send + 'static,
) -> tokio::task::JoinHandle<Result<T, NotDone>> {
    let compute = compute.clone();
    tokio::spawn(async move { compute.run(1, work).await })
}

/// Work that was begun goes on when its caller leaves; its thread is nobody else's meanwhile.
#[tokio::test]
async fn what_was_begun_holds_its_turn_to_its_end() {
    let compute = compute(1);
    let ended = Arc::new(AtomicBool::new(false));
    let (work, let_go) = held();
    let left = {
        let ended = ended.clone();
        one_of(&compute, move || {
            work();
            ended.store(true, Ordering::Relaxed);
        })
    };
    while compute.0.threads.available_permits() > 1 || *compute.0.started.lock().unwrap() < 1 {
        tokio::task::yield_now().await;
    }
    // The job is taken from the channel soon after: until then it could still be dropped.
    tokio::time::sleep(Duration::from_millis(50)).await;
    left.abort();
    let _ = left.await;
    assert_eq!(compute.0.threads.available_permits(), 1, "the other thread is free, and this one is not");
    let_go.send(()).unwrap();
    while compute.0.threads.available_permits() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(ended.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_panic_ends_its_own_work_and_is_counted() {
    let compute = compute(1);
    for _ in 0..5 {
        assert_eq!(compute.run(1, || -> u8 { panic!("as if it were a mistake") }).await, Err(NotDone::Panicked));
    }
    assert_eq!(compute.run(1, || 7).await, Ok(7));
    let ComputeMetrics { panics, work, bytes, .. } = &compute.0.metrics;
    assert_eq!((panics.get(), work.get(), bytes.get()), (5, 6, 6));
    assert_eq!(compute.0.threads.available_permits(), 2);
}

#[test]
fn there_is_a_thread_for_each_processor_and_one_more() {
    let compute = Compute::new(ComputeMetrics::new().unwrap());
    let processors = thread::available_parallelism().unwrap().get().min(MAX_PROCESSORS);
    assert_eq!((compute.0.most, compute.0.for_large.available_permits()), (processors + 1, processors));
}

/// Of this thread, as `proc_pid_stat(5)` has it: the 19th field, the 17th behind the name.
fn niceness() -> i32 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_threads_give_way_and_the_loop_does_not() {
    let before = niceness();
    let there = compute(1).run(1, niceness).await.unwrap();
    assert_eq!((there, niceness()), ((before + NICENESS).min(19), before));
}
