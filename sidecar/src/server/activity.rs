//! What goes on on a connection, and how long nothing may.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// How long a client may take for its first request, from when it has connected.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take for the head of a later request, from its first byte.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may leave an answer's last bytes unread.
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);
/// After it was asked to stop, a connection without a request ends within this time.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(1);
/// After it was told to finish, so long may pass until a client knows: one that sends requests after that does not want to.
const FINISH_GRACE: Duration = Duration::from_secs(5);
/// A connection with a request under way is looked at as often.
const CHECK_PERIOD: Duration = Duration::from_secs(5);

/// One connection's. A handle: clones share it.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    idle_timeout: Duration,
    is_unwanted: AtomicBool,
    is_to_finish: AtomicBool,
    unwanted: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests that are not answered.
    under_way: usize,
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// Since when the client has not taken a byte of what is written to it.
    unwritten: Option<Instant>,
    is_http2: bool,
    /// From when on it takes no further requests; none: it takes all that come.
    ages_at: Option<Instant>,
    /// Since when it is told to finish.
    finishing: Option<Instant>,
    /// Whether it has sent a request although it was told long ago.
    is_deaf: bool,
}

/// What is waited for while no request is under way, in the order in which connections are given up for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The first request.
    First,
    /// The rest of a head.
    Head,
    /// Whether there is to be another request.
    Idle,
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays, and is looked at again then.
    Stays(Instant),
    /// It ends as its protocol has it.
    Finish,
    /// It is closed.
    Close,
}

