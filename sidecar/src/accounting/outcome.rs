//! What became of a call's reservations.

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use vectoll_config::PicoUsd;

use super::WouldReject;
use vectoll_limits::counters::RateLimitStatus;

/// What became of a call's reservations, for the headers of its answer.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// What was booked, over all attempts; none where the call never left, or a price is unknown.
    pub cost: Option<PicoUsd>,
    /// The tokens that were booked, over all attempts.
    pub tokens: u64,
    /// What is left of the limits.
    pub rate_limits: RateLimitStatus,
}

/// Where it is gathered.
#[derive(Debug, Default)]
pub struct Outcomes {
    outcome: Mutex<Option<Outcome>>,
    would_reject: OnceLock<Vec<WouldReject>>,
    /// The same of a backend's budget.
    backend_would_reject: OnceLock<WouldReject>,
    /// Microseconds.
    waited: AtomicU64,
}

impl Outcomes {
    fn lock(&self) -> MutexGuard<'_, Option<Outcome>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is so far.
    pub fn get(&self) -> Option<Outcome> {
        *self.lock()
    }

    /// The limits on trial that would have refused the call when it was first admitted.
    pub fn would_reject(&self) -> impl Iterator<Item = &WouldReject> {
        self.would_reject.get().into_iter().flatten().chain(self.backend_would_reject.get())
    }

    /// Notes them. False: the call was admitted before, and is counted once.
    pub(super) fn note_trial(&self, found: Vec<WouldReject>) -> bool {
        self.would_reject.set(found).is_ok()
    }

    /// Notes that of a backend. False: it was noted before, and is counted once.
    pub(super) fn note_backend_trial(&self, found: WouldReject) -> bool {
        self.backend_would_reject.set(found).is_ok()
    }

    /// How long the call has waited for room in limits.
    pub fn waited_so_far(&self) -> Duration {
        Duration::from_micros(self.waited.load(Ordering::Relaxed))
    }

    /// Notes that it has waited.
    pub(super) fn waited(&self, time: Duration) {
        self.waited.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn add(&self, cost: Option<PicoUsd>, tokens: u64, rate_limits: RateLimitStatus) {
        let mut outcome = self.lock();
        let before = outcome.and_then(|outcome| outcome.cost);
        let cost = [before, cost].into_iter().flatten().reduce(PicoUsd::plus);
        let tokens = outcome.map_or(0, |outcome| outcome.tokens).saturating_add(tokens);
        *outcome = Some(Outcome { cost, tokens, rate_limits });
    }
}
