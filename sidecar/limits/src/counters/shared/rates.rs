//! The two rates, what they are held to, and amounts of them.

use std::time::Duration;

use vectoll_config::v1::Limits;

use crate::{
    counters::{Exhausted, Retry},
    store::protocol::{MAX_INTEGER, Rate},
};

/// Both rates.
pub(super) const RATES: [Rate; 2] = [Rate::Requests, Rate::Tokens];

pub(super) fn rate_of(limits: &Limits, rate: Rate) -> Option<u64> {
    match rate {
        Rate::Requests => limits.requests_per_minute,
        Rate::Tokens => limits.tokens_per_minute,
    }
    .map(|limit| limit.min(MAX_INTEGER))
}

pub(super) fn exhausted(rate: Rate) -> Exhausted {
    match rate {
        Rate::Requests => Exhausted::Requests,
        Rate::Tokens => Exhausted::Tokens,
    }
}

pub(super) fn retry_at(at: Option<Duration>, now: Duration) -> Retry {
    at.map_or(Retry::After(Duration::from_secs(1)), |at| Retry::After(at.saturating_sub(now)))
}

pub(super) fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
