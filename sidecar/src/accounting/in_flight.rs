//! A call that its provider may charge for: from the journal's intent to the one way out, where it is booked.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use vectoll_config::PicoUsd;

use super::{Accounting, BackendQuota, Permit, reservation::Reservation};
use crate::{
    access::Attempt,
    call::Call,
    policy::{Backend, Route},
    refusal::Refusal,
    telemetry::{AttemptReport, Server},
};
use vectoll_ledger::{
    books::Certainty,
    charge::BudgetPeriod,
    journal::{Intent, Named, OpenIntent},
    used::Used,
};
use vectoll_limits::counters::{QuotaReservation, RateLimitStatus};
use vectoll_upstream::provider::{Journalled, Provider};

impl Permit {
    /// From here on the provider may charge for the call: the journal has what it may cost. Refused where the journal does
    /// not take it; everything is given back then. `requests` is in how many it is sent, `backend_quota` its part of the provider's limits.
    pub fn sent(
        self,
        backend: Arc<Backend>,
        requests: usize,
        backend_quota: Option<BackendQuota>,
    ) -> Result<InFlight, Refusal> {
        let Self { call, route, reservation } = self;
        let backend_charges = backend_quota.as_ref().map(BackendQuota::charges).unwrap_or_default();
        let intent = intent((&call, requests), &route, (&backend, backend_charges), &reservation);
        let opened = reservation.accounting.journal.intend(intent).map_err(|error| Refusal::journal(&error))?;
        let attempt = call.entry.begin_attempt(|| attempt_report(&backend));
        let (opened, refined) = (Some(opened), AtomicBool::new(false));
        Ok(InFlight { call, route, backend, reservation, backend_quota, opened, refined, attempt })
    }
}

/// What a trace is told of an attempt; none: nobody is asked.
fn attempt_report(backend: &Backend) -> Option<AttemptReport> {
    if matches!(backend.provider, Provider::Cache | Provider::Unusable(_)) {
        return None;
    }
    Some(AttemptReport {
        label: backend.label.clone(),
        provider: backend.provider.name(),
        server: backend.provider.address().map(|(host, port)| Server { address: host.into(), port }),
        model: backend.model.clone(),
        is_named_by_callers: backend.is_named_by_callers,
        from: Instant::now(),
        until: None,
        tokens: None,
    })
}

/// What the journal is told before a call is sent.
fn intent(
    (call, requests): (&Call, usize),
    route: &Route,
    (backend, backend_charges): (&Backend, &[Arc<BudgetPeriod>]),
    reservation: &Reservation,
) -> Intent {
    let key = call.caller.key();
    let quota = reservation.quota.as_ref();
    let reserved = quota.map_or(Used { tokens: 0, money: PicoUsd::ZERO }, QuotaReservation::reserved);
    // No money was reserved where one of several backends has no price: this one may have one all the same.
    let cost = backend.price.map_or(PicoUsd::ZERO, |price| price.of(reserved.tokens));
    Intent {
        team: Named { uid: key.team.uid.clone(), name: key.team.name.clone() },
        key: Named { uid: key.uid.clone(), name: key.name.clone() },
        user: call.user.clone(),
        model: call.model.clone(),
        provider: Cow::Borrowed(backend.provider.name()),
        backend: backend.label.clone(),
        requests: requests as u64,
        tags: call.tags.clone(),
        foreign_route: key.team.is_foreign(route),
        admitted_at: reservation.admitted,
        tokens: reserved.tokens,
        money: reserved.money.max(cost),
        priced: backend.price.is_some(),
        charges: quota
            .map(QuotaReservation::charges)
            .unwrap_or_default()
            .iter()
            .chain(backend_charges)
            .cloned()
            .collect(),
    }
}

