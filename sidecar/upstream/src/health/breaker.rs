//! When a backend is left alone: a circuit breaker.
//!
//! Closed, all calls go there. So many failures one after the other open it: no call goes there for a while. Then one call at
//! a time tries it; if that is served it is closed, if not it is open for twice as long.

use std::time::Duration;

use vectoll_config::v1::Cooldown;

use super::breaker_state::{BreakerState, FailureKind};

/// The longest time that a backend is left alone, as a multiple of the first.
const MAX_DOUBLINGS: u32 = 4;
/// The longest that a provider's own word is taken for.
const LONGEST_WORD: Duration = Duration::from_mins(5);

/// Which kind of attempt a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptKind {
    /// One of many.
    Ordinary,
    /// The one that tries whether the backend is well again.
    Probe,
}

/// The state of one backend.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Failures since the last success.
    streak: u32,
    open: Option<Cooling>,
}

#[derive(Clone, Copy, Debug)]
struct Cooling {
    until: Duration,
    probing: bool,
    /// How often it was opened without a success in between.
    times: u32,
}

impl Breaker {
    pub(super) fn breaker_state(&self, now: Duration) -> BreakerState {
        match self.open {
            None => BreakerState::Well,
            Some(Cooling { until, probing: false, .. }) if until <= now => BreakerState::Well,
            Some(Cooling { until, .. }) => BreakerState::Cooling(until.max(now)),
        }
    }

    /// Whether it was opened and not closed since.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// A turn, if calls go there.
    pub(super) fn begin(&mut self, now: Duration) -> Option<AttemptKind> {
        match &mut self.open {
            None => Some(AttemptKind::Ordinary),
            Some(Cooling { until, probing, .. }) if *until <= now && !*probing => {
                *probing = true;
                Some(AttemptKind::Probe)
            }
            Some(_) => None,
        }
    }

    /// Whether that closed it.
    pub(super) fn succeeded(&mut self) -> bool {
        self.streak = 0;
        self.open.take().is_some()
    }

    /// For how long it is left alone now, if that is new.
    pub(super) fn failed(
        &mut self,
        turn: AttemptKind,
        fault: FailureKind,
        cooldown: Cooldown,
        now: Duration,
    ) -> Option<Duration> {
        self.streak = self.streak.saturating_add(1);
        let Cooldown { failures, seconds } = cooldown;
        if failures == 0 {
            // Switched off, maybe only now: it must not stay open.
            self.open = None;
            return None;
        }
        let fault = match fault {
            FailureKind::Limited(Some(wait)) => {
                FailureKind::Limited(Some(wait.clamp(Duration::from_millis(100), LONGEST_WORD)))
            }
            FailureKind::Limited(None) | FailureKind::Down => fault,
        };
        let first = Duration::from_secs(seconds.into());
        let rest = match (fault, turn, self.open) {
            // Calls that were under way when it was opened say nothing new, unless the provider asks for more time.
            (FailureKind::Down | FailureKind::Limited(None), AttemptKind::Ordinary, Some(_)) => return None,
            (FailureKind::Limited(Some(wait)), AttemptKind::Ordinary, Some(open)) if open.until >= now + wait => {
                return None;
            }
            // It asks for more time. That it was opened is no news.
            (FailureKind::Limited(Some(wait)), AttemptKind::Ordinary, Some(open)) => {
                self.open = Some(Cooling { until: now + wait, ..open });
                return None;
            }
            (FailureKind::Limited(Some(wait)), ..) => wait,
            (FailureKind::Down, _, None) if self.streak < failures => return None,
            (FailureKind::Down | FailureKind::Limited(None), _, None) => first,
            (FailureKind::Down | FailureKind::Limited(None), AttemptKind::Probe, Some(open)) => {
                first * 2u32.pow(open.times.min(MAX_DOUBLINGS))
            }
        };
        let times = self.open.map_or(1, |open| open.times.saturating_add(1));
        self.open = Some(Cooling { until: now + rest, probing: false, times });
        Some(rest)
    }

