//! What was reserved, by whichever counters.

use std::sync::Arc;

use vectoll_ledger::{charge::BudgetPeriod, used::Used};

use super::{local, shared};

/// A reservation. It must be settled or given back: the permit that holds it sees to that.
#[derive(Debug)]
pub struct QuotaReservation(pub(super) CounterReservation);

/// Who keeps it.
#[derive(Debug)]
pub(super) enum CounterReservation {
    /// This sidecar alone.
    Local(local::LocalReservation),
    /// The sidecars together.
    Shared(shared::SharedReservation),
}

impl QuotaReservation {
    /// What was reserved.
    pub fn reserved(&self) -> Used {
        match &self.0 {
            CounterReservation::Local(reservation) => Used { tokens: reservation.tokens, money: reservation.money },
            CounterReservation::Shared(reservation) => Used { tokens: reservation.tokens, money: reservation.money },
        }
    }

    /// The budgets that the money was reserved in.
    pub fn charges(&self) -> &[Arc<BudgetPeriod>] {
        match &self.0 {
            CounterReservation::Local(reservation) => &reservation.charges,
            CounterReservation::Shared(reservation) => &reservation.charges,
        }
    }
}
