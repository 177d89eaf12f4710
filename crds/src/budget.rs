//! How much money may be spent in a period.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A budget: money that may be spent within each period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Budget {
    /// US dollars as a decimal string, for example "25.00". Up to twelve digits after the point.
    #[schemars(length(max = 20), regex(pattern = r"^[0-9]{1,7}(\.[0-9]{1,12})?$"))]
    pub limit: String,
    /// The period after which the spend counts from zero again.
    pub period: Period,
    /// The IANA time zone whose calendar decides where a period ends, for example "Europe/Berlin".
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*$"))]
    pub time_zone: String,
    /// From how much of the limit on, in percent, the condition `BudgetWarning` is True, where sidecars count together in a
    /// store. Absent: never. Of the budgets of `ApiKeys` and `Teams` only: a user has no status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 100))]
    pub warn_at_percent: Option<u8>,
}

/// A stretch of the calendar that a budget covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Period {
    /// From midnight to midnight.
    Daily,
    /// From Monday's midnight to the next.
    Weekly,
    /// From the first of the month to the next.
    Monthly,
    /// Never ends: the budget is for the whole life of what it is set on.
    Total,
}

fn utc() -> String {
    "UTC".to_owned()
}
