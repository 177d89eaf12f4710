//! Accounts and periods in the store's words.

use jiff::Timestamp;
use vectoll_config::{PicoUsd, store::period_name, stretch, v1::Budget};

use crate::{
    counters::Account,
    store::protocol::{AccountName, PeriodName},
};
use vectoll_ledger::charge::BudgetPeriod;

/// An account in the store's words.
pub(crate) fn account_name(account: &Account) -> AccountName {
    match account {
        Account::Key(key) => format!("k:{key}").into(),
        Account::Team(_) => "t".into(),
        Account::KeyUser(key, user) => format!("ku:{key}:{user}").into(),
        Account::TeamUser(_, user) => format!("tu:{user}").into(),
        Account::TeamNamespace(_, namespace) => format!("tn:{namespace}").into(),
        Account::KeyModel(key, model) => format!("km:{key}:{model}").into(),
        Account::TeamModel(_, model) => format!("tm:{model}").into(),
        Account::TeamTag(_, tag) => format!("tt:{tag}").into(),
        Account::Backend(_) => "b".into(),
        Account::Documents(of) => format!("d:{}", account_name(of)).into(),
    }
}

/// The period of a charge in the store's words.
pub(crate) fn period_of(charge: &BudgetPeriod) -> PeriodName {
    let BudgetPeriod { account: _, period, zone, start } = charge;
    let budget = Budget::new(PicoUsd::ZERO, *period, zone.clone());
    let end = stretch(&budget, *start).end;
    PeriodName {
        name: period_name(*period, zone, *start).into(),
        end: end.and_then(|end| u64::try_from(end.as_millisecond()).ok()),
    }
}

/// A moment of the store's time.
pub(super) fn at_ms(store_ms: u64) -> Timestamp {
    let at = i64::try_from(store_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.unwrap_or(Timestamp::MAX)
}
