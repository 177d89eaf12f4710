//! What must hold, at every moment and at rest.
//!
//! **The promise while limits are edited**: what is admitted of an account in any 60 seconds is at most the largest limit that was
//! in force during them. A limit is in force from when it was published until no sidecar serves by it and no call that came
//! under it waits. Without a limit there is no bound. Of calls at once: the largest since the oldest of them began. Of a
//! budget's period: the largest since it began.

use vectoll_config::{
    PicoUsd,
    v1::{Budget, Limits, OnStoreFailure},
};

use super::{
    config::{ACCOUNTS, Config},
    simulated_cluster::{Running, Sidecar, SimulatedCluster},
};
use crate::{
    counters::{Open, account_name, period_of},
    store::protocol::{Counted, Rate},
};

impl SimulatedCluster {
    /// How many times a limit may be used while the store is away.
    fn factor(&self) -> u64 {
        if self.kind.on_failure == OnStoreFailure::Closed { 1 } else { 2 }
    }

    /// The largest limit of an account that was in force after a moment of the store's time; none: there was a time without.
    fn largest(&self, account: usize, since: u64, of: impl Fn(&Limits) -> Option<u64>) -> Option<u64> {
        let limits: Option<Vec<u64>> =
            self.in_force_since(since).map(|config: &Config| of(&config.limits[account])).collect();
        limits?.into_iter().max()
    }

    /// At every admission: no 60 seconds over a limit, no money over the budget, no more calls at once than allowed.
    pub(super) fn hold_promises(&mut self) {
        let Some(last) = self.admissions.last() else { return };
        assert!(self.factor() == 2 || !last.share, "a share was given though Closed");
        let (at, accounts, charges) = (last.at, last.accounts, last.charges.clone());
        for account in accounts {
            self.forget(account, at);
            self.hold_rates(account, at);
            self.hold_parallel(account, at);
        }
        for charge in charges {
            let account = super::call::payer(&charge);
            let since = u64::try_from(charge.start.as_millisecond()).unwrap_or_default();
            let budgets = self.in_force_since(since).flat_map(|config| &config.budgets[account]);
            let budgets = budgets.filter(|budget| budget.period == charge.period && budget.time_zone == charge.zone);
            let limit = budgets.map(|budget: &Budget| budget.limit.pico()).max().unwrap();
            let taken = self.money[&(account, period_of(&charge))];
            let factor = self.factor();
            assert!(taken <= factor * limit, "account {account}: {taken} of {limit} spent at {}", self.now);
        }
    }

    /// Forgets what has left the window.
    fn forget(&mut self, account: usize, latest: u64) {
        let lately = &mut self.lately[account];
        while let Some(first) = lately.admissions.front()
            && self.admissions[*first].at + 60_000 <= latest
        {
            lately.tokens -= self.admissions[*first].tokens;
            lately.admissions.pop_front();
        }
    }

    fn hold_rates(&self, account: usize, at: u64) {
        let (since, factor, now) = (at - 60_000, self.factor(), self.now);
        let lately = &self.lately[account];
        if let Some(limit) = self.largest(account, since, |limits| limits.tokens_per_minute) {
            let tokens = lately.tokens;
            assert!(tokens <= factor * limit, "account {account}: {tokens} tokens of {limit} in 60 s at {now}");
        }
        if let Some(limit) = self.largest(account, since, |limits| limits.requests_per_minute) {
            let requests = lately.admissions.len() as u64;
            assert!(requests <= factor * limit, "account {account}: {requests} requests of {limit} in 60 s at {now}");
        }
        self.hold_long_rates(account);
    }

    /// A schedule is shorter than an hour, so nothing leaves these windows. A share of an hour begins anew with each process: how
    /// often it may be used is bounded by their number, and not held here.
    fn hold_long_rates(&self, account: usize) {
        if self.shares {
            return;
        }
        let ((requests, tokens), now) = (self.lately[account].all, self.now);
        for rate in Rate::LONG {
            let Some(limit) = self.largest(account, 0, |limits| rate.limit(limits)) else { continue };
            let amount = if rate.of == Counted::Tokens { tokens } else { requests };
            assert!(amount <= limit, "account {account}: {amount} of {limit} in {rate:?} at {now}");
        }
    }

    fn hold_parallel(&self, account: usize, at: u64) {
        let there = self.sidecars.iter().filter(|sidecar| self.now >= sidecar.stalled_until);
        let is_one =
            |running: &&Running| !running.void && self.admissions[running.admission].accounts.contains(&account);
        let (calls, oldest) = there
            .flat_map(|sidecar| sidecar.calls.values().filter(is_one))
            .fold((0, at), |(calls, oldest), running| (calls + 1, self.admissions[running.admission].at.min(oldest)));
        // In force at that very moment counts, too.
        if let Some(limit) = self.largest(account, oldest.saturating_sub(1), |limits| limits.parallel_requests) {
            let (factor, now) = (self.factor(), self.now);
            assert!(calls <= factor * limit, "account {account}: {calls} calls of {limit} at once at {now}");
        }
    }

    /// At the end: the ledger is the journals' sum, and nothing is held any more.
    pub(super) fn rest(&self) {
        let there: Vec<&Sidecar> = self.sidecars.iter().filter(|sidecar| !sidecar.vanished).collect();
        let all = there.iter().flat_map(|sidecar| &sidecar.journal);
        let sum = all.fold((0, 0, 0), |sum, settled| (sum.0 + 1, sum.1 + settled.tokens, sum.2 + settled.money));
        let total = self.store.total("t");
        let vanished: u64 = self.sidecars.iter().filter(|it| it.vanished).map(|it| it.journal.len() as u64).sum();
        if vanished == 0 {
            assert_eq!(total, sum, "the ledger and the journals");
        } else {
            assert!(total.0 >= sum.0 && total.0 <= sum.0 + vanished && total.2 >= sum.2, "{total:?} {sum:?}");
        }
        for sidecar in there {
            assert!(sidecar.calls.is_empty() && sidecar.waiting.is_empty(), "calls are left");
            let session = sidecar.session.as_ref().unwrap();
            assert_eq!(session.open, Open::default());
            assert!(session.pending.is_empty(), "{:?}", session.pending);
        }
        for account in 0..ACCOUNTS {
            let name = account_name(&self.accounts[account]);
            assert_eq!(self.store.parallel(&name, self.store_ms()), 0, "claims of {name} are left");
        }
        if vanished == 0 {
            for (account, period) in self.money.keys() {
                let name = account_name(&self.accounts[*account]);
                let (_, held) = self.store.money(&name, &period.name);
                assert_eq!(held, PicoUsd::ZERO, "money of {name} is still held at rest");
            }
        }
    }
}
