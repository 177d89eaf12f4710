//! How much may be asked for in a minute, an hour and a day, and at once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Budget, Enforcement};

/// Limits on a rate or on concurrency. What is absent is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Requests admitted in any 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1))]
    pub requests_per_minute: Option<u64>,
    /// Input tokens admitted in any 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1))]
    pub tokens_per_minute: Option<u64>,
    /// Requests admitted in any 60 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1))]
    pub requests_per_hour: Option<u64>,
    /// Input tokens admitted in any 60 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1))]
    pub tokens_per_hour: Option<u64>,
    /// Requests admitted in any 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1))]
    pub requests_per_day: Option<u64>,
    /// Input tokens admitted in any 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1))]
    pub tokens_per_day: Option<u64>,
    /// Requests under way at the same moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1))]
    pub parallel_requests: Option<u64>,
    /// The part of each of these limits, in percent, that only queries can take: calls whose input type is `query` (by the call's
    /// `input_type` or the route's `inputType`). So bulk indexing never starves search. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 99))]
    pub reserved_for_queries_percent: Option<u8>,
    /// Enforce: calls beyond these limits are refused. Audit: they are served, and counted in `vectoll_would_reject_total`, named in
    /// the answer's header `x-vectoll-would-reject` and in the access log: so a limit can be tried before it bites.
    #[serde(default, skip_serializing_if = "Enforcement::is_enforce")]
    pub enforcement: Enforcement,
}

/// Limits and budgets that hold for one model, or for all models that a pattern covers together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelLimits {
    /// The model's public name, or a prefix followed by `*`. All models that a pattern covers share one count.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[^*]*\*?$"))]
    pub model: String,
    /// The limits on it.
    #[serde(default)]
    pub limits: Limits,
    /// The budgets for it. A call's money must fit into each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub budgets: Vec<Budget>,
}

/// What becomes of limited calls while the store of the cluster's counts cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnStoreFailure {
    /// Each sidecar goes on with its share of what was left.
    Local,
    /// They are refused.
    Closed,
}

/// Limits and budgets that hold for the calls with one tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TagLimits {
    /// The tag. Its spend is counted as if it stood in `tags`.
    #[schemars(length(min = 1, max = 128))]
    pub tag: String,
    /// The limits on its calls together.
    #[serde(default)]
    pub limits: Limits,
    /// The budgets for them. A call's money must fit into each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub budgets: Vec<Budget>,
}
