//! What a sidecar holds of one account.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use vectoll_config::{Uid, stretch, v1::Budget};

use super::{
    budget_balance::BudgetBalance,
    names::account_name,
    pool::{Part, Pool},
    slots::Slots,
};
use crate::{
    counters::Account,
    store::protocol::{AccountName, Rate},
};
use vectoll_ledger::charge::{BudgetAccount, BudgetPeriod};

/// Leases, claims and money of one account.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) name: AccountName,
    pub(super) requests: Pool,
    pub(super) tokens: Pool,
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
            slots: Slots::default(),
            balances: Vec::new(),
            open: 0,
        }
    }

    pub(super) fn pool(&mut self, rate: Rate) -> &mut Pool {
        match rate {
            Rate::Requests => &mut self.requests,
            Rate::Tokens => &mut self.tokens,
        }
    }

    /// The place of the balance of a budget's present period, by the store's time.
    pub(super) fn balance(&mut self, account: &Account, budget: &Budget, store_ms: u64, now: Duration) -> usize {
        let is_it = |balance: &BudgetBalance| {
            balance.is_for(budget) && balance.has_begun(store_ms) && !balance.is_over(store_ms)
        };
        if let Some(at) = self.balances.iter().position(is_it) {
            return at;
        }
        let at = i64::try_from(store_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let start = stretch(budget, at.unwrap_or(Timestamp::MAX)).start;
        // Accounts of other kinds have no budgets.
        let payer = account.payer().unwrap_or_else(|| BudgetAccount::Team(Uid::new("")));
        let charge = BudgetPeriod { account: payer, period: budget.period, zone: budget.time_zone.clone(), start };
        self.balances.push(BudgetBalance::new(Arc::new(charge), now));
        self.balances.len() - 1
    }

    /// Whether nothing of it matters any more.
    pub(super) fn is_idle(&mut self, slot: u64) -> bool {
        for pool in [&mut self.requests, &mut self.tokens] {
            pool.own.advance(slot);
            pool.untold.advance(slot);
        }
        self.open == 0
            && self.requests.is_idle()
            && self.tokens.is_idle()
            && self.slots.is_idle()
            && self.balances.iter().all(BudgetBalance::is_idle)
    }
}

/// What a reservation took of one account.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) holding: usize,
    pub(super) slot: u64,
    pub(super) requests: Vec<Part>,
    pub(super) tokens: Vec<Part>,
    /// What money was reserved in.
    pub(super) charge: Option<Arc<BudgetPeriod>>,
}
