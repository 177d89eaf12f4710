//! How much: limits and budgets.

use serde::{Deserialize, Serialize};

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
    /// Requests at the same moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel_requests: Option<u64>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Limits on the models that a pattern covers, counted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelLimits {
    /// The pattern.
    pub model: ModelPattern,
    /// The limits.
    pub limits: Limits,
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

/// A stretch of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Period {
    /// Midnight to midnight.
    Daily,
    /// Monday to Monday.
    Weekly,
    /// The first of the month to the next.
    Monthly,
    /// For ever.
    Total,
}
