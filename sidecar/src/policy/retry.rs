//! How many retries a route may make: when everything fails, they must not double the load.

use std::sync::atomic::{AtomicU32, Ordering};

/// What a retry costs; a call brings its route's `budgetPercent`.
const RETRY: u32 = 100;
/// The most that is saved up: ten retries.
const MOST: u32 = 10 * RETRY;

/// A balance to which calls pay in, and from which retries are paid.
#[derive(Debug)]
pub struct RetryBudget {
    each: u32,
    balance: AtomicU32,
}

impl RetryBudget {
    /// So many retries among a hundred calls, and ten to begin with; 0: none at all.
    pub fn new(percent: u32) -> Self {
        Self { each: percent, balance: AtomicU32::new(if percent == 0 { 0 } else { MOST }) }
    }

    /// A call has come.
    pub fn called(&self) {
        self.change(|balance| Some(balance.saturating_add(self.each).min(MOST)));
    }

    /// Whether one may be made now.
    pub fn take(&self) -> bool {
        self.change(|balance| balance.checked_sub(RETRY))
    }

    fn change(&self, to: impl Fn(u32) -> Option<u32>) -> bool {
        // Nothing else is ordered by it.
        self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, to).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
