//! What a call takes of a backend's limits, so that calls go elsewhere before its provider refuses them: counted by this sidecar,
//! or by all of them together, as the limits of Teams are.

use std::{sync::Arc, time::Duration};

use vectoll_config::{
    PicoUsd,
    v1::{Limits, OnStoreFailure},
};

use super::Accounting;
use crate::policy::Backend;
use vectoll_clock::Clock;
use vectoll_ledger::used::Used;
use vectoll_limits::counters::{
    Account, Counters, Denial, Exhausted, QuotaReservation, ReserveRequest, Reserved, Retry, Scope,
};

/// A provider's limits have no room for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// When they may have; none: nobody knows, or never.
    pub wait: Option<Duration>,
}

impl QuotaExceeded {
    /// The sooner of two waits; one of which nothing is known is the later one.
    #[must_use]
    pub fn or_sooner(self, other: Option<Self>) -> Self {
        match (self.wait, other.and_then(|other| other.wait)) {
            (Some(a), Some(b)) => Self { wait: Some(a.min(b)) },
            (one, other) => Self { wait: one.or(other) },
        }
    }
}

/// What a call takes of a provider's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests: more than one where it is split.
    pub requests: u64,
    /// Tokens.
    pub tokens: u64,
}

/// A call's part of a provider's limits. Dropped without a word, nothing was used of it.
#[derive(Debug)]
pub struct BackendQuota {
    counters: Arc<Counters>,
    clock: Clock,
    /// None once it was used.
    quota: Option<QuotaReservation>,
}

impl BackendQuota {
    /// Takes a part of a backend's limits; none where it has no limits, or nobody can tell: then the provider decides. Waits only
    /// for a store. `load` is not asked for where nothing is limited.
    pub async fn take(
        accounting: &Accounting,
        backend: &Backend,
        load: impl FnOnce() -> Load,
    ) -> Result<Option<Self>, QuotaExceeded> {
        if backend.limits.is_none() {
            return Ok(None);
        }
        take(&accounting.counters, accounting.clock, &backend.account, backend.limits, load()).await
    }

    /// The provider was asked, and this is what the call turned out to use.
    pub fn used(mut self, tokens: u64) {
        if let Some(quota) = self.quota.take() {
            self.counters.settle(quota, Used { tokens, money: PicoUsd::ZERO }, 0, self.clock.now());
        }
    }
}

impl Drop for BackendQuota {
    fn drop(&mut self) {
        if let Some(quota) = self.quota.take() {
            self.counters.give_back(quota);
        }
    }
}

async fn take(
    counters: &Arc<Counters>,
    clock: Clock,
    account: &vectoll_config::Uid,
    limits: Limits,
    load: Load,
) -> Result<Option<BackendQuota>, QuotaExceeded> {
    let scopes = [Scope::new(Account::Backend(account.clone()), limits, &[])];
    let Load { requests, tokens } = load;
    let ask = ReserveRequest {
        team: account,
        scopes: &scopes,
        requests,
        tokens,
        money: PicoUsd::ZERO,
        // No money hangs on it: the provider itself holds its limits.
        on_store_failure: OnStoreFailure::Local,
    };
    let outcome = match counters.reserve(&ask, clock.now()) {
        Reserved::Now(outcome) => outcome,
        Reserved::Later(pending) => pending.outcome().await,
    };
    match outcome {
        Ok(quota) => Ok(Some(BackendQuota { counters: counters.clone(), clock, quota: Some(quota) })),
        // Nobody can tell what a share is. Where it is known, and too small, the limit is named.
        Err(Denial { exhausted: Exhausted::Store, limit: 0, .. }) => Ok(None),
        Err(Denial { retry, .. }) => Err(QuotaExceeded {
            wait: match retry {
                Retry::WhenFree => Some(Duration::from_secs(1)),
                Retry::After(wait) => Some(wait),
                Retry::Never => None,
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_config::Uid;

    use super::*;
    use vectoll_limits::counters::{LocalCounters, SharedCounters};

    const LIMITS: Limits = Limits {
        requests_per_minute: Some(3),
        tokens_per_minute: Some(100),
        parallel_requests: Some(2),
        ..Limits::NONE
    };

    struct Provider(Arc<Counters>, Clock);

    impl Provider {
        fn new() -> Self {
            let clock = Clock::start();
            Self(
                Arc::new(Counters::new(Arc::new(LocalCounters::default()), Arc::new(SharedCounters::new(clock)))),
                clock,
            )
        }

        async fn take(&self, requests: u64, tokens: u64) -> Result<BackendQuota, QuotaExceeded> {
            let Self(counters, clock) = self;
            let load = Load { requests, tokens };
            take(counters, *clock, &Uid::new("backend::ns/route/one"), LIMITS, load).await.map(Option::unwrap)
        }

        async fn wait(&self, requests: u64, tokens: u64) -> Option<Duration> {
            self.take(requests, tokens).await.unwrap_err().wait
        }
    }

    #[tokio::test]
    async fn each_limit_keeps_calls_out_for_its_time() {
        let provider = Provider::new();
        assert_eq!(provider.wait(1, 101).await, None, "it never fits");
        assert_eq!(provider.wait(4, 1).await, None, "each of its requests counts");
        let first = provider.take(1, 90).await.unwrap();
        assert!(provider.wait(1, 11).await > Some(Duration::from_secs(58)));
        let second = provider.take(1, 10).await.unwrap();
        assert_eq!(provider.0.open().calls, 0, "these are no calls");
        assert!(provider.wait(1, 0).await <= Some(Duration::from_secs(1)), "two at once");
        first.used(50);
        second.used(10);
        assert!(provider.wait(2, 0).await > Some(Duration::from_secs(58)), "three a minute");
        let third = provider.take(1, 40).await.unwrap();
        drop(third);
        drop(provider.take(1, 40).await.unwrap());
    }

    #[tokio::test]
    async fn with_a_store_it_is_no_call_either() {
        let Provider(counters, clock) = Provider::new();
        counters.use_store(true);
        let load = Load { requests: 1, tokens: 7 };
        let room = take(&counters, clock, &Uid::new("backend::ns/route/one"), Limits::default(), load).await.unwrap();
        assert!(room.is_some(), "what is not limited needs no store");
        assert_eq!(counters.open().calls, 0);
        room.unwrap().used(7);
        assert_eq!(counters.open().calls, 0);
    }

    #[test]
    fn of_two_waits_the_sooner_one_is_told() {
        let full = |wait: Option<u64>| QuotaExceeded { wait: wait.map(Duration::from_secs) };
        for (one, other, told) in
            [(Some(2), Some(3), Some(2)), (Some(2), None, Some(2)), (None, Some(3), Some(3)), (None, None, None)]
        {
            assert_eq!(full(one).or_sooner(Some(full(other))), full(told));
        }
        assert_eq!(full(Some(2)).or_sooner(None), full(Some(2)));
    }
}
