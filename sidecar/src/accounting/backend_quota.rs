//! What a call takes of a backend's limits and budgets, so that calls go elsewhere before its provider refuses them, or is owed more
//! than somebody wants to owe it: counted by this sidecar, or by all of them together, as those of Teams are.

use std::{sync::Arc, time::Duration};

use vectoll_config::{
    PicoUsd, Uid,
    v1::{Budget, Limits, OnStoreFailure, Period},
};

use super::{Accounting, WouldReject};
use crate::{call::Call, policy::Backend};
use vectoll_clock::Clock;
use vectoll_ledger::{charge::BudgetPeriod, used::Used};
use vectoll_limits::counters::{
    Account, Counters, Denial, Exhausted, QuotaReservation, ReserveRequest, Reserved, Retry, Scope, Waived,
};

/// A provider's limits have no room for a call, or its budget has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// When they may have; none: nobody knows, or never.
    pub wait: Option<Duration>,
    /// By what of the backend it was denied.
    pub denied_by: DeniedBy,
}

/// By what of a backend a call was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeniedBy {
    /// A limit.
    Limit,
    /// A budget.
    Budget(SpentBudget),
    /// A budget of which only the store can say what is left, and it is away.
    Store,
}

/// A backend's budget that has no room for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentBudget {
    /// The backend, `namespace/route/backend`.
    pub backend: Arc<str>,
    /// How much it is.
    pub limit: PicoUsd,
    /// For how long.
    pub period: Period,
    /// Whether nothing is known of what a call costs there.
    pub is_unpriced: bool,
}

