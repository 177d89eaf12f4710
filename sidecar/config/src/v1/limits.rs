//! How much: limits and budgets.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Period, left_out::is_false};
use crate::{ModelPattern, PicoUsd, ZoneName};

/// Limits on a rate or on concurrency; absent: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Requests in any 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    /// Tokens in any 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Requests in any 60 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_hour: Option<u64>,
    /// Tokens in any 60 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_hour: Option<u64>,
    /// Requests in any 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u64>,
    /// Tokens in any 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    /// Requests at the same moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel_requests: Option<u64>,
    /// The part of each of them, in percent, that is left to queries: 1 to 99.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_for_queries_percent: Option<u8>,
    /// Whether they are on trial: what they would refuse is served, and told.
    #[serde(default, skip_serializing_if = "is_false")]
    pub audit: bool,
}

impl Limits {
    /// None at all.
    pub const NONE: Self = Self {
        requests_per_minute: None,
        tokens_per_minute: None,
        requests_per_hour: None,
        tokens_per_hour: None,
        requests_per_day: None,
        tokens_per_day: None,
        parallel_requests: None,
        reserved_for_queries_percent: None,
        audit: false,
    };

    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        Self { reserved_for_queries_percent: None, audit: false, ..*self } == Self::NONE
    }

    /// What calls that are no queries are held to beside them; none: all of it is theirs.
    pub fn for_documents(&self) -> Option<Self> {
        let percent = 100_u64.saturating_sub(u64::from(self.reserved_for_queries_percent?));
        // What is no whole number is rounded down: the rest is the queries'. Of a small limit one is the documents', or none would ever be served.
        let part = |limit: Option<u64>| {
            limit.map(|limit| u64::try_from(u128::from(limit) * u128::from(percent) / 100).unwrap_or(limit).max(1))
        };
        Some(Self {
            requests_per_minute: part(self.requests_per_minute),
            tokens_per_minute: part(self.tokens_per_minute),
            requests_per_hour: part(self.requests_per_hour),
            tokens_per_hour: part(self.tokens_per_hour),
            requests_per_day: part(self.requests_per_day),
            tokens_per_day: part(self.tokens_per_day),
            parallel_requests: part(self.parallel_requests),
            reserved_for_queries_percent: None,
            audit: self.audit,
        })
    }

    /// Each limit with its field's name.
    pub fn each(&self) -> [(&'static str, Option<u64>); 7] {
        [
            ("requestsPerMinute", self.requests_per_minute),
            ("tokensPerMinute", self.tokens_per_minute),
            ("requestsPerHour", self.requests_per_hour),
            ("tokensPerHour", self.tokens_per_hour),
            ("requestsPerDay", self.requests_per_day),
            ("tokensPerDay", self.tokens_per_day),
            ("parallelRequests", self.parallel_requests),
        ]
    }

    /// Whether an hour or a day is limited.
    pub fn has_long(&self) -> bool {
        let Self { requests_per_hour, tokens_per_hour, requests_per_day, tokens_per_day, .. } = self;
        [requests_per_hour, tokens_per_hour, requests_per_day, tokens_per_day].iter().any(|limit| limit.is_some())
    }
}

/// Limits on the models that a pattern covers, counted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelLimits {
    /// The pattern.
    pub model: ModelPattern,
    /// The limits.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// The budgets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
}

/// Limits on the calls with a tag, counted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TagLimits {
    /// The tag: one of the Team's.
    pub tag: Arc<str>,
    /// The limits.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// The budgets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
}

/// Money for a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Budget {
    /// How much.
    pub limit: PicoUsd,
    /// For how long.
    pub period: Period,
    /// By whose calendar.
    pub time_zone: ZoneName,
    /// What there is on top for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Extra>,
    /// From when on it counts, where that is later than the period's beginning: it was reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_at: Option<Timestamp>,
    /// Whether it is on trial: what it would refuse is served, and told.
    #[serde(default, skip_serializing_if = "is_false")]
    pub audit: bool,
}

/// Money on top of a budget's limit, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Extra {
    /// How much.
    pub amount: PicoUsd,
    /// Until when.
    pub until: Timestamp,
}

impl Budget {
    /// One that holds, with nothing on top.
    pub fn new(limit: PicoUsd, period: Period, time_zone: ZoneName) -> Self {
        Self { limit, period, time_zone, extra: None, reset_at: None, audit: false }
    }

    /// Whether what is counted since `start` is what counts at a moment: since the reset, or since a beginning of the calendar's.
    pub fn counts_since(&self, start: Timestamp, is_calendars: bool, now: Timestamp) -> bool {
        match self.reset_at.filter(|reset| *reset <= now) {
            Some(reset) => start == reset || (is_calendars && start > reset),
            None => is_calendars,
        }
    }

    /// When a period ends that ends at `end` by the calendar: a reset that lies ahead ends it before.
    pub fn ends(&self, end: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let reset = self.reset_at.filter(|reset| now < *reset);
        end.into_iter().chain(reset).min()
    }

    /// How much it is at a moment.
    pub fn limit_at(&self, now: Timestamp) -> PicoUsd {
        match self.extra {
            Some(Extra { amount, until }) if now < until => self.limit.plus(amount),
            Some(_) | None => self.limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_queries_is_rounded_in_their_favour() {
        let limits = Limits {
            requests_per_minute: Some(10),
            tokens_per_day: Some(u64::MAX),
            parallel_requests: Some(1),
            reserved_for_queries_percent: Some(25),
            ..Limits::NONE
        };
        let documents =
            limits.for_documents().map(|of| (of.requests_per_minute, of.tokens_per_day, of.parallel_requests));
        assert_eq!(documents, Some((Some(7), Some(13_835_058_055_282_163_711), Some(1))));
        assert_eq!(Limits::NONE.for_documents(), None);
    }

    #[test]
    fn limits_on_trial_that_limit_nothing_are_none() {
        assert!(Limits { audit: true, reserved_for_queries_percent: Some(5), ..Limits::NONE }.is_none());
        assert!(!Limits { requests_per_day: Some(1), ..Limits::NONE }.is_none());
    }
}