impl Activity {
    pub(super) fn new(idle_timeout: Duration) -> Self {
        let state = State {
            under_way: 0,
            phase: Phase::First,
            since: Instant::now(),
            unwritten: None,
            is_http2: false,
            ages_at: None,
            finishing: None,
            is_deaf: false,
        };
        let (is_unwanted, is_to_finish, unwanted) = (AtomicBool::new(false), AtomicBool::new(false), Notify::new());
        Self(Arc::new(Shared { state: Mutex::new(state), idle_timeout, is_unwanted, is_to_finish, unwanted }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic is done under it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come.
    pub(super) fn request(&self, is_http2: bool) -> UnderWay {
        let mut state = self.state();
        state.under_way += 1;
        state.is_http2 = is_http2;
        if state.finishing.is_some_and(|since| since.elapsed() >= FINISH_GRACE) {
            state.is_deaf = true;
            self.0.unwanted.notify_one();
        }
        UnderWay(self.clone())
    }

    /// It is used for further requests for about so long: not all connections that began together end together.
    pub(super) fn ages(&self, max_age: Duration) {
        self.state().ages_at = Some(Instant::now() + max_age.mul_f64(0.9 + 0.2 * fastrand::f64()));
    }

    /// Whether it has been used for long enough.
    pub(super) fn is_aged(&self) -> bool {
        self.state().ages_at.is_some_and(|at| Instant::now() >= at)
    }

    /// Bytes have come. Without a request they are the beginning of one, where they cannot be anything else.
    pub(super) fn received(&self) {
        let mut state = self.state();
        if state.under_way == 0 && state.phase == Phase::Idle && !state.is_http2 {
            state.phase = Phase::Head;
            state.since = Instant::now();
        }
    }

    /// All that came belonged to an earlier request.
    pub(super) fn rests(&self) {
        let mut state = self.state();
        if state.under_way == 0 {
            state.phase = Phase::Idle;
            state.since = Instant::now();
        }
    }

    /// Whether the client took what was written to it.
    pub(super) fn written(&self, taken: bool) {
        let mut state = self.state();
        if taken {
            state.unwritten = None;
        } else {
            state.unwritten.get_or_insert_with(Instant::now);
        }
    }

    /// What it waits for, and since when; none: a request is under way.
    pub(super) fn waits(&self) -> Option<(Phase, Instant)> {
        let state = self.state();
        (state.under_way == 0 && !self.0.is_unwanted.load(Ordering::Relaxed)).then_some((state.phase, state.since))
    }

    /// It takes no more requests; those that have come are answered.
    pub(super) fn finish(&self) {
        self.0.is_to_finish.store(true, Ordering::Relaxed);
        self.0.unwanted.notify_one();
    }

    /// Its place is needed for another one.
    pub(super) fn give_up(&self) {
        self.0.is_unwanted.store(true, Ordering::Relaxed);
        self.0.unwanted.notify_one();
    }

    /// When its place is needed, or it is to finish.
    pub(super) async fn unwanted(&self) {
        self.0.unwanted.notified().await;
    }

    /// What is to become of it now. `stopping`: since when it is to stop.
    pub(super) fn verdict(&self, now: Instant, stopping: Option<Instant>) -> Verdict {
        let mut state = self.state();
        if state.is_deaf {
            return Verdict::Close;
        }
        // HTTP/1.1 has no word for it but with an answer.
        let ages_at = state.ages_at.filter(|_| state.is_http2 && state.finishing.is_none());
        let is_to_finish = self.0.is_to_finish.swap(false, Ordering::Relaxed);
        // Told once: the protocol sees to the rest.
        if state.finishing.is_none() && (is_to_finish || ages_at.is_some_and(|at| now >= at)) {
            state.finishing = Some(now);
            return Verdict::Finish;
        }
        let sooner = |look: Instant| Verdict::Stays(ages_at.map_or(look, |at| look.min(at)));
        if state.under_way > 0 {
            return sooner(now + CHECK_PERIOD);
        }
        let (deadline, end) = match (state.unwritten, stopping, state.phase) {
            (Some(unwritten), _, _) => (unwritten + WRITE_TIMEOUT, Verdict::Close),
            (None, Some(stopping), _) => (stopping + STOP_GRACE, Verdict::Close),
            (None, None, _) if self.0.is_unwanted.load(Ordering::Relaxed) => (now, Verdict::Close),
            (None, None, Phase::First) => (state.since + FIRST_REQUEST_TIMEOUT, Verdict::Close),
            (None, None, Phase::Head) => (state.since + HEAD_TIMEOUT, Verdict::Close),
            (None, None, Phase::Idle) => (state.since + self.0.idle_timeout, Verdict::Finish),
        };
        if now >= deadline { end } else { sooner(deadline) }
    }
}

/// A request under way, until its answer was handed over.
#[derive(Debug)]
pub(super) struct UnderWay(Activity);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way = state.under_way.saturating_sub(1);
        if state.under_way == 0 {
            state.phase = Phase::Idle;
            state.since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(100);

    fn after(activity: &Activity, seconds: u64, stopping: bool) -> Verdict {
        let now = Instant::now();
        activity.verdict(now + Duration::from_secs(seconds), stopping.then_some(now))
    }

    #[test]
    fn what_is_waited_for_has_its_time_and_what_is_under_way_has_none() {
        let activity = Activity::new(IDLE);
        assert!(matches!(after(&activity, 9, false), Verdict::Stays(_)));
        assert_eq!(after(&activity, 11, false), Verdict::Close);
        activity.received();
        assert_eq!(after(&activity, 11, false), Verdict::Close, "a byte is no request");
        let request = activity.request(false);
        assert!(matches!(after(&activity, 1000, true), Verdict::Stays(_)));
        activity.received();
        drop(request);
        assert!(matches!(after(&activity, 99, false), Verdict::Stays(_)));
        assert_eq!(after(&activity, 101, false), Verdict::Finish);
        activity.received();
        assert!(matches!(after(&activity, 29, false), Verdict::Stays(_)));
        assert_eq!(after(&activity, 31, false), Verdict::Close, "half a head");
        activity.rests();
        assert!(matches!(after(&activity, 31, false), Verdict::Stays(_)));
        drop(activity.request(true));
        activity.received();
        assert!(matches!(after(&activity, 31, false), Verdict::Stays(_)), "frames of HTTP/2 are not always requests");
    }

    #[test]
    fn who_is_to_stop_ends_soon_unless_an_answer_is_on_its_way() {
        let activity = Activity::new(IDLE);
        assert!(matches!(after(&activity, 0, true), Verdict::Stays(_)));
        assert_eq!(after(&activity, 2, true), Verdict::Close);
        drop(activity.request(false));
        activity.written(false);
        assert!(matches!(after(&activity, 50, true), Verdict::Stays(_)));
        assert_eq!(after(&activity, 61, true), Verdict::Close);
        activity.written(true);
        assert_eq!(after(&activity, 2, true), Verdict::Close);
    }

    #[test]
    fn who_is_to_finish_is_told_once_and_what_is_under_way_is_answered() {
        let activity = Activity::new(IDLE);
        let request = activity.request(true);
        activity.finish();
        assert_eq!(after(&activity, 0, false), Verdict::Finish, "also beside a request: it takes no other one");
        assert!(matches!(after(&activity, 50, false), Verdict::Stays(_)), "which is answered");
        drop(request);
        assert_eq!(after(&activity, 101, false), Verdict::Finish);
    }

    #[test]
    fn whoever_is_told_again_loses_nothing_and_whoever_does_not_listen_is_cut_off() {
        let activity = Activity::new(IDLE);
        let request = activity.request(true);
        activity.finish();
        assert_eq!(after(&activity, 0, false), Verdict::Finish);
        activity.finish();
        assert!(
            matches!(after(&activity, 0, false), Verdict::Stays(_)),
            "another one of a flood: the first is answered"
        );
        drop(activity.request(true));
        assert!(matches!(after(&activity, 0, false), Verdict::Stays(_)), "it was on its way");
        activity.state().finishing = Instant::now().checked_sub(FINISH_GRACE);
        drop(activity.request(true));
        assert_eq!(after(&activity, 0, false), Verdict::Close);
        drop(request);
    }

    #[test]
    fn a_connection_of_http_2_ends_at_its_age_and_one_of_http_1_with_an_answer() {
        for is_http2 in [true, false] {
            let activity = Activity::new(IDLE);
            activity.ages(Duration::from_secs(20));
            let request = activity.request(is_http2);
            assert!(matches!(after(&activity, 17, false), Verdict::Stays(_)));
            let aged = after(&activity, 23, false);
            assert_eq!(aged == Verdict::Finish, is_http2, "{aged:?}");
            assert!(matches!(after(&activity, 24, false), Verdict::Stays(_)), "once");
            drop(request);
            assert!(!activity.is_aged());
            activity.ages(Duration::ZERO);
            assert!(activity.is_aged());
        }
    }

    #[test]
    fn who_is_given_up_for_another_one_is_not_asked_twice() {
        let activity = Activity::new(IDLE);
        assert_eq!(activity.waits().map(|(phase, _)| phase), Some(Phase::First));
        activity.give_up();
        assert_eq!((activity.waits(), after(&activity, 0, false)), (None, Verdict::Close));
    }
}