impl QuotaExceeded {
    /// The sooner of two waits; one of which nothing is known is the later one.
    #[must_use]
    pub fn or_sooner(self, other: Option<Self>) -> Self {
        match (self.wait, other) {
            (_, None) => self,
            (Some(a), Some(other)) if other.wait.is_none_or(|b| a <= b) => self,
            (None, Some(other)) if other.wait.is_none() => self,
            (_, Some(other)) => other,
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

/// A call's part of a provider's limits and budgets. Dropped without a word, nothing was used of it.
#[derive(Debug)]
pub struct BackendQuota {
    counters: Arc<Counters>,
    clock: Clock,
    /// None once it was used.
    quota: Option<QuotaReservation>,
}

/// What a backend holds calls to.
#[derive(Clone, Copy, Debug)]
struct HeldTo<'a> {
    account: &'a Uid,
    limits: Limits,
    budgets: &'a [Budget],
}

impl BackendQuota {
    /// Takes a part of a backend's limits and budgets; none where it has none, or nobody can tell of limits: then the provider decides.
    /// Waits only for a store. `load` is not asked for where nothing is limited. `call` is told what a budget on trial would have refused.
    pub async fn take(
        accounting: &Accounting,
        backend: &Backend,
        call: Option<&Call>,
        load: impl FnOnce() -> Load,
    ) -> Result<Option<Self>, QuotaExceeded> {
        if !backend.is_limited() {
            return Ok(None);
        }
        let load = load();
        let held_to = HeldTo { account: &backend.account, limits: backend.limits, budgets: &backend.budgets };
        let spent = |budget: &Budget, is_unpriced| SpentBudget {
            backend: backend.label.clone(),
            limit: budget.limit_at(accounting.now().wall),
            period: budget.period,
            is_unpriced,
        };
        let mut waived = Waived::default();
        let money = match (backend.price, backend.budgets.iter().find(|budget| !budget.audit)) {
            (Some(price), _) => price.of(load.tokens),
            (None, None) => PicoUsd::ZERO,
            // What it will owe nobody knows.
            (None, Some(budget)) => {
                return Err(QuotaExceeded { wait: None, denied_by: DeniedBy::Budget(spent(budget, true)) });
            }
        };
        loop {
            let denied = match take(&accounting.counters, accounting.clock, (held_to, waived), load, money).await {
                Ok(quota) => return Ok(quota),
                Err(denied) => denied,
            };
            let reason = reason(&denied, &backend.budgets);
            // Each is waived once: the second time it refuses for another reason.
            let is_waived = match reason {
                Reason::Limit => false,
                Reason::Budget(budget) => budget.audit && waived.add(denied.exhausted),
                Reason::Store => backend.budgets.iter().all(|budget| budget.audit) && waived.add_budgets(),
            };
            if !is_waived {
                let wait = match denied.retry {
                    Retry::WhenFree => Some(Duration::from_secs(1)),
                    Retry::After(wait) => Some(wait),
                    Retry::Never => None,
                };
                let denied_by = match reason {
                    Reason::Limit => DeniedBy::Limit,
                    Reason::Budget(budget) => DeniedBy::Budget(spent(budget, false)),
                    Reason::Store => DeniedBy::Store,
                };
                return Err(QuotaExceeded { wait, denied_by });
            }
            if let Some(call) = call {
                note(accounting, call);
            }
        }
    }

    /// The budgets that its money was reserved in.
    pub fn charges(&self) -> &[Arc<BudgetPeriod>] {
        self.quota.as_ref().map(QuotaReservation::charges).unwrap_or_default()
    }

    /// The provider was asked, and this is what the call turned out to use. It owes nothing for it.
    pub fn used(self, tokens: u64) {
        self.settle(Used { tokens, money: PicoUsd::ZERO }, 0);
    }

    /// The same with what is owed for it. `number`: the settlement's in the journal.
    pub fn settle(mut self, used: Used, number: u64) {
        if let Some(quota) = self.quota.take() {
            // A store has nothing to be told of where nothing is owed to anybody with a budget.
            let number = if quota.charges().is_empty() { 0 } else { number };
            self.counters.settle(quota, used, number, self.clock.now());
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

/// Counts what a budget on trial would have done, and tells the call's log: it is found after the call was admitted.
fn note(accounting: &Accounting, call: &Call) {
    let found = WouldReject { scope: "backend", reason: "budget" };
    if call.outcome.note_backend_trial(found) {
        call.entry.would_reject(call.outcome.would_reject().map(|found| (found.scope, found.reason)));
        accounting.trials.count(&[found]);
    }
}

/// What of a backend a call was refused for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reason<'a> {
    Limit,
    Budget(&'a Budget),
    /// What is left of a budget, or this sidecar's share of it, is not known to be enough.
    Store,
}

fn reason<'a>(denied: &Denial, budgets: &'a [Budget]) -> Reason<'a> {
    match denied.exhausted {
        Exhausted::Budget(place) => budgets.get(place).map_or(Reason::Limit, Reason::Budget),
        // Where a share of a limit is known, and too small, the limit is named.
        Exhausted::Store if denied.limit == 0 && !budgets.is_empty() => Reason::Store,
        Exhausted::Store | Exhausted::Rate(_) | Exhausted::Parallel => Reason::Limit,
    }
}

async fn take(
    counters: &Arc<Counters>,
    clock: Clock,
    (held_to, waived): (HeldTo<'_>, Waived),
    load: Load,
    money: PicoUsd,
) -> Result<Option<BackendQuota>, Denial> {
    let mut all_waived = waived;
    match reserve(counters, clock, (held_to, waived), load, money).await {
        // Nobody can tell what a share is. Where it is known, and too small, the limit is named. Of money nobody goes on without it.
        Err(Denial { exhausted: Exhausted::Store, limit: 0, .. })
            if (0..held_to.budgets.len()).all(|place| waived.has_budget(place)) =>
        {
            // What is spent counts in a budget on trial all the same.
            if held_to.budgets.is_empty() || !all_waived.add_all() {
                return Ok(None);
            }
            Ok(reserve(counters, clock, (held_to, all_waived), load, money).await.ok())
        }
        outcome => outcome.map(Some),
    }
}

async fn reserve(
    counters: &Arc<Counters>,
    clock: Clock,
    (HeldTo { account, limits, budgets }, waived): (HeldTo<'_>, Waived),
    load: Load,
    money: PicoUsd,
) -> Result<BackendQuota, Denial> {
    let scopes = [Scope { waived, ..Scope::new(Account::Backend(account.clone()), limits, budgets) }];
    let Load { requests, tokens } = load;
    let ask = ReserveRequest {
        team: account,
        scopes: &scopes,
        requests,
        tokens,
        money,
        // The provider itself holds its limits, and of a budget each sidecar has its share.
        on_store_failure: OnStoreFailure::Local,
    };
    let outcome = match counters.reserve(&ask, clock.now()) {
        Reserved::Now(outcome) => outcome,
        Reserved::Later(pending) => pending.outcome().await,
    };
    outcome.map(|quota| BackendQuota { counters: counters.clone(), clock, quota: Some(quota) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
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

        async fn take(&self, requests: u64, tokens: u64) -> Result<BackendQuota, Denial> {
            let Self(counters, clock) = self;
            let load = Load { requests, tokens };
            let held_to = HeldTo { account: &Uid::new("backend::ns/route/one"), limits: LIMITS, budgets: &[] };
            take(counters, *clock, (held_to, Waived::default()), load, PicoUsd::ZERO).await.map(Option::unwrap)
        }

        async fn wait(&self, requests: u64, tokens: u64) -> Option<Duration> {
            match self.take(requests, tokens).await.unwrap_err().retry {
                Retry::WhenFree => Some(Duration::from_secs(1)),
                Retry::After(wait) => Some(wait),
                Retry::Never => None,
            }
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
        let account = Uid::new("backend::ns/route/one");
        let held_to = HeldTo { account: &account, limits: Limits::default(), budgets: &[] };
        let quota = take(&counters, clock, (held_to, Waived::default()), load, PicoUsd::ZERO).await.unwrap();
        assert!(quota.is_some(), "what is not limited needs no store");
        assert_eq!(counters.open().calls, 0);
        quota.unwrap().used(7);
        assert_eq!(counters.open().calls, 0);
    }

    #[tokio::test]
    async fn without_a_known_share_a_budget_on_trial_refuses_nothing_and_one_that_is_enforced_says_that_the_store_is_away()
     {
        let Provider(counters, clock) = Provider::new();
        counters.use_store(true);
        // As where the store has never answered.
        counters.together().begin_recall();
        let account = Uid::new("backend:one:ns/route/one");
        let zone = vectoll_config::ZoneName::try_from("UTC".to_owned()).unwrap();
        let enforced = Budget::new(PicoUsd::new(100), Period::Total, zone);
        let trial = Budget { audit: true, ..enforced.clone() };
        let load = Load { requests: 1, tokens: 7 };
        let ask = async |budgets: &[Budget], waived: Waived| {
            let held_to = HeldTo { account: &account, limits: LIMITS, budgets };
            take(&counters, clock, (held_to, waived), load, PicoUsd::new(7)).await
        };
        let on_trial = std::slice::from_ref(&trial);
        let denied = ask(on_trial, Waived::default()).await.unwrap_err();
        assert_eq!(reason(&denied, on_trial), Reason::Store);
        let mut waived = Waived::default();
        assert!(waived.add_budgets());
        let quota = ask(on_trial, waived).await.unwrap().unwrap();
        assert_eq!(quota.charges().len(), 1, "what is spent counts in it");
        let both = [trial, enforced];
        let denied = ask(&both, Waived::default()).await.unwrap_err();
        assert_eq!(reason(&denied, &both), Reason::Store, "not that a budget is exceeded");
        let share = Denial { limit: 3, ..denied };
        assert_eq!((reason(&share, &both), reason(&denied, &[])), (Reason::Limit, Reason::Limit));
    }

    #[test]
    fn of_two_waits_the_sooner_one_is_told() {
        let exceeded =
            |wait: Option<u64>| QuotaExceeded { wait: wait.map(Duration::from_secs), denied_by: DeniedBy::Limit };
        for (one, other, told) in
            [(Some(2), Some(3), Some(2)), (Some(2), None, Some(2)), (None, Some(3), Some(3)), (None, None, None)]
        {
            assert_eq!(exceeded(one).or_sooner(Some(exceeded(other))), exceeded(told));
        }
        assert_eq!(exceeded(Some(2)).or_sooner(None), exceeded(Some(2)));
    }
}
