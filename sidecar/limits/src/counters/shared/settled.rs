//! For tests: what a journal has of calls that ended, and what of it is to be told.

use std::sync::Arc;

use vectoll_config::PicoUsd;
use vectoll_ledger::charge::BudgetPeriod;

use crate::store::{
    periods_by_account,
    protocol::{Charge, Entry, Spend},
};

/// A settlement in the journal.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) number: u64,
    pub(super) tokens: u64,
    pub(super) money: u64,
    pub(super) charges: Vec<Arc<BudgetPeriod>>,
}

/// The first settlements of a journal after one number, so many at the most.
pub(super) fn spend_after(journal: &[Settled], from: u64, most: usize) -> Spend {
    let mut spend = Spend { from, to: from, ..Spend::default() };
    let begin = journal.partition_point(|settled| settled.number <= from);
    for settled in journal.iter().skip(begin).take(most) {
        spend.to = settled.number;
        let amount = PicoUsd::new(settled.money);
        let charges = periods_by_account(&settled.charges).into_iter();
        spend.charges.extend(charges.map(|(account, periods)| Charge { account, periods, amount }));
        spend.entries.push(Entry {
            month: "2026-09".into(),
            field: "t".into(),
            requests: 1,
            tokens: settled.tokens,
            money: amount,
        });
    }
    spend
}
