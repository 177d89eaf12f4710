//! How many retries a route may make: when everything fails, they must not double the load.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

/// What a retry costs; a call brings its route's `budgetPercent`.
const RETRY: u32 = 100;
/// The most that is saved up: ten retries.
const MAX_BALANCE: u32 = 10 * RETRY;

/// A balance to which calls pay in, and from which retries are paid.
#[derive(Debug)]
pub struct RetryBudget {
    each: u32,
    balance: Arc<AtomicU32>,
}

impl RetryBudget {
    /// So many retries among a hundred calls, and ten to begin with; 0: none at all.
    pub fn new(percent: u32) -> Self {
        Self { each: percent, balance: Arc::new(AtomicU32::new(MAX_BALANCE)) }
    }

    /// A call has come.
    pub fn called(&self) {
        self.change(|balance| Some(balance.saturating_add(self.each).min(MAX_BALANCE)));
    }

    /// Whether one may be made now.
    pub fn take(&self) -> bool {
        self.each > 0 && self.change(|balance| balance.checked_sub(RETRY))
    }

    /// Whether one could be made now. Nothing is taken.
    pub fn is_open(&self) -> bool {
        self.each > 0 && self.balance.load(Ordering::Relaxed) >= RETRY
    }

    fn change(&self, to: impl Fn(u32) -> Option<u32>) -> bool {
        // Nothing else is ordered by it.
        self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, to).is_ok()
    }
}

/// The balances of all routes, by their names: a reload fills none of them up. A handle: clones share them.
#[derive(Clone, Debug, Default)]
pub struct RetryBudgets(Arc<Mutex<HashMap<Arc<str>, Weak<AtomicU32>>>>);

impl RetryBudgets {
    /// The budget of a route, as long as somebody holds it with what was left of it.
    pub fn of(&self, route: &Arc<str>, percent: u32) -> RetryBudget {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, balance| balance.strong_count() > 0);
        if let Some(balance) = known.get(route).and_then(Weak::upgrade) {
            return RetryBudget { each: percent, balance };
        }
        let budget = RetryBudget::new(percent);
        known.insert(route.clone(), Arc::downgrade(&budget.balance));
        budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_fills_no_budget_up() {
        let (budgets, name) = (RetryBudgets::default(), Arc::from("shop/a"));
        let before = budgets.of(&name, 20);
        while before.take() {}
        let after = budgets.of(&name, 20);
        assert!(!after.take());
        for _ in 0..5 {
            after.called();
        }
        assert!(before.take(), "calls under way go by the same");
        assert!(!budgets.of(&name, 100).take(), "also where its share changes");
        assert!(budgets.of(&Arc::from("shop/b"), 20).take());
        drop((before, after));
        assert!(budgets.of(&name, 20).take(), "one that was gone begins anew");
    }

    #[test]
    fn retries_are_a_part_of_the_calls() {
        let budget = RetryBudget::new(20);
        let made = (0..1_000)
            .filter(|_| {
                budget.called();
                budget.take()
            })
            .count();
        assert_eq!(made, 10 + 200 - 1, "ten at first, one less for a full balance at the first call");
        let none = RetryBudget::new(0);
        none.called();
        assert!(!none.take());
    }
}
