//! The money taken of budgets, as it is kept over a restart.

use std::sync::Arc;

use jiff::Timestamp;
use vectoll_config::{PicoUsd, ZoneName, v1::Period};

use crate::charge::{BudgetAccount, BudgetPeriod};

/// Whoever counts the money of budgets, and is to know after a restart what was taken of them.
pub trait Balances: std::fmt::Debug + Default {
    /// The settled money of all budgets, for keeping. Of reservations the journal knows.
    fn remember(&self) -> Vec<SavedBalance>;

    /// Takes up what a former process of this sidecar remembered.
    fn recall(&self, remembered: Vec<SavedBalance>);

    /// Books money that a former process of this sidecar settled after the last time that it remembered: `charges` are
    /// the budgets that it was reserved in, `admitted` is when.
    fn replay(&self, charges: &[Arc<BudgetPeriod>], admitted: Timestamp, money: PicoUsd);
}

/// A budget's money as it is kept over a restart.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(from = "BalanceRecord", into = "BalanceRecord")]
pub struct SavedBalance {
    /// Which budget, in which period.
    pub charge: Arc<BudgetPeriod>,
    /// What was settled in it.
    pub booked: PicoUsd,
}

/// The same as it is written; `taken` is in pico-USD.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BalanceRecord {
    account: BudgetAccount,
    period: Period,
    zone: ZoneName,
    start: Timestamp,
    taken: u64,
}

impl From<BalanceRecord> for SavedBalance {
    fn from(BalanceRecord { account, period, zone, start, taken }: BalanceRecord) -> Self {
        Self { charge: Arc::new(BudgetPeriod { account, period, zone, start }), booked: PicoUsd::new(taken) }
    }
}

impl From<SavedBalance> for BalanceRecord {
    fn from(SavedBalance { charge, booked }: SavedBalance) -> Self {
        let BudgetPeriod { account, period, zone, start } = Arc::unwrap_or_clone(charge);
        Self { account, period, zone, start, taken: booked.pico() }
    }
}
