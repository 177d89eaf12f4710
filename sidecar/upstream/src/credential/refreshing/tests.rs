use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const LIFE: Duration = Duration::from_hours(1);

/// A source that counts its fetches, takes its time and fails when told.
#[derive(Default)]
struct Issuer {
    asked: AtomicU32,
    takes: Mutex<Duration>,
    fails: Mutex<bool>,
}

impl Issuer {
    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    fn takes(&self, time: Duration) {
        *self.takes.lock().unwrap() = time;
    }

    fn fails(&self, fails: bool) {
        *self.fails.lock().unwrap() = fails;
    }
}

/// Values are numbered from 1.
fn fresh(life: Duration) -> (Arc<Issuer>, Refreshing<u32>) {
    let issuer = Arc::new(Issuer::default());
    let of = Arc::clone(&issuer);
    let fresh = Refreshing::new("a number", move || {
        let of = Arc::clone(&of);
        async move {
            let number = of.asked.fetch_add(1, Ordering::SeqCst) + 1;
            let takes = *of.takes.lock().unwrap();
            tokio::time::sleep(takes).await;
            if *of.fails.lock().unwrap() {
                return Err(FetchError::Answer("is no"));
            }
            Ok(Issued { value: number, life })
        }
    });
    (issuer, fresh)
}

/// What was started in the background comes to its end.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_cause_one_fetch() {
    let (issuer, fresh) = fresh(LIFE);
    issuer.takes(Duration::from_secs(5));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let fresh = fresh.clone();
            tokio::spawn(async move { *fresh.get().await.unwrap() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 1);
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_does_not_stop_the_fetch() {
    let (issuer, fresh) = fresh(LIFE);
    issuer.takes(Duration::from_secs(5));
    assert!(tokio::time::timeout(Duration::from_secs(1), fresh.get()).await.is_err());
    assert_eq!(*fresh.get().await.unwrap(), 1);
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_ahead_while_the_old_value_is_served_at_once() {
    let (issuer, fresh) = fresh(LIFE);
    fresh.get().await.unwrap();
    tokio::time::sleep(Duration::from_mins(54).mul_f64(0.999)).await;
    assert_eq!(*fresh.get().await.unwrap(), 1);
    settle().await;
    assert_eq!(issuer.asked(), 1, "more than a tenth of its life is left");
    tokio::time::sleep(Duration::from_secs(5)).await;
    issuer.takes(Duration::from_secs(20));
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(*fresh.get().await.unwrap(), 1);
        settle().await;
    }
    assert!(began.elapsed() < Duration::from_secs(1), "nobody waited for the slow fetch");
    assert_eq!(issuer.asked(), 2);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(*fresh.get().await.unwrap(), 2);
    // Calls made with the first may still be under way.
    assert_eq!(fresh.known().iter().map(|known| **known).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_short_life_is_not_renewed_at_every_question() {
    let (issuer, fresh) = fresh(Duration::from_secs(40));
    for _ in 0..19 {
        fresh.get().await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(issuer.asked(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    fresh.get().await.unwrap();
    settle().await;
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_keeps_the_old_value_and_is_tried_again_with_patience() {
    let (issuer, fresh) = fresh(LIFE);
    fresh.get().await.unwrap();
    tokio::time::sleep(Duration::from_mins(55)).await;
    issuer.fails(true);
    // 100 questions in 100 seconds: at 1, 2, 4, 8, 16, 30, 30… seconds at most after each other.
    for _ in 0..100 {
        assert_eq!(*fresh.get().await.unwrap(), 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!((5..=14).contains(&issuer.asked()), "{} attempts", issuer.asked());
    issuer.fails(false);
    tokio::time::sleep(Duration::from_secs(31)).await;
    fresh.get().await.unwrap();
    settle().await;
    assert!(*fresh.get().await.unwrap() > 1);
}

#[tokio::test(start_paused = true)]
async fn expired_and_not_to_be_renewed_is_an_error_that_says_why() {
    let (issuer, fresh) = fresh(LIFE);
    fresh.get().await.unwrap();
    tokio::time::sleep(LIFE).await;
    issuer.fails(true);
    for _ in 0..50 {
        let error = fresh.get().await.unwrap_err();
        assert_eq!(chain(&error), "failed to obtain a number: the issuer's answer is no");
    }
    assert_eq!(issuer.asked(), 2, "no storm of attempts");
    issuer.fails(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*fresh.get().await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_issued_expired_is_an_error() {
    let (_, fresh) = fresh(Duration::ZERO);
    assert!(matches!(fresh.get().await.unwrap_err(), CredentialError::Fetch { source: FetchError::Answer(_), .. }));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let (issuer, fresh) = fresh(LIFE);
    issuer.takes(LIFE);
    let began = Instant::now();
    assert!(matches!(fresh.get().await.unwrap_err(), CredentialError::Fetch { source: FetchError::TooSlow, .. }));
    assert_eq!(began.elapsed(), FETCH_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn the_life_counts_from_before_the_question() {
    let (issuer, fresh) = fresh(Duration::from_secs(10));
    issuer.takes(Duration::from_secs(8));
    fresh.get().await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(*fresh.get().await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_panics_is_an_error_and_the_next_caller_tries_again() {
    let panics = Arc::new(Mutex::new(true));
    let of = Arc::clone(&panics);
    let fresh = Refreshing::new("a number", move || {
        let panics = *of.lock().unwrap();
        async move {
            assert!(!panics, "on purpose");
            Ok(Issued { value: 1_u32, life: LIFE })
        }
    });
    assert!(matches!(fresh.get().await.unwrap_err(), CredentialError::Fetch { source: FetchError::BrokeOff, .. }));
    *panics.lock().unwrap() = false;
    assert_eq!(*fresh.get().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_refused_is_renewed_unless_it_is_new() {
    let (issuer, fresh) = fresh(LIFE);
    fresh.get().await.unwrap();
    fresh.doubt();
    fresh.get().await.unwrap();
    settle().await;
    assert_eq!(issuer.asked(), 1);
    tokio::time::sleep(Duration::from_mins(1)).await;
    fresh.doubt();
    // The next call would only be refused again with the one that there is.
    assert_eq!(*fresh.get().await.unwrap(), 2);
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_refused_is_better_than_nothing() {
    let (issuer, fresh) = fresh(LIFE);
    fresh.get().await.unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
    issuer.takes(Duration::from_secs(20));
    fresh.doubt();
    let began = Instant::now();
    assert_eq!((*fresh.get().await.unwrap(), began.elapsed()), (1, REFRESH_WAIT));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!((*fresh.get().await.unwrap(), issuer.asked()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_was_prepared_is_there_at_once() {
    let (issuer, fresh) = fresh(LIFE);
    issuer.takes(Duration::from_secs(5));
    fresh.prepare();
    fresh.prepare();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let began = Instant::now();
    fresh.prepare();
    assert_eq!((*fresh.get().await.unwrap(), began.elapsed(), issuer.asked()), (1, Duration::ZERO, 1));
}

#[test]
fn backoff_doubles_up_to_its_bound() {
    let longest: Vec<u64> = (1..=7).map(|times| backoff(times, 1.0).as_secs()).collect();
    assert_eq!(longest, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(backoff(u32::MAX, 0.0), Duration::from_secs(15));
}
