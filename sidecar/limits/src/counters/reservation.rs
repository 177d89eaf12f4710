//! What was reserved, by whichever counters.

use std::sync::Arc;

use vectoll_ledger::{charge::BudgetPeriod, used::Used};

use super::{local, shared};

/// A reservation. It must be settled or given back: the permit that holds it sees to that.
#[derive(Debug)]
pub struct Held(pub(super) Holder);

/// Who keeps it.
#[derive(Debug)]
pub(super) enum Holder {
    /// This sidecar alone.
    Memory(local::Held),
    /// The sidecars together.
    Leased(shared::Held),
}

impl Held {
    /// What was reserved.
    pub fn reserved(&self) -> Used {
        match &self.0 {
            Holder::Memory(held) => Used { tokens: held.tokens, money: held.money },
            Holder::Leased(held) => Used { tokens: held.tokens, money: held.money },
        }
    }

    /// The budgets that the money was reserved in.
    pub fn charges(&self) -> &[Arc<BudgetPeriod>] {
        match &self.0 {
            Holder::Memory(held) => &held.charges,
            Holder::Leased(held) => &held.charges,
        }
    }
}
