//! The rates that are limited, and amounts of them.

use std::time::Duration;

use vectoll_config::v1::Limits;

use crate::{counters::Retry, store::protocol::Rate};

/// The rates that limits may be on: most are on those of a minute only.
pub(super) fn rates(limits: &Limits) -> impl Iterator<Item = Rate> + use<> {
    rates_with(limits.has_long())
}

/// Those of a minute, and `long` ones if asked for.
pub(super) fn rates_with(long: bool) -> impl Iterator<Item = Rate> + use<> {
    let long = if long { &Rate::LONG[..] } else { &[] };
    Rate::PER_MINUTE.into_iter().chain(long.iter().copied())
}

pub(super) fn retry_at(at: Option<Duration>, now: Duration) -> Retry {
    at.map_or(Retry::After(Duration::from_secs(1)), |at| Retry::After(at.saturating_sub(now)))
}

pub(super) fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
