//! What became of a call's reservations.

use std::sync::{Mutex, MutexGuard, PoisonError};

use vectoll_config::PicoUsd;
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
pub struct Outcomes(Mutex<Option<Outcome>>);

impl Outcomes {
    fn lock(&self) -> MutexGuard<'_, Option<Outcome>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is so far.
    pub fn get(&self) -> Option<Outcome> {
        *self.lock()
    }

    pub(super) fn add(&self, cost: Option<PicoUsd>, tokens: u64, rate_limits: RateLimitStatus) {
        let mut outcome = self.lock();
        let before = outcome.and_then(|outcome| outcome.cost);
        let cost = [before, cost].into_iter().flatten().reduce(PicoUsd::plus);
        let tokens = outcome.map_or(0, |outcome| outcome.tokens).saturating_add(tokens);
        *outcome = Some(Outcome { cost, tokens, rate_limits });
    }
}
