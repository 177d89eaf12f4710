//! What a sidecar holds of one account.

use std::{sync::Arc, time::Duration};

use vectoll_config::{Uid, stretch, v1::Budget};

use super::{
    budget_balance::BudgetBalance,
    names::{account_name, at_ms},
    pool::{Part, Pool},
    slots::Slots,
};
use crate::{
    counters::Account,
    store::protocol::{AccountName, Counted, Per, Rate},
};
use vectoll_ledger::charge::{BudgetAccount, BudgetPeriod};

/// Leases, claims and money of one account.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) name: AccountName,
    pub(super) requests: Pool,
    pub(super) tokens: Pool,
    /// Those of hours and days that are limited, or were.
    pub(super) long: Vec<(Rate, Pool)>,
    pub(super) slots: Slots,
    pub(super) balances: Vec<BudgetBalance>,
    /// Reservations that point here.
    pub(super) open: u64,
}

impl Holding {
    pub(super) fn new(account: &Account) -> Self {
        Self {
            name: account_name(account),
            requests: Pool::default(),
            tokens: Pool::default(),
            long: Vec::new(),
            slots: Slots::default(),
            balances: Vec::new(),
            open: 0,
        }
    }

    /// The pool of a rate. That of an hour or a day begins with its limit.
    pub(super) fn pool(&mut self, rate: Rate) -> &mut Pool {
        match (rate.of, rate.per) {
            (Counted::Requests, Per::Minute) => &mut self.requests,
            (Counted::Tokens, Per::Minute) => &mut self.tokens,
            (_, Per::Hour | Per::Day) => {
                let at = self.long.iter().position(|(of, _)| *of == rate).unwrap_or_else(|| {
                    self.long.push((rate, Pool::of(rate.per)));
                    self.long.len() - 1
                });
                // It is there: it was found, or put there.
                self.long.get_mut(at).map_or(&mut self.requests, |(_, pool)| pool)
            }
        }
    }

    /// The pool of a rate, if there is one.
    pub(super) fn present_pool(&self, rate: Rate) -> Option<&Pool> {
        self.pools().find(|(of, _)| *of == rate).map(|(_, pool)| pool)
    }

    /// All pools that there are.
    pub(super) fn pools(&self) -> impl Iterator<Item = (Rate, &Pool)> {
        let [requests, tokens] = Rate::PER_MINUTE;
        let long = self.long.iter().map(|(rate, pool)| (*rate, pool));
        [(requests, &self.requests), (tokens, &self.tokens)].into_iter().chain(long)
    }

    /// The same.
    pub(super) fn pools_mut(&mut self) -> impl Iterator<Item = (Rate, &mut Pool)> {
        let [requests, tokens] = Rate::PER_MINUTE;
        let long = self.long.iter_mut().map(|(rate, pool)| (*rate, pool));
        [(requests, &mut self.requests), (tokens, &mut self.tokens)].into_iter().chain(long)
    }

    /// The place of the balance of a budget's present period, by the store's time.
    pub(super) fn balance(&mut self, account: &Account, budget: &Budget, store_ms: u64, now: Duration) -> usize {
        let is_it = |balance: &BudgetBalance| balance.is_for(budget, store_ms) && balance.has_begun(store_ms);
        if let Some(at) = self.balances.iter().position(is_it) {
            return at;
        }
        let start = stretch(budget, at_ms(store_ms)).start;
        // Accounts of other kinds have no budgets.
        let payer = account.payer().unwrap_or_else(|| BudgetAccount::Team(Uid::new("")));
        let charge = BudgetPeriod { account: payer, period: budget.period, zone: budget.time_zone.clone(), start };
        self.balances.push(BudgetBalance::new(Arc::new(charge), now));
        self.balances.len() - 1
    }

    /// Whether an exchange has nothing to do with it and nothing to say of it, now and at any later time, as long as nobody changes it.
    pub(super) fn rests(&self, now: Duration) -> bool {
        self.pools().all(|(_, pool)| pool.rests(now))
            && self.slots.rests()
            && self.balances.iter().all(|balance| balance.rests(now))
    }

    /// Whether the store is asked what is taken of one of its budgets, although nobody wants any of it at present.
    pub(super) fn is_asked_after(&self, now: Duration) -> bool {
        self.balances.iter().any(|balance| balance.is_asked_after(now))
    }

    /// Whether nothing of it matters any more.
    pub(super) fn is_idle(&mut self, second: u64) -> bool {
        for (_, pool) in self.pools_mut() {
            let slot = pool.own.slot(second);
            pool.own.advance(slot);
            pool.untold.advance(slot);
        }
        self.long.retain(|(_, pool)| pool.limit.is_some() || !pool.is_idle());
        self.open == 0
            && self.pools().all(|(_, pool)| pool.is_idle())
            && self.slots.is_idle()
            && self.balances.iter().all(BudgetBalance::is_idle)
    }
}

/// What a reservation took of one account.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) holding: usize,
    /// The second of the store's time in which it was taken.
    pub(super) second: u64,
    pub(super) requests: Vec<Part>,
    pub(super) tokens: Vec<Part>,
    /// Of hours and days.
    pub(super) long: Vec<(Rate, Vec<Part>)>,
    /// What money was reserved in.
    pub(super) charges: Vec<Arc<BudgetPeriod>>,
}

impl Taken {
    /// What was taken of each rate.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Rate, &[Part])> {
        let [requests, tokens] = Rate::PER_MINUTE;
        let long = self.long.iter().map(|(rate, parts)| (*rate, &**parts));
        [(requests, &*self.requests), (tokens, &*self.tokens)].into_iter().chain(long)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_config::{PicoUsd, ZoneName, v1::Period};

    use super::*;

    #[test]
    fn a_budget_has_a_balance_for_each_side_of_its_reset() {
        let account = Account::Key(Uid::new("k"));
        let mut holding = Holding::new(&account);
        for period in [Period::Monthly, Period::Total] {
            let budget = Budget::new(PicoUsd::ZERO, period, ZoneName::try_from("UTC".to_owned()).unwrap());
            let reset = Budget { reset_at: Some(at_ms(20_000)), ..budget.clone() };
            let mut at = |budget: &Budget, store_ms| holding.balance(&account, budget, store_ms, Duration::ZERO);
            let before = at(&budget, 10_000);
            assert_eq!(at(&reset, 19_999), before, "{period}: not before its time");
            let after = at(&reset, 20_000);
            assert_ne!(after, before, "{period}");
            assert_eq!(at(&reset, 30_000), after, "{period}");
            assert_eq!(at(&budget, 30_000), before, "{period}: it was taken back");
        }
    }
}
