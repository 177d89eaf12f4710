//! A call is admitted from what is leased, or waits.

use tokio::sync::oneshot;

use super::{
    holding::Taken,
    pool::Source,
    rates::{RATES, rate_of, signed},
    reservation::{Outcome, SharedReservation},
    session::Session,
    waiter::Waiter,
    weigh::Weighed,
};
use crate::counters::ReserveRequest;
use vectoll_clock::Now;

/// A reservation that has its outcome, or the place where it will arrive.
#[derive(Debug)]
pub(crate) enum Reserved {
    Now(Outcome),
    Later(oneshot::Receiver<Outcome>),
}

impl Session {
    /// Takes the call's room in all scopes from what is leased. Where that is not enough the call waits for the store, or, if
    /// that is away, has this sidecar's share.
    pub(crate) fn reserve(&mut self, ask: &ReserveRequest<'_>, now: Now) -> Reserved {
        self.sweep(now);
        match self.weigh(ask, now, true) {
            Weighed::Fits => Reserved::Now(Ok(self.take(ask, now, false))),
            Weighed::Denied(denial) => Reserved::Now(Err(denial)),
            Weighed::Short(_) if self.link.serves_shares(now.elapsed) || self.link.is_away() => {
                Reserved::Now(self.reserve_share(ask, now))
            }
            Weighed::Short(shortages) => {
                let (tell, outcome) = oneshot::channel();
                self.count_waiting(&shortages, true);
                self.waiters.push_back(Waiter::new(ask, shortages, now.elapsed, tell));
                Reserved::Later(outcome)
            }
        }
    }

    /// Takes what the call was found to fit into; or, as a share, what nobody has leased.
    pub(super) fn take(&mut self, ask: &ReserveRequest<'_>, now: Now, share: bool) -> SharedReservation {
        let (store_ms, slot) = self.link.time(now);
        let mut taken = Vec::with_capacity(ask.scopes.len());
        let mut soon = false;
        let mut charges = Vec::new();
        for scope in ask.scopes {
            let at = self.holding_of(&scope.account, now);
            let Some(holding) = self.holdings.get_mut(at) else { continue };
            let name = holding.name.clone();
            let mut parts = RATES.map(|rate| {
                let need = ask.of(rate);
                let limited = rate_of(&scope.limits, rate).is_some();
                let pool = holding.pool(rate);
                match limited {
                    true if !share || pool.available(now.elapsed) >= need => {
                        let parts = pool.take(need, now.elapsed, slot);
                        soon |= pool.runs_low(now.elapsed);
                        parts
                    }
                    true => pool.take_from(Source::Share, need, now.elapsed, slot),
                    false => pool.take_from(Source::Unlimited, need, now.elapsed, slot),
                }
            });
            holding.slots.begin(now.elapsed);
            holding.open += 1;
            let charge = scope.budget.and_then(|budget| {
                let balance = holding.balance(&scope.account, budget, store_ms, now.elapsed);
                let balance = holding.balances.get_mut(balance)?;
                balance.reserve(ask.money, now.elapsed);
                soon |= balance.runs_low(now.elapsed);
                Some(balance.charge.clone())
            });
            charges.extend(charge.clone());
            for (rate, parts) in RATES.iter().zip(&parts) {
                for part in parts.iter().filter(|part| part.source == Source::Share) {
                    self.correct(&name, *rate, part.slot, signed(part.amount));
                }
            }
            let [requests, tokens] = std::mem::take(&mut parts);
            taken.push(Taken { holding: at, slot, requests, tokens, charge });
        }
        self.link.soon |= soon;
        self.open.calls += 1;
        self.open.tokens = self.open.tokens.saturating_add(ask.tokens);
        self.open.money = self.open.money.plus(ask.money);
        let ReserveRequest { requests, tokens, money, .. } = *ask;
        SharedReservation { team: ask.team.clone(), taken, requests, tokens, money, charges }
    }
}
