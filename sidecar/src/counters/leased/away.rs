//! Calls while the store cannot be reached, or has come back and grants nothing yet.
//!
//! `Local`: each sidecar goes on with its share, the limit and the remaining money divided by the number of sidecars that
//! there were. What it has used itself in the last minute counts against the share; what others have used nobody knows: in
//! the first minute all of them together admit at most twice the limit. `Closed`: they are refused.

use std::time::Duration;

use vectoll_config::{PicoUsd, v1::OnStoreFailure};

use super::{
    session::{Outcome, RATES, Session, exhausted, rate_of},
    waiter::Waiter,
};
use crate::{
    clock::Now,
    counters::{Ask, Denial, Exhausted, Retry, worst::Worst},
};

/// When to come back to a store that does not answer.
const SOON: Duration = Duration::from_secs(1);

impl Session {
    /// Takes the call's room out of this sidecar's share.
    pub(super) fn reserve_share(&mut self, ask: &Ask<'_>, now: Now) -> Outcome {
        let Some(sidecars) = self.link.sidecars.filter(|_| ask.on_store_failure == OnStoreFailure::Local) else {
            return Err(away(0));
        };
        match self.weigh_share(ask, sidecars.max(1), now) {
            Some(denial) => Err(denial),
            None => Ok(self.take(ask, now, true)),
        }
    }

    /// A call that waited for the store, which is away now.
    pub(super) fn end_wait(&mut self, waiter: Waiter, now: Now) {
        self.count_waiting(&waiter.shortages, false);
        let outcome = {
            let scopes = waiter.scopes();
            self.reserve_share(&waiter.ask(&scopes), now)
        };
        self.tell(waiter, outcome, now);
    }

    fn weigh_share(&mut self, ask: &Ask<'_>, sidecars: u64, now: Now) -> Option<Denial> {
        let (store_ms, slot) = self.link.time(now);
        let valid = self.link.claims_hold(now.elapsed);
        let mut worst = Worst::default();
        for (place, scope) in ask.scopes.iter().enumerate() {
            let at = self.holding_of(&scope.account);
            let Some(holding) = self.holdings.get_mut(at) else { continue };
            for rate in RATES {
                let Some(limit) = rate_of(&scope.limits, rate) else { continue };
                let (need, share) = (ask.of(rate), limit / sidecars);
                let pool = holding.pool(rate);
                pool.own.advance(slot);
                if need <= pool.available(now.elapsed) {
                    continue;
                }
                match pool.own.wait(Duration::from_millis(store_ms), share, need) {
                    Some(Duration::ZERO) => {}
                    Some(wait) => worst.add(Denial {
                        scope: place,
                        exhausted: exhausted(rate),
                        limit: share,
                        used: pool.own.sum(),
                        retry: Retry::After(wait),
                    }),
                    // It is known to be too much, and not for want of the store: the limit says so.
                    None => worst.add(Denial { limit, ..away(place) }),
                }
            }
            if let Some(limit) = scope.limits.parallel_requests {
                let slots = &holding.slots;
                if slots.available(valid) == 0 && slots.used >= limit / sidecars {
                    let used = slots.used;
                    worst.add(Denial {
                        scope: place,
                        exhausted: Exhausted::Parallel,
                        limit,
                        used,
                        retry: Retry::WhenFree,
                    });
                }
            }
            if let Some(budget) = scope.budget {
                let at = holding.purse(&scope.account, budget, store_ms, now.elapsed);
                let Some(purse) = holding.purses.get_mut(at) else { continue };
                if purse.free < ask.money
                    && !purse.shared
                    && let Some(taken) = purse.taken
                {
                    purse.shared = true;
                    purse.free = purse.free.plus(PicoUsd::new(budget.limit.minus(taken).pico() / sidecars));
                }
                if purse.free < ask.money {
                    worst.add(away(place));
                }
            }
        }
        worst.told()
    }
}

/// The refusal that says nothing but that the store is needed.
pub(super) fn away(scope: usize) -> Denial {
    Denial { scope, exhausted: Exhausted::Store, limit: 0, used: 0, retry: Retry::After(SOON) }
}
