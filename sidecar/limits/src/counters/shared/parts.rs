//! Calls that several owners keep counts of: their own Team, and the Teams above it.
//!
//! Each owner's counts are kept under its own tag in the store, and so in a slot of its own, whatever Team stands above it: moving a Team
//! moves no count. Here all of them are judged under one lock before anything is taken. Where the store must be asked, each owner is asked
//! by itself and at the same time; what one of them refuses, the others get back.

use std::sync::Arc;

use tokio::sync::oneshot;
use vectoll_config::Uid;

use super::{
    Pending, SharedCounters, Table,
    admit::{self, Judged},
    pending::Wait,
    reservation::{Outcome, SharedReservation, placed_denial},
};
use crate::counters::{
    Open, QuotaReservation, RateLimitStatus, ReserveRequest, Reserved, Scope, longest_denial::LongestDenial,
    reservation::CounterReservation,
};
use vectoll_clock::Now;
use vectoll_config::v1::Limits;

/// The scopes of a call that one owner keeps.
pub(super) struct Part<'a> {
    owner: &'a Uid,
    /// Their places in the call.
    places: Vec<usize>,
    scopes: Vec<Scope<'a>>,
}

/// Whether all scopes of a call are its own Team's: nearly always.
pub(super) fn is_one_owners(ask: &ReserveRequest<'_>) -> bool {
    ask.scopes.iter().all(|scope| scope.account.owner().is_none_or(|owner| owner == ask.team))
}

/// The scopes by owner, the call's own Team first.
fn parts_of<'a>(ask: &ReserveRequest<'a>) -> Vec<Part<'a>> {
    let mut parts = vec![Part { owner: ask.team, places: Vec::new(), scopes: Vec::new() }];
    for (place, scope) in ask.scopes.iter().enumerate() {
        let owner = scope.account.owner().unwrap_or(ask.team);
        let at = parts.iter().position(|part| part.owner == owner).unwrap_or_else(|| {
            parts.push(Part { owner, places: Vec::new(), scopes: Vec::new() });
            parts.len() - 1
        });
        if let Some(part) = parts.get_mut(at) {
            part.places.push(place);
            part.scopes.push(scope.clone());
        }
    }
    parts
}

impl SharedCounters {
    /// Takes the call's room of all owners, or of none; or has the store asked for it.
    pub(super) fn reserve_of_all(self: &Arc<Self>, ask: &ReserveRequest<'_>, now: Now) -> Reserved {
        let parts = parts_of(ask);
        let (mut held, mut waits) = (Vec::new(), Vec::new());
        let mut worst = LongestDenial::default();
        let mut table = self.table();
        table.sweep(now.elapsed);
        let mut judged = Vec::with_capacity(parts.len());
        for part in &parts {
            match table.session(part.owner).judge(&part.ask(ask), now) {
                Judged::Denied(denial) => worst.add(part.denial(denial)),
                found @ (Judged::Fits | Judged::Short(_)) => judged.push(found),
            }
        }
        if let Some(denial) = worst.into_denial() {
            return Reserved::Now(Err(denial));
        }
        let mut worst = LongestDenial::default();
        let mut wakes = false;
        for (part, judged) in parts.iter().zip(judged) {
            let session = table.session(part.owner);
            let soon = session.link.soon;
            match session.carry_out(judged, &part.ask(ask), now) {
                admit::Reserved::Now(Ok(reservation)) => held.push(part.placed(reservation)),
                admit::Reserved::Now(Err(denial)) => worst.add(part.denial(denial)),
                admit::Reserved::Later(outcome) => waits.push(part.wait(outcome)),
            }
            wakes |= (session.link.soon && !soon) || !waits.is_empty();
        }
        let denial = worst.into_denial();
        let whole = (denial.is_none() && waits.is_empty()).then(|| table.join(std::mem::take(&mut held))).flatten();
        drop(table);
        if wakes {
            self.wake.notify_one();
        }
        // Dropped, it gives back what was had.
        let pending = Pending { waits, held, counters: self.clone() };
        match (denial, whole) {
            (Some(denial), _) => Reserved::Now(Err(denial)),
            (None, Some(whole)) => Reserved::Now(Ok(QuotaReservation(CounterReservation::Shared(whole)))),
            (None, None) => Reserved::Later(pending),
        }
    }
}

impl<'a> Part<'a> {
    fn ask<'b>(&'b self, of_call: &ReserveRequest<'a>) -> ReserveRequest<'b>
    where
        'a: 'b,
    {
        let ReserveRequest { team: _, scopes: _, requests, tokens, money, on_store_failure } = *of_call;
        ReserveRequest { team: self.owner, scopes: &self.scopes, requests, tokens, money, on_store_failure }
    }

    fn denial(&self, denial: crate::counters::Denial) -> crate::counters::Denial {
        placed_denial(&self.places, denial)
    }

    fn placed(&self, reservation: SharedReservation) -> SharedReservation {
        SharedReservation { places: self.places.clone(), ..reservation }
    }

    fn wait(&self, outcome: oneshot::Receiver<Outcome>) -> Wait {
        Wait { team: self.owner.clone(), places: self.places.clone(), outcome }
    }
}

impl Table {
    /// Makes one reservation of what was had of each owner. It is one call, whoever counts it.
    pub(super) fn join(&mut self, held: Vec<SharedReservation>) -> Option<SharedReservation> {
        let mut held = held;
        // The call's own Team first: it is told of all that the call costs. It has the first of the scopes, the key's.
        held.sort_by_key(|part| part.places.first().copied());
        let mut held = held.into_iter();
        let mut whole = held.next()?;
        whole.others = held.collect();
        for other in &whole.others {
            whole.charges.extend(other.charges.iter().cloned());
            self.beside = sum(self.beside, other);
        }
        Some(whole)
    }

    /// What a reservation is of others than the first owner ends with it.
    pub(super) fn part(&mut self, whole: &mut SharedReservation) -> Vec<SharedReservation> {
        let others = std::mem::take(&mut whole.others);
        for other in &others {
            self.beside = difference(self.beside, other);
        }
        others
    }

    /// What is left of the tightest limits of all owners.
    pub(super) fn rate_limits_of(
        &self,
        reservation: &SharedReservation,
        scopes: &[Limits],
        now: Now,
    ) -> RateLimitStatus {
        let all = std::iter::once(reservation).chain(&reservation.others);
        let each =
            all.filter_map(|one| self.sessions.get(&one.team).map(|session| session.rate_limits(one, scopes, now)));
        each.reduce(RateLimitStatus::tighter).unwrap_or_default()
    }
}

fn sum(open: Open, reservation: &SharedReservation) -> Open {
    Open {
        calls: open.calls + 1,
        tokens: open.tokens.saturating_add(reservation.tokens),
        money: open.money.plus(reservation.money),
    }
}

pub(super) fn difference(open: Open, reservation: &SharedReservation) -> Open {
    Open {
        calls: open.calls.saturating_sub(1),
        tokens: open.tokens.saturating_sub(reservation.tokens),
        money: open.money.minus(reservation.money),
    }
}
