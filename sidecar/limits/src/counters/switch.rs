//! Counting alone or together, as the config says.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use vectoll_config::{
    Uid,
    v1::{Budget, Limits},
};

use super::{
    Account, LocalCounters, Open, QuotaReservation, RateLimitStatus, ReserveRequest, Reserved, SharedCounters,
    Spending, reservation::CounterReservation,
};
use vectoll_clock::Now;
use vectoll_ledger::used::Used;

/// The counters of this sidecar: its own, or those of all sidecars while the config names a store. What was reserved with one
/// of them is settled with it.
#[derive(Debug)]
pub struct Counters {
    alone: Arc<LocalCounters>,
    together: Arc<SharedCounters>,
    uses_store: AtomicBool,
}

impl Counters {
    /// Counts alone until it is told otherwise.
    pub fn new(alone: Arc<LocalCounters>, together: Arc<SharedCounters>) -> Self {
        Self { alone, together, uses_store: AtomicBool::new(false) }
    }

    /// The counters of all sidecars.
    pub fn together(&self) -> Arc<SharedCounters> {
        self.together.clone()
    }

    /// Whether there is a store from now on.
    pub fn use_store(&self, whether: bool) {
        self.uses_store.store(whether, Ordering::Relaxed);
    }

    fn is_together(&self) -> bool {
        self.uses_store.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// The name that a user's counts are kept under: its own, or `_other` where the team has `most` users already.
    pub fn user(&self, team: &Uid, user: &Arc<str>, most: u32) -> Arc<str> {
        if self.is_together() { self.together.user(team, user, most) } else { self.alone.user(team, user, most) }
    }

    /// Takes the call's room in all scopes, or in none.
    pub fn reserve(&self, ask: &ReserveRequest<'_>, now: Now) -> Reserved {
        if self.is_together() {
            self.together.reserve(ask, now)
        } else {
            Reserved::Now(
                self.alone
                    .reserve(ask, now)
                    .map(|reservation| QuotaReservation(CounterReservation::Local(reservation))),
            )
        }
    }

    /// Replaces the reservation by what was used. Tokens and money beyond it are counted whole, as debt. The request
    /// itself stays counted. `number` is the settlement's in the journal: the store is told of spend by it.
    pub fn settle(&self, reservation: QuotaReservation, used: Used, number: u64, now: Now) {
        match reservation.0 {
            CounterReservation::Local(reservation) => self.alone.settle(reservation, used, now),
            CounterReservation::Shared(reservation) => self.together.settle(reservation, used, number, now),
        }
    }

    /// Undoes the reservation: the call was never made.
    pub fn give_back(&self, reservation: QuotaReservation) {
        match reservation.0 {
            CounterReservation::Local(reservation) => self.alone.give_back(reservation),
            CounterReservation::Shared(reservation) => self.together.give_back(reservation),
        }
    }

    /// How much is left to the scopes of a reservation.
    pub fn rate_limits(&self, reservation: &QuotaReservation, scopes: &[Limits], now: Now) -> RateLimitStatus {
        match &reservation.0 {
            CounterReservation::Local(reservation) => self.alone.rate_limits(reservation, scopes, now),
            CounterReservation::Shared(reservation) => self.together.rate_limits(reservation, scopes, now),
        }
    }

    /// What is spent and reserved of an account's budget in the present period; none: the store was not asked for it yet.
    pub fn spending(&self, team: &Uid, account: &Account, budget: &Budget, now: Now) -> Option<Spending> {
        if self.is_together() {
            self.together.spending(team, account, budget, now)
        } else {
            Some(self.alone.spending(account, budget, now))
        }
    }

    /// The sums of open reservations.
    pub fn open(&self) -> Open {
        let (alone, together) = (self.alone.open(), self.together.open());
        Open {
            calls: alone.calls + together.calls,
            tokens: alone.tokens.saturating_add(together.tokens),
            money: alone.money.plus(together.money),
        }
    }
}
