//! Counters, ledger and journal together: what a call takes, and what it turns out to have cost.
//!
//! A [`Permit`] is the proof of admission and cannot be forgotten: dropped before the call was sent it gives everything
//! back, and once sent ([`InFlight`]) everything that is not a settlement or a definite refusal is booked at the
//! reservation, as unsettled. Between the two the journal takes the call's intent: providers are called with an [`InFlight`],
//! and there is none without.

mod admit;
mod in_flight;
mod reservation;
mod room;
mod scopes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vectoll_config::PicoUsd;

use self::reservation::Reservation;
use crate::{call::Call, policy::Route};
use vectoll_clock::{Clock, Now};
use vectoll_ledger::{books::Ledger, journal::Journal};
use vectoll_limits::counters::{Counters, Standing};

pub use admit::{admit, exact_at, readmit};
pub use in_flight::{InFlight, Settled};
pub use room::{BackendQuota, Load, QuotaExceeded};

/// The accounts of this sidecar.
#[derive(Debug)]
pub struct Accounting {
    /// Limits and budgets.
    pub counters: Arc<Counters>,
    /// Spend.
    pub ledger: Arc<Ledger>,
    /// What outlives the process.
    pub journal: Arc<Journal>,
    /// Time.
    pub clock: Clock,
    /// How many calls may have their tokens counted at once. Those beyond wait with their caller, and end with it.
    pub counting: tokio::sync::Semaphore,
}

impl Accounting {
    /// This moment.
    pub fn now(&self) -> Now {
        self.clock.now()
    }
}

/// An admitted call that was not sent yet. Dropping it gives the reservation back.
#[derive(Debug)]
pub struct Permit {
    call: Arc<Call>,
    route: Arc<Route>,
    reservation: Reservation,
}

/// What became of a call's reservations, for the headers of its answer.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// What was booked, over all attempts; none where the call never left, or a price is unknown.
    pub cost: Option<PicoUsd>,
    /// The tokens that were booked, over all attempts.
    pub tokens: u64,
    /// What is left of the limits.
    pub standing: Standing,
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

    fn add(&self, cost: Option<PicoUsd>, tokens: u64, standing: Standing) {
        let mut outcome = self.lock();
        let before = outcome.and_then(|outcome| outcome.cost);
        let cost = [before, cost].into_iter().flatten().reduce(PicoUsd::plus);
        let tokens = outcome.map_or(0, |outcome| outcome.tokens).saturating_add(tokens);
        *outcome = Some(Outcome { cost, tokens, standing });
    }
}

impl Permit {
    /// The call.
    pub fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// The route it goes by.
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }
}
