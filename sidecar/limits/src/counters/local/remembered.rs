//! Money of budgets over a restart.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use vectoll_config::{PicoUsd, stretch, v1::Budget};

use super::{
    LocalCounters, Table,
    count::{BudgetBalance, CarriedOver},
};
use crate::counters::Account;
use vectoll_ledger::{
    balance::{Balances, SavedBalance},
    charge::{BudgetAccount, BudgetPeriod},
    used::OTHER,
};

impl Balances for LocalCounters {
    fn remember(&self) -> Vec<SavedBalance> {
        let table = self.table();
        let balances = table.counts.iter().flat_map(|(_, count)| &count.balances);
        // Little is done under the lock: no call waits for long.
        balances.map(|balance| SavedBalance { charge: balance.charge.clone(), booked: balance.booked }).collect()
    }

    /// Periods that are over are dropped when next used.
    fn recall(&self, remembered: Vec<SavedBalance>) {
        let mut table = self.table();
        for SavedBalance { charge, booked } in remembered {
            let budget = Budget::new(PicoUsd::ZERO, charge.period, charge.zone.clone());
            let end = stretch(&budget, charge.start).end;
            let id = table.account_of(&charge.account);
            if let Some(count) = table.counts.get_mut(id) {
                count.balances.push(BudgetBalance::new(charge, end, CarriedOver { taken: booked, since: 0, booked }));
            }
        }
    }

    fn replay(&self, charges: &[Arc<BudgetPeriod>], admitted: Timestamp, money: PicoUsd) {
        let mut table = self.table();
        let mut accounts = HashSet::new();
        for charge in charges {
            let BudgetPeriod { account, period, zone, start } = &**charge;
            let id = table.account_of(account);
            accounts.insert(id);
            if let Some(count) = table.counts.get_mut(id) {
                // One that was reset is counted from then on; the calendar alone would have it begin before.
                let budget = Budget { reset_at: Some(*start), ..Budget::new(PicoUsd::ZERO, *period, zone.clone()) };
                count.open(&Account::from(account), &budget, admitted, 0);
            }
        }
        // Once an account, in all that it keeps up: a budget that was edited while the call ran is among them.
        for id in accounts {
            let balances = table.counts.get_mut(id).into_iter().flat_map(|count| &mut count.balances);
            let named = |balance: &BudgetBalance| charges.iter().any(|charge| **charge == *balance.charge);
            for balance in balances.filter(|balance| named(balance) || balance.covers(admitted)) {
                balance.taken = balance.taken.plus(money);
                balance.booked = balance.booked.plus(money);
            }
        }
    }
}

impl Table {
    fn account_of(&mut self, payer: &BudgetAccount) -> usize {
        // Those that share one name take nobody's place.
        if let BudgetAccount::TeamUser(team, user) = payer
            && **user != *OTHER
        {
            self.users.insert(team.clone(), user.clone());
        }
        self.id(&Account::from(payer))
    }
}
