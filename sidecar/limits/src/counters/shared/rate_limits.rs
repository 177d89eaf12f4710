//! What is left and what is taken, as far as this sidecar knows.

use std::time::Duration;

use vectoll_config::{
    PicoUsd,
    v1::{Budget, Limits},
};

use super::{SharedReservation, pool::Pool, rates::rates, session::Session};
use crate::{
    counters::{Account, Quota, RateLimitStatus},
    store::protocol::{Counted, Per},
};
use vectoll_clock::Now;

impl Session {
    /// What is left of the tightest limits, as far as this sidecar knows.
    pub(crate) fn rate_limits(&self, reservation: &SharedReservation, scopes: &[Limits], now: Now) -> RateLimitStatus {
        let mut rate_limits = RateLimitStatus::default();
        let store_ms = self.link.store_ms(now);
        for (at, taken) in reservation.taken.iter().enumerate() {
            let place = reservation.places.get(at).copied().unwrap_or(at);
            let (Some(limits), Some(holding)) = (scopes.get(place), self.holdings.get(taken.holding)) else { continue };
            for rate in rates(limits) {
                let (Some(limit), Some(pool)) = (rate.limit(limits), holding.present_pool(rate)) else { continue };
                let present = quota_of(pool, rate.per, limit, now, store_ms);
                let quota = match rate.of {
                    Counted::Requests => &mut rate_limits.requests,
                    Counted::Tokens => &mut rate_limits.tokens,
                };
                if quota.is_none_or(|tightest| present.remaining < tightest.remaining) {
                    *quota = Some(present);
                }
            }
        }
        rate_limits
    }

    /// What is taken of a budget, by what the store said last; none: it was not asked in this period.
    pub(crate) fn taken(&self, account: &Account, budget: &Budget, now: Now) -> Option<PicoUsd> {
        let store_ms = self.link.store_ms(now);
        let holding = self.holdings.get(self.holdings.place_of(account)?)?;
        let balance = holding.balances.iter().find(|it| it.is_for(budget, store_ms))?;
        // Its own money that no call has is still to be had here.
        Some(balance.taken?.minus(balance.free))
    }
}

fn quota_of(pool: &Pool, per: Per, limit: u64, now: Now, store_ms: u64) -> Quota {
    let (taken, reset) = match pool.snapshot {
        Some(snapshot) => (snapshot.taken, snapshot.reset_at.saturating_sub(now.elapsed)),
        None => (pool.own.sum(), Duration::ZERO),
    };
    // Leased and not used yet: to be had here.
    let taken = taken.saturating_sub(pool.available(now.elapsed));
    let reset = if reset > Duration::ZERO { reset } else { pool.own.reset(Duration::from_millis(store_ms)) };
    Quota { limit, remaining: limit.saturating_sub(taken), reset, per }
}
