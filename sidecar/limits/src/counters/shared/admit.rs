//! A call is admitted from what is leased, or waits.

use tokio::sync::oneshot;

use super::{
    holding::{Holding, Taken},
    pool::Source,
    rates::signed,
    reservation::{Outcome, SharedReservation},
    session::Session,
    waiter::Waiter,
    weigh::Weighed,
};
use crate::{counters::ReserveRequest, store::protocol::Rate};
use vectoll_clock::Now;

pub(super) use super::weigh::Weighed as Judged;

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
        let judged = self.judge(ask, now);
        self.carry_out(judged, ask, now)
    }

    /// Holds a call against what is leased. Nothing is taken yet.
    pub(super) fn judge(&mut self, ask: &ReserveRequest<'_>, now: Now) -> Judged {
        self.sweep(now);
        self.weigh(ask, now, true)
    }

    /// Does with a call as it was judged.
    pub(super) fn carry_out(&mut self, judged: Judged, ask: &ReserveRequest<'_>, now: Now) -> Reserved {
        match judged {
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
        let (store_ms, second) = self.link.time(now);
        let mut taken = Vec::with_capacity(ask.scopes.len());
        let mut soon = false;
        let mut charges = Vec::new();
        for scope in ask.scopes {
            let at = self.holding_of(&scope.account, now);
            let Some(holding) = self.holdings.get_mut(at) else { continue };
            let name = holding.name.clone();
            // What nobody has leased is told to the store: of a share, and of what goes beyond a limit on trial.
            let takes_leases = |rate| !share && !scope.waived.has_rate(rate);
            let mut take = |holding: &mut Holding, rate: Rate| {
                let need = ask.of(rate);
                let is_limited = rate.limit(&scope.limits).is_some();
                let pool = holding.pool(rate);
                let slot = pool.own.slot(second);
                match is_limited {
                    true if takes_leases(rate) || pool.available(now.elapsed) >= need => {
                        let parts = pool.take(need, now.elapsed, slot);
                        soon |= pool.runs_low(now.elapsed);
                        parts
                    }
                    true => pool.take_from(Source::Share, need, now.elapsed, slot),
                    false => pool.take_from(Source::Unlimited, need, now.elapsed, slot),
                }
            };
            let [requests, tokens] = Rate::PER_MINUTE.map(|rate| take(holding, rate));
            let mut long = Vec::new();
            if scope.limits.has_long() {
                let limited = Rate::LONG.into_iter().filter(|rate| rate.limit(&scope.limits).is_some());
                long.extend(limited.map(|rate| (rate, take(holding, rate))));
            }
            holding.slots.begin(now.elapsed);
            holding.open += 1;
            let mut reserved_in = Vec::with_capacity(scope.budgets.len());
            for budget in scope.budgets {
                let balance = holding.balance(&scope.account, budget, store_ms, now.elapsed);
                let Some(balance) = holding.balances.get_mut(balance) else { continue };
                balance.reserve(ask.money, now.elapsed);
                soon |= balance.runs_low(now.elapsed);
                reserved_in.push(balance.charge.clone());
            }
            charges.extend(reserved_in.iter().cloned());
            let taken_here = Taken { holding: at, second, requests, tokens, long, charges: reserved_in };
            for (rate, parts) in taken_here.parts() {
                for part in parts.iter().filter(|part| part.source == Source::Share) {
                    self.correct(&name, rate, part.slot, signed(part.amount));
                }
            }
            taken.push(taken_here);
        }
        self.link.soon |= soon;
        self.open.calls += 1;
        self.open.tokens = self.open.tokens.saturating_add(ask.tokens);
        self.open.money = self.open.money.plus(ask.money);
        let ReserveRequest { requests, tokens, money, .. } = *ask;
        let (places, others) = (Vec::new(), Vec::new());
        SharedReservation { team: ask.team.clone(), taken, requests, tokens, money, charges, places, others }
    }
}