/// A call that a provider may charge for. Dropping it books the reservation as unsettled.
#[derive(Debug)]
pub struct InFlight {
    call: Arc<Call>,
    route: Arc<Route>,
    backend: Arc<Backend>,
    reservation: Reservation,
    /// Its part of the provider's limits.
    backend_quota: Option<BackendQuota>,
    /// None once the journal has the call's end.
    opened: Option<OpenIntent>,
    /// Whether the journal was told what it can cost at most.
    refined: AtomicBool,
    /// What traces know it by.
    attempt: Attempt,
}

/// What a settled call cost and what is left, for the answer's headers.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// The cost; none where the price is unknown.
    pub cost: Option<PicoUsd>,
    /// All that the key has spent with this sidecar.
    pub key_spend: PicoUsd,
    /// What is left of the limits.
    pub rate_limits: RateLimitStatus,
}

/// What is in flight has an intent.
impl Journalled for InFlight {}

impl InFlight {
    /// What it is accounted for in.
    pub fn accounting(&self) -> &Accounting {
        &self.reservation.accounting
    }

    /// The call.
    pub fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// The route it goes by.
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Where it went.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// What is left of the limits while the call runs.
    pub fn rate_limits(&self) -> RateLimitStatus {
        let Reservation { accounting, limits, quota, admitted: _, call: _ } = &self.reservation;
        quota.as_ref().map(|quota| accounting.counters.rate_limits(quota, limits, accounting.now())).unwrap_or_default()
    }

    /// The provider has answered: the reservation becomes what was used.
    pub fn settle(mut self, tokens: u64, certainty: Certainty) -> Settled {
        self.book(tokens, certainty)
    }

    /// Parts of the call are lost of which nobody knows whether they were charged: `at_most` so many tokens, beside those that
    /// are `known`. The call is unsettled as a whole.
    pub fn lost(mut self, known: u64, at_most: u64) {
        let all = known.saturating_add(at_most);
        let reserved = self.opened.as_ref().map_or(all, |opened| opened.intent().tokens);
        let tokens = all.min(reserved).max(known);
        let money = self.backend.price.map_or(PicoUsd::ZERO, |price| price.of(tokens));
        self.end(Used { tokens, money }, Certainty::Unsettled);
    }

    /// The provider has refused for certain: tokens and money go back. The request was made and stays counted.
    pub fn refused(mut self) {
        self.end(Used { tokens: 0, money: PicoUsd::ZERO }, Certainty::Refused);
    }

    /// The call never left: no connection came about. Everything goes back.
    pub fn never_sent(mut self) {
        // Dropping the reservation gives it back; dropping `self` must not book it as unsettled first.
        if let Some(opened) = self.opened.take() {
            self.reservation.accounting.journal.void(opened);
            self.call.entry.asked_unbooked(self.attempt);
            self.reservation.give_back();
            self.backend_quota = None;
        }
    }

    /// Has the tokenizer loaded that a short call is counted with. A call of which nobody knows what it cost is booked at its own tokens
    /// then; without this at its bound, because nobody can wait for a tokenizer while something is dropped.
    pub async fn load_tokenizer(&self) {
        if self.backend.is_little(&self.call) {
            self.backend.load_tokenizer(&self.call, &self.reservation.accounting.compute).await;
        }
    }

    /// Tells the journal what the call can cost at most, where that is less than it holds and soon known: what it is booked at if the
    /// process ends before the call.
    pub async fn refine(&self) {
        let Some(opened) = &self.opened else { return };
        self.load_tokenizer().await;
        // Once: parts of a call come here each.
        if self.refined.swap(true, Ordering::Relaxed) {
            return;
        }
        let Used { tokens, money } = self.at_most(opened.intent());
        if tokens < opened.intent().tokens {
            self.reservation.accounting.journal.refine(opened, tokens, money);
        }
    }

    /// It did not leave: its part of the provider's limits is free.
    pub fn leave_room(&mut self) {
        self.backend_quota = None;
    }

    /// The provider was asked, and charges nothing for it.
    pub fn asked_for_nothing(&mut self) {
        if let Some(quota) = self.backend_quota.take() {
            quota.used(0);
        }
    }

