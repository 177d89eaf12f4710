//! Periods of budgets: which begin, and what they take over.

use std::{collections::BTreeSet, sync::Arc};

use vectoll_config::PicoUsd;

use super::{
    Model,
    balance::{BudgetBalance, setting, starts},
};
use crate::store::protocol::{AccountName, Charge, PeriodName};

/// Periods of budgets that begin in a day.
const MAX_NEW_BALANCES: u64 = 200_000;

impl Model {
    pub(super) fn balance(&mut self, account: &AccountName, period: &PeriodName) -> &mut BudgetBalance {
        self.balances.entry((account.clone(), period.name.clone())).or_default()
    }

    /// The same, of which something is known from now on. `beside`: periods that begin with it, which hold what it holds.
    pub(super) fn begin(
        &mut self,
        account: &AccountName,
        period: &PeriodName,
        beside: &[(AccountName, Arc<str>)],
        now: u64,
    ) -> &mut BudgetBalance {
        if !self.balance(account, period).begun {
            self.begun.1 += 1;
            let inherited = self.inherited(account, period, beside, now);
            self.periods.entry(account.clone()).or_default().insert(period.name.clone(), period.end);
            let balance = self.balance(account, period);
            balance.begun = true;
            if let Some((from, spent, _)) = inherited {
                (balance.spent, balance.from) = (spent, Some(from));
            }
        }
        self.balance(account, period)
    }

    /// Money that was spent, in all of the periods that are named, and once in the others in which it may have been admitted.
    pub(super) fn charge(&mut self, charge: &Charge, now: u64) {
        let Charge { account, periods, amount } = charge;
        // All of them begin before any of them has it: none takes it over from another one.
        for period in periods {
            self.begin(account, period, &[], now);
        }
        let mut kept_up = BTreeSet::new();
        for period in periods {
            let balance = self.balance(account, period);
            balance.spent = balance.spent.plus(*amount);
            kept_up.extend(self.others(account, period, now).into_iter().filter(|other| {
                let is_named = periods.iter().any(|period| period.name == *other);
                // Of a setting that is named the call was admitted in what is named.
                let alike = periods.iter().find(|named| setting(&named.name) == setting(other));
                let is_before = starts(other) <= starts(&alike.unwrap_or(period).name);
                !is_named && (is_before || (alike.is_none() && period.end.is_none_or(|end| end > now)))
            }));
        }
        for other in kept_up {
            if let Some(balance) = self.balances.get_mut(&(account.clone(), other)) {
                balance.spent = balance.spent.plus(*amount);
            }
        }
    }

    /// The other periods of an account's budgets that are not over: those of another kind or zone, and of the same those that end with it,
    /// for a reset divides a period.
    pub(super) fn others(&mut self, account: &AccountName, period: &PeriodName, now: u64) -> Vec<Arc<str>> {
        let Some(periods) = self.periods.get_mut(account) else { return Vec::new() };
        periods.retain(|_, end| end.is_none_or(|end| end > now));
        let is_other = |(other, end): &(&Arc<str>, &Option<u64>)| {
            setting(other) != setting(&period.name) || (**other != period.name && **end == period.end)
        };
        periods.iter().filter(is_other).map(|(other, _)| other.clone()).collect()
    }

    /// What a period that begins takes over: the most that is taken in another one that lies within it; which, what is spent there,
    /// and what is held.
    fn inherited(
        &mut self,
        account: &AccountName,
        period: &PeriodName,
        beside: &[(AccountName, Arc<str>)],
        now: u64,
    ) -> Option<(Arc<str>, PicoUsd, PicoUsd)> {
        let is_beside = |other: &Arc<str>| beside.iter().any(|(of, begun)| of == account && begun == other);
        let is_within = |other: &Arc<str>| starts(other) >= starts(&period.name) && !is_beside(other);
        let within: Vec<Arc<str>> = self.others(account, period, now).into_iter().filter(is_within).collect();
        let taken = within.into_iter().filter_map(|other| {
            let balance = self.balances.get(&(account.clone(), other.clone()))?;
            Some((balance.taken(), std::cmp::Reverse(other), balance.spent))
        });
        let (taken, std::cmp::Reverse(from), spent) = taken.max().filter(|(taken, ..)| *taken > PicoUsd::ZERO)?;
        Some((from, spent, taken.minus(spent)))
    }

    /// What is taken of a budget: what is under way in the period that it took over will count here as well.
    pub(super) fn taken(&mut self, account: &AccountName, period: &PeriodName, now: u64) -> PicoUsd {
        let balance = self.balance(account, period);
        let (taken, begun, from) = (balance.taken(), balance.begun, balance.from.clone());
        if !begun {
            let inherited = self.inherited(account, period, &[], now);
            return inherited.map_or(PicoUsd::ZERO, |(_, spent, held)| spent.plus(held));
        }
        let former = from.and_then(|from| self.balances.get(&(account.clone(), from)));
        former.map_or(taken, |former| taken.plus(former.taken().minus(former.spent)))
    }

    /// Whether a balance is not begun, and too many were begun today to begin so many more.
    pub(super) fn is_one_too_many(&mut self, account: &AccountName, period: &PeriodName, more: u64) -> bool {
        let most = self.most_new_balances.unwrap_or(MAX_NEW_BALANCES);
        !self.balance(account, period).begun && self.begun.1 + more > most
    }
}