    /// An attempt ended of which nobody knows how.
    pub(super) fn unknown(&mut self, turn: AttemptKind) {
        if let (AttemptKind::Probe, Some(open)) = (turn, &mut self.open) {
            open.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const COOLDOWN: Cooldown = Cooldown { failures: 3, seconds: 30 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fail(breaker: &mut Breaker, now: u64) -> Option<Duration> {
        let turn = breaker.begin(at(now)).unwrap();
        breaker.failed(turn, FailureKind::Down, COOLDOWN, at(now))
    }

    #[test]
    fn failures_one_after_the_other_open_it_and_a_success_between_them_does_not() {
        let mut breaker = Breaker::default();
        assert_eq!((fail(&mut breaker, 0), fail(&mut breaker, 1)), (None, None));
        assert!(!breaker.succeeded());
        assert_eq!((fail(&mut breaker, 2), fail(&mut breaker, 3)), (None, None));
        assert_eq!(breaker.breaker_state(at(3)), BreakerState::Well);
        assert_eq!(fail(&mut breaker, 4), Some(at(30)));
        assert_eq!(breaker.breaker_state(at(4)), BreakerState::Cooling(at(34)));
        assert_eq!(breaker.begin(at(33)), None);
    }

    #[test]
    fn one_call_tries_it_then_and_decides() {
        let mut breaker = Breaker::default();
        for now in 0..3 {
            fail(&mut breaker, now);
        }
        assert_eq!(breaker.breaker_state(at(32)), BreakerState::Well);
        assert_eq!(breaker.begin(at(32)), Some(AttemptKind::Probe));
        assert_eq!(breaker.begin(at(32)), None, "one at a time");
        assert_ne!(breaker.breaker_state(at(40)), BreakerState::Well);
        assert_eq!(breaker.failed(AttemptKind::Probe, FailureKind::Down, COOLDOWN, at(40)), Some(at(60)));
        assert_eq!(breaker.begin(at(99)), None);
        assert_eq!(breaker.begin(at(100)), Some(AttemptKind::Probe));
        breaker.unknown(AttemptKind::Probe);
        assert_eq!(breaker.begin(at(100)), Some(AttemptKind::Probe), "who leaves does not keep the next one out");
        assert!(breaker.succeeded());
        assert_eq!(breaker.begin(at(100)), Some(AttemptKind::Ordinary));
        assert_eq!(fail(&mut breaker, 101), None, "and counting begins anew");
    }

    #[test]
    fn the_time_doubles_up_to_a_bound() {
        let mut breaker = Breaker::default();
        let mut now = 0;
        let mut rests = Vec::new();
        for _ in 0..10 {
            if let Some(rest) = fail(&mut breaker, now) {
                rests.push(rest.as_secs());
                now += rest.as_secs();
            }
        }
        assert_eq!(rests, [30, 60, 120, 240, 480, 480, 480, 480]);
    }

    #[test]
    fn a_provider_that_says_how_long_is_left_alone_for_so_long_at_once() {
        let mut breaker = Breaker::default();
        let limited = |wait: Option<u64>| FailureKind::Limited(wait.map(at));
        assert_eq!(breaker.failed(AttemptKind::Ordinary, limited(Some(7)), COOLDOWN, at(0)), Some(at(7)));
        assert_eq!(breaker.failed(AttemptKind::Ordinary, limited(Some(6)), COOLDOWN, at(1)), None, "that is known");
        assert_eq!(breaker.failed(AttemptKind::Ordinary, FailureKind::Down, COOLDOWN, at(1)), None);
        assert_eq!(
            breaker.failed(AttemptKind::Ordinary, limited(Some(9)), COOLDOWN, at(2)),
            None,
            "that is more, and no news"
        );
        assert_eq!(breaker.breaker_state(at(2)), BreakerState::Cooling(at(11)));
        assert_eq!(breaker.begin(at(11)), Some(AttemptKind::Probe));
        assert_eq!(
            breaker.failed(AttemptKind::Probe, limited(None), COOLDOWN, at(11)),
            Some(at(60)),
            "opened once before"
        );
        let mut other = Breaker::default();
        assert_eq!(other.failed(AttemptKind::Ordinary, limited(None), COOLDOWN, at(0)), Some(at(30)));
        let mut third = Breaker::default();
        assert_eq!(third.failed(AttemptKind::Ordinary, limited(Some(86_400)), COOLDOWN, at(0)), Some(LONGEST_WORD));
    }

    #[test]
    fn no_wait_is_too_long_to_be_counted() {
        let mut breaker = Breaker::default();
        for turn in [AttemptKind::Ordinary, AttemptKind::Ordinary, AttemptKind::Probe] {
            breaker.failed(turn, FailureKind::Limited(Some(Duration::MAX)), COOLDOWN, at(10_000));
        }
        assert_eq!(breaker.breaker_state(at(10_000)), BreakerState::Cooling(at(10_300)));
    }

    #[test]
    fn it_can_be_switched_off() {
        let mut breaker = Breaker::default();
        for now in 0..3 {
            fail(&mut breaker, now);
        }
        let probe = breaker.begin(at(60)).unwrap();
        assert_eq!(breaker.failed(probe, FailureKind::Down, Cooldown { failures: 0, seconds: 1 }, at(60)), None);
        assert_eq!(breaker.breaker_state(at(60)), BreakerState::Well, "also while it is open");
        for _ in 0..10 {
            assert_eq!(
                breaker.failed(AttemptKind::Ordinary, FailureKind::Down, Cooldown { failures: 0, seconds: 1 }, at(0)),
                None
            );
        }
        assert_eq!(breaker.breaker_state(at(0)), BreakerState::Well);
    }
}
