//! Limits that are on trial: a call that would be refused by one is counted in it all the same, and goes on.

use super::Exhausted;
use crate::store::protocol::Rate;

/// Limits and budgets of one scope that a call is not held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waived {
    /// A bit for each rate, as of [`Rate::index`].
    rates: u8,
    parallel: bool,
    /// A bit for each budget, by its place in the scope: there are no more than eight.
    budgets: u8,
}

impl Waived {
    /// Adds the one that a call was refused by. False: it was there, or it is none of this scope's.
    pub fn add(&mut self, exhausted: Exhausted) -> bool {
        let before = *self;
        match exhausted {
            Exhausted::Rate(rate) => self.rates |= 1 << rate.index(),
            Exhausted::Parallel => self.parallel = true,
            Exhausted::Budget(place) => {
                self.budgets |= u32::try_from(place).ok().and_then(|at| 1u8.checked_shl(at)).unwrap_or(0);
            }
            Exhausted::Store => {}
        }
        *self != before
    }

    /// Adds all budgets. False: so it was.
    pub fn add_budgets(&mut self) -> bool {
        u8::MAX != std::mem::replace(&mut self.budgets, u8::MAX)
    }

    /// All of them. False: so it was.
    pub fn add_all(&mut self) -> bool {
        let before = std::mem::replace(self, Self { rates: u8::MAX, parallel: true, budgets: u8::MAX });
        before != *self
    }

    pub(super) fn has_rate(self, rate: Rate) -> bool {
        self.rates & (1 << rate.index()) != 0
    }

    pub(super) fn has_parallel(self) -> bool {
        self.parallel
    }

    /// Whether a budget is, by its place in the scope.
    pub fn has_budget(self, place: usize) -> bool {
        u32::try_from(place).ok().and_then(|at| self.budgets.checked_shr(at)).is_some_and(|bits| bits & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::protocol::Per;

    #[test]
    fn each_limit_is_waived_by_itself() {
        let mut waived = Waived::default();
        assert!(waived.add(Exhausted::Budget(7)) && !waived.add(Exhausted::Budget(7)));
        assert!(waived.has_budget(7) && !waived.has_budget(6) && !waived.has_budget(8) && !waived.has_budget(64));
        assert!(!waived.add(Exhausted::Budget(8)) && !waived.add(Exhausted::Store), "there is no such one");
        assert!(waived.add(Exhausted::Rate(Rate::tokens(Per::Day))) && waived.has_rate(Rate::tokens(Per::Day)));
        assert!(!waived.has_rate(Rate::tokens(Per::Hour)) && !waived.has_rate(Rate::requests(Per::Day)));
        assert!(!waived.has_parallel() && waived.add(Exhausted::Parallel) && waived.has_parallel());
    }
}
