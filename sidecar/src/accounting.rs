//! Counters and ledger together: what a call takes, and what it turns out to have cost.
//!
//! A [`Permit`] is the proof of admission and cannot be forgotten: dropped before the call was sent it gives everything
//! back, and once sent ([`InFlight`]) everything that is not a settlement or a definite refusal is booked at the
//! reservation, as unsettled.

mod admit;
mod scopes;

use std::sync::Arc;

use vectoll_config::{PicoUsd, v1::Limits};

use crate::{
    call::Call,
    clock::{Clock, Now},
    counters::{Counters, Held, Standing, Used},
    ledger::{Booking, Certainty, Ledger},
    policy::{Backend, Route},
};

pub use admit::admit;

/// The accounts of this sidecar.
#[derive(Debug)]
pub struct Accounting {
    /// Limits and budgets.
    pub counters: Arc<dyn Counters>,
    /// Spend.
    pub ledger: Arc<Ledger>,
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

/// What became of a reservation, for the headers of an error.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// What was booked; none where the call never left, or the price is unknown.
    pub cost: Option<PicoUsd>,
    /// What is left of the limits.
    pub standing: Standing,
}

/// The reservation and the accounts that it is to be returned to.
#[derive(Debug)]
struct Reservation {
    accounting: Arc<Accounting>,
    /// The call it was made for, which is told what becomes of it.
    call: Arc<Call>,
    limits: Vec<Limits>,
    /// None once it was settled or given back.
    held: Option<Held>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Reservation {
    fn give_back(&mut self) {
        if let Some(held) = self.held.take() {
            self.tell(None, self.left(&held, 1, held.reserved().tokens));
            self.accounting.counters.give_back(held, self.accounting.now());
        }
    }

    /// What is left of the limits when so much of the reservation is given back.
    fn left(&self, held: &Held, requests: u64, tokens: u64) -> Standing {
        let mut standing = self.accounting.counters.standing(held, &self.limits, self.accounting.now());
        for (quota, back) in [(&mut standing.requests, requests), (&mut standing.tokens, tokens)] {
            if let Some(quota) = quota {
                quota.remaining = quota.remaining.saturating_add(back).min(quota.limit);
                if quota.remaining == quota.limit {
                    quota.reset = std::time::Duration::ZERO;
                }
            }
        }
        standing
    }

    fn tell(&self, cost: Option<PicoUsd>, standing: Standing) {
        // Only once: a reservation has one end.
        let _ = self.call.outcome.set(Outcome { cost, standing });
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

    /// From here on the provider may charge for the call.
    pub fn sent(self, backend: Arc<Backend>) -> InFlight {
        InFlight { call: self.call, backend, reservation: self.reservation }
    }
}

/// A call that a provider may charge for. Dropping it books the reservation as unsettled.
#[derive(Debug)]
pub struct InFlight {
    call: Arc<Call>,
    backend: Arc<Backend>,
    reservation: Reservation,
}

/// What a settled call cost and what is left, for the answer's headers.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// The cost; none where the price is unknown.
    pub cost: Option<PicoUsd>,
    /// All that the key has spent with this sidecar.
    pub key_spend: PicoUsd,
    /// What is left of the limits.
    pub standing: Standing,
}

impl InFlight {
    /// The call.
    pub fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// Where it went.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// What is left of the limits while the call runs.
    pub fn standing(&self) -> Standing {
        let Reservation { accounting, limits, held, call: _ } = &self.reservation;
        held.as_ref().map(|held| accounting.counters.standing(held, limits, accounting.now())).unwrap_or_default()
    }

    /// The provider has answered: the reservation becomes what was used.
    pub fn settle(mut self, tokens: u64, certainty: Certainty) -> Settled {
        self.book(tokens, certainty)
    }

    /// The provider has refused for certain: tokens and money go back. The request was made and stays counted.
    pub fn refused(mut self) {
        if let Some(held) = self.reservation.held.take() {
            let accounting = &self.reservation.accounting;
            let nothing = Used { tokens: 0, money: PicoUsd::ZERO };
            let left = self.reservation.left(&held, 0, held.reserved().tokens);
            self.reservation.tell(Some(PicoUsd::ZERO), left);
            accounting.counters.settle(held, nothing, accounting.now());
            accounting.ledger.book(self.booking(), nothing, true, 0, Certainty::Refused);
            self.call.entry.booked(0, Some(PicoUsd::ZERO), Certainty::Refused);
        }
    }

    /// The call never left: no connection came about. Everything goes back.
    pub fn never_sent(self) {
        // Dropping the reservation gives it back; dropping `self` must not book it as unsettled first.
        let mut this = self;
        this.reservation.give_back();
    }

    fn book(&mut self, tokens: u64, certainty: Certainty) -> Settled {
        let accounting = self.reservation.accounting.clone();
        let now = accounting.now();
        let key = self.call.caller.key();
        let cost = self.backend.price.map(|price| price.of(tokens));
        let mut standing = Standing::default();
        if let Some(held) = self.reservation.held.take() {
            let reserved = held.reserved();
            let used = match certainty {
                // What nobody knows is booked at what was reserved. No money was reserved where one of several backends has no
                // price: this one may have one all the same.
                Certainty::Unsettled => {
                    let cost = self.backend.price.map_or(PicoUsd::ZERO, |price| price.of(reserved.tokens));
                    Used { tokens: reserved.tokens, money: reserved.money.max(cost) }
                }
                Certainty::Known | Certainty::Estimated | Certainty::Refused => {
                    Used { tokens, money: cost.unwrap_or(PicoUsd::ZERO) }
                }
            };
            standing = self.reservation.left(&held, 0, reserved.tokens.saturating_sub(used.tokens));
            self.reservation.tell(self.backend.price.map(|_| used.money), standing);
            accounting.counters.settle(held, used, now);
            let overrun = used.tokens.saturating_sub(reserved.tokens);
            accounting.ledger.book(self.booking(), used, self.backend.price.is_some(), overrun, certainty);
            self.call.entry.booked(used.tokens, self.backend.price.map(|_| used.money), certainty);
        }
        Settled { cost, key_spend: accounting.ledger.key_spend(&key.team.name, &key.name), standing }
    }

    fn booking(&self) -> Booking<'_> {
        let key = self.call.caller.key();
        Booking {
            key: &key.name,
            team: &key.team.name,
            user: &self.call.user,
            model: &self.call.model,
            provider: self.backend.provider.name(),
            backend: &self.backend.label,
            tags: &self.call.tags,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(reserved) = self.reservation.held.as_ref().map(Held::reserved) {
            tracing::warn!(
                call_id = %self.call.id, backend = &*self.backend.label, tokens = reserved.tokens,
                "nobody knows whether the provider charges for this call: booked at its reservation, as unsettled"
            );
            self.book(0, Certainty::Unsettled);
        }
    }
}
