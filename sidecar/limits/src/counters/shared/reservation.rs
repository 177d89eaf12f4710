//! What was reserved of what is leased, claimed and held.

use std::sync::Arc;

use vectoll_config::{PicoUsd, Uid};
use vectoll_ledger::charge::BudgetPeriod;

use super::holding::Taken;
use crate::counters::Denial;

/// A reservation.
#[derive(Debug)]
pub struct SharedReservation {
    pub(super) team: Uid,
    pub(super) taken: Vec<Taken>,
    pub(super) requests: u64,
    pub(in crate::counters) tokens: u64,
    pub(in crate::counters) money: PicoUsd,
    pub(in crate::counters) charges: Vec<Arc<BudgetPeriod>>,
    /// The places of its scopes in the call; none: they are all of them.
    pub(super) places: Vec<usize>,
    /// The same of the other owners that keep counts of the call: see [`super::parts`].
    pub(super) others: Vec<SharedReservation>,
}

/// How a reservation ends.
pub(crate) type Outcome = Result<SharedReservation, Denial>;

/// A denial, by its scope's place in the call.
pub(super) fn placed_denial(places: &[usize], denial: Denial) -> Denial {
    Denial { scope: places.get(denial.scope).copied().unwrap_or(denial.scope), ..denial }
}
