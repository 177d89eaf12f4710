//! The money of one period of one budget.

use std::{collections::HashMap, sync::Arc};

use vectoll_config::PicoUsd;

#[derive(Clone, Debug, Default)]
pub(super) struct BudgetBalance {
    /// Something was spent or held there.
    pub(super) begun: bool,
    pub(super) spent: PicoUsd,
    pub(super) held: HashMap<Arc<str>, PicoUsd>,
    pub(super) refused: Option<Refusal>,
    /// The period that it took over.
    pub(super) from: Option<Arc<str>>,
}

/// A call that found no money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The limit that it was refused at.
    pub limit: PicoUsd,
    /// What it needed.
    pub amount: PicoUsd,
}

impl BudgetBalance {
    pub(super) fn taken(&self) -> PicoUsd {
        self.held.values().fold(self.spent, |sum, held| sum.plus(*held))
    }
}

/// When a period begins.
pub(super) fn starts(period: &str) -> u64 {
    period.rsplit_once('/').and_then(|(_, start)| start.parse().ok()).unwrap_or_default()
}

/// The setting of a budget that a period is of: kind and zone.
pub(super) fn setting(period: &str) -> Option<&str> {
    period.rsplit_once('/').map(|(setting, _)| setting)
}