    /// This backend charges nothing for it, for certain: the call may go to another one on the same reservation.
    pub fn withdraw(mut self) -> Option<Permit> {
        let opened = self.opened.take()?;
        let accounting = self.reservation.accounting.clone();
        accounting.journal.void(opened);
        self.call.entry.asked_unbooked(self.attempt);
        self.backend_quota = None;
        // What is left to drop of `self` has nothing to book.
        let nothing = Reservation {
            accounting,
            call: self.call.clone(),
            limits: Vec::new(),
            admitted: self.reservation.admitted,
            quota: None,
        };
        let reservation = std::mem::replace(&mut self.reservation, nothing);
        Some(Permit { call: self.call.clone(), route: self.route.clone(), reservation })
    }

    fn book(&mut self, tokens: u64, certainty: Certainty) -> Settled {
        let cost = self.backend.price.map(|price| price.of(tokens));
        let used = match (certainty, &self.opened) {
            (Certainty::Unsettled, Some(opened)) => self.at_most(opened.intent()),
            (Certainty::Known | Certainty::Estimated | Certainty::Refused, _) | (Certainty::Unsettled, None) => {
                Used { tokens, money: cost.unwrap_or(PicoUsd::ZERO) }
            }
        };
        let rate_limits = self.end(used, certainty);
        let key = self.call.caller.key();
        let key_spend = self.reservation.accounting.ledger.key_spend(&key.team.name, &key.name);
        Settled { cost, key_spend, rate_limits }
    }

    /// What a call of which nobody knows may have cost: what the journal holds for it, or less, where its tokens can be counted
    /// in little time. That is exact: a provider that charges for it counts with the same tokenizer.
    fn at_most(&self, intent: &Intent) -> Used {
        let reserved = Used { tokens: intent.tokens, money: intent.money };
        let counted = self.backend.count_few_tokens(&self.call);
        match (counted.filter(|tokens| *tokens < reserved.tokens), self.backend.price) {
            (None, _) => reserved,
            (Some(tokens), Some(price)) => Used { tokens, money: price.of(tokens) },
            (Some(tokens), None) => Used { tokens, ..reserved },
        }
    }

    /// The one way out: counters, ledger, journal and access log learn what the call cost, in one step for the first three.
    fn end(&mut self, used: Used, certainty: Certainty) -> RateLimitStatus {
        let Self { call, route: _, backend, reservation, backend_quota, opened, refined: _, attempt } = self;
        let (Some(quota), Some(opened)) = (reservation.quota.take(), opened.take()) else {
            return RateLimitStatus::default();
        };
        let reserved = quota.reserved();
        let cost = match certainty {
            Certainty::Refused => Some(PicoUsd::ZERO),
            Certainty::Known | Certainty::Estimated | Certainty::Unsettled => backend.price.map(|_| used.money),
        };
        let rate_limits = reservation.left(&quota, 0, reserved.tokens.saturating_sub(used.tokens));
        reservation.report(cost, used.tokens, rate_limits);
        let accounting = &reservation.accounting;
        let now = accounting.now();
        let overrun = used.tokens.saturating_sub(reserved.tokens);
        accounting.journal.settle(opened, used, certainty, overrun, |settled| {
            accounting.counters.settle(quota, used, settled.number, now);
            if let Some(quota) = backend_quota.take() {
                quota.settle(used, settled.number);
            }
            let intent = &settled.intent;
            accounting.ledger.book(intent.booking(), used, intent.priced, overrun, certainty);
        });
        call.entry.booked(*attempt, used.tokens, cost, certainty);
        rate_limits
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(reserved) = self.reservation.quota.as_ref().map(QuotaReservation::reserved) {
            tracing::warn!(
                call_id = %self.call.id, backend = &*self.backend.label, tokens = reserved.tokens,
                "it is not known whether the provider charges for this call: booked at its reservation, as unsettled"
            );
            self.book(0, Certainty::Unsettled);
        }
    }
}
