//! How much: limits and budgets.

use serde::{Deserialize, Serialize};

use super::Period;
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
    };

    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
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
}
