//! Calls while the store cannot be reached, or has come back and grants nothing yet.
//!
//! `Local`: each sidecar goes on with its share, the limit and the remaining money divided by the number of sidecars that
//! there were. What it has used itself in the last minute counts against the share; what others have used nobody knows: in
//! the first minute (hour, day) all of them together admit at most twice the limit. `Closed`: they are refused.

use std::{collections::VecDeque, time::Duration};

use vectoll_config::{PicoUsd, v1::OnStoreFailure};

use super::{link::SILENCE, names::at_ms, rates::rates, reservation::Outcome, session::Session, waiter::Waiter};
use crate::counters::{Denial, Exhausted, ReserveRequest, Retry, longest_denial::LongestDenial};
use vectoll_clock::Now;

/// When to come back to a store that does not answer.
const RETRY_DELAY: Duration = Duration::from_secs(1);

impl Session {
    /// Takes the call's room out of this sidecar's share.
    pub(super) fn reserve_share(&mut self, ask: &ReserveRequest<'_>, now: Now) -> Outcome {
        let Some(sidecars) = self.link.sidecars.filter(|_| ask.on_store_failure == OnStoreFailure::Local) else {
            return Err(away(0));
        };
        match self.weigh_share(ask, sidecars.max(1), now) {
            Some(denial) => Err(denial),
            None => Ok(self.take(ask, now, true)),
        }
    }

    /// Calls that wait although the store has said nothing for a while, and nobody found that it is away: an exchange cannot be
    /// built, or its answer not be read. Those that may have a share have it now.
    pub(super) fn end_waits_in_vain(&mut self, now: Now) {
        if self.link.sidecars.is_none() || !self.link.is_silent(now.elapsed) {
            return;
        }
        let is_over = |waiter: &Waiter| {
            waiter.on_failure == OnStoreFailure::Local && now.elapsed.saturating_sub(waiter.since) >= SILENCE
        };
        let (over, waiting): (VecDeque<Waiter>, VecDeque<Waiter>) =
            std::mem::take(&mut self.waiters).into_iter().partition(is_over);
        self.waiters = waiting;
        for waiter in over {
            self.end_wait(waiter, now);
        }
    }

    /// A call that waited for the store, which is away now.
    pub(super) fn end_wait(&mut self, waiter: Waiter, now: Now) {
        self.count_waiting(&waiter.shortages, false);
        let outcome = {
            let scopes = waiter.scopes();
            self.reserve_share(&waiter.ask(&scopes), now)
        };
        self.notify(waiter, outcome);
    }

    fn weigh_share(&mut self, ask: &ReserveRequest<'_>, sidecars: u64, now: Now) -> Option<Denial> {
        let (store_ms, second) = self.link.time(now);
        let valid = self.link.claims_hold(now.elapsed);
        let mut worst = LongestDenial::default();
        for (place, scope) in ask.scopes.iter().enumerate() {
            let at = self.holding_of(&scope.account, now);
            let Some(holding) = self.holdings.get_mut(at) else { continue };
            for rate in rates(&scope.limits) {
                let limit = rate.limit(&scope.limits).filter(|_| !scope.waived.has_rate(rate));
                let Some(limit) = limit else { continue };
                let (need, share) = (ask.of(rate), limit / sidecars);
                let pool = holding.pool(rate);
                pool.own.advance(pool.own.slot(second));
                if need <= pool.available(now.elapsed) {
                    continue;
                }
                match pool.own.wait(Duration::from_millis(store_ms), share, need) {
                    Some(Duration::ZERO) => {}
                    Some(wait) => worst.add(Denial {
                        scope: place,
                        exhausted: Exhausted::Rate(rate),
                        limit: share,
                        used: pool.own.sum(),
                        retry: Retry::After(wait),
                    }),
                    // It is known to be too much, and not for want of the store: the limit says so.
                    None => worst.add(Denial { limit, ..away(place) }),
                }
            }
            if let Some(limit) = scope.limits.parallel_requests.filter(|_| !scope.waived.has_parallel()) {
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
            let held_to = scope.budgets.iter().enumerate().filter(|(place, _)| !scope.waived.has_budget(*place));
            for (_, budget) in held_to {
                let at = holding.balance(&scope.account, budget, store_ms, now.elapsed);
                let Some(balance) = holding.balances.get_mut(at) else { continue };
                if balance.free < ask.money
                    && !balance.shared
                    && let Some(taken) = balance.taken
                {
                    balance.shared = true;
                    balance.free = balance
                        .free
                        .plus(PicoUsd::new(budget.limit_at(at_ms(store_ms)).minus(taken).pico() / sidecars));
                }
                if balance.free < ask.money {
                    worst.add(away(place));
                }
            }
        }
        worst.into_denial()
    }
}

/// The refusal that says nothing but that the store is needed.
pub(super) fn away(scope: usize) -> Denial {
    Denial { scope, exhausted: Exhausted::Store, limit: 0, used: 0, retry: Retry::After(RETRY_DELAY) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::sync::Arc;

    use jiff::Timestamp;
    use vectoll_config::{Uid, v1::Limits};

    use crate::{
        counters::{
            Account, Exhausted, ReserveRequest, Reserved, Scope,
            shared::{Batch, SharedCounters},
        },
        store::{Model, Server, protocol::Identity},
    };
    use vectoll_clock::Clock;

    use super::*;

    type Decided = Result<(), Denial>;

    /// A sidecar whose store has answered once. What asks it next waits, and no exchange is built for it.
    async fn waiting(on_store_failure: OnStoreFailure) -> (Decided, Duration) {
        let clock = Clock::start();
        let (leased, team) = (Arc::new(SharedCounters::new(clock)), Uid::new("team"));
        let limits = Limits { tokens_per_minute: Some(100), ..Limits::default() };
        let scopes = [Scope::new(Account::Team(team.clone()), limits, &[])];
        let reserve = |tokens| {
            let (requests, money) = (1, PicoUsd::ZERO);
            let ask = ReserveRequest { team: &team, scopes: &scopes, requests, tokens, money, on_store_failure };
            leased.reserve(&ask, clock.now())
        };
        let Reserved::Later(first) = reserve(10) else { panic!("nothing is leased yet") };
        let (mut store, identity) = (Model::default(), Identity { sidecar: "a".into(), epoch: 1 });
        let exchange = leased.exchange(&team, 0, |_| Batch::default(), clock.now());
        let ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap();
        let server = Server { run: "one".into(), uptime: 100, clock: ms };
        leased.reply(&team, &identity, &store.exchange(&server, &identity, &exchange), clock.now());
        first.outcome().await.unwrap();
        let Reserved::Later(second) = reserve(60) else { panic!("so much is not leased") };
        let begun = std::time::Instant::now();
        (second.outcome().await.map(|_| ()), begun.elapsed())
    }

    #[tokio::test]
    async fn a_call_that_waits_in_vain_has_its_share_or_is_refused_as_the_team_says() {
        let ((local, soon), (closed, _)) =
            tokio::join!(waiting(OnStoreFailure::Local), waiting(OnStoreFailure::Closed));
        assert_eq!(local, Ok(()));
        assert!(soon < Duration::from_secs(6), "{soon:?}");
        assert_eq!(closed.unwrap_err().exhausted, Exhausted::Store);
    }
}
