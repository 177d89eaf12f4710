//! What was reserved in this process's memory.

use std::sync::Arc;

use vectoll_config::PicoUsd;
use vectoll_ledger::charge::BudgetPeriod;

/// A reservation here.
#[derive(Debug)]
pub(in crate::counters) struct LocalReservation {
    pub(super) counts: Vec<usize>,
    /// Whether it is a call's, and not what a backend is asked for.
    pub(super) is_call: bool,
    pub(super) slot: u64,
    pub(super) sequence: u64,
    pub(super) requests: u64,
    pub(in crate::counters) tokens: u64,
    pub(in crate::counters) money: PicoUsd,
    pub(in crate::counters) charges: Vec<Arc<BudgetPeriod>>,
}
