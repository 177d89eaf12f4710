//! What is left of limits.

use std::time::Duration;

use crate::store::protocol::Per;

/// How much of a rate is left, for the `x-ratelimit` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The limit.
    pub limit: u64,
    /// What is left of it.
    pub remaining: u64,
    /// Until all of it is there again, if nobody asks.
    pub reset: Duration,
    /// In which time it is limited.
    pub per: Per,
}

/// The tightest quotas among a call's scopes; absent: not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimitStatus {
    /// Of requests, in whichever time it is tightest.
    pub requests: Option<Quota>,
    /// Of tokens.
    pub tokens: Option<Quota>,
}

impl RateLimitStatus {
    /// The tighter quotas of two.
    pub(super) fn tighter(self, other: Self) -> Self {
        let of = |one: Option<Quota>, other: Option<Quota>| {
            let is_first = |one: &Quota| other.is_none_or(|other| one.remaining <= other.remaining);
            one.filter(is_first).or(other)
        };
        Self { requests: of(self.requests, other.requests), tokens: of(self.tokens, other.tokens) }
    }
}
