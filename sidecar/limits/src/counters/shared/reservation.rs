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
}

/// How a reservation ends.
pub(crate) type Outcome = Result<SharedReservation, Denial>;
