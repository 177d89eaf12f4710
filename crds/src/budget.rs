//! How much money may be spent in a period.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DateTime, Enforcement};

/// A budget: money that may be spent within each period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.period) != has(self.everyDays)")
    .message("period names a stretch of the calendar, everyDays counts days: set one of them"))]
#[x_kube(validation = Rule::new("!has(self.everyDays) || has(self.startsOn)")
    .message("everyDays counts from a date: set startsOn, for example \"2026-04-01\""))]
#[x_kube(validation = Rule::new("!has(self.startsOn) || !has(self.period) || !(self.period in ['Hourly', 'Daily', 'Total'])")
    .message("startsOn is for weeks, months, quarters, years and everyDays: leave it out"))]
#[x_kube(validation = Rule::new("!has(self.startsOn) || !has(self.period) || !(self.period in ['Monthly', 'Quarterly', 'Yearly']) || int(self.startsOn.substring(8)) <= 28")
    .message("not every month has that day: write a startsOn from 01 to 28"))]
pub struct Budget {
    /// US dollars as a decimal string, for example "25.00". Up to twelve digits after the point.
    #[schemars(length(max = 20), regex(pattern = r"^[0-9]{1,7}(\.[0-9]{1,12})?$"))]
    pub limit: String,
    /// The period after which the spend counts from zero again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// The same as a number of days, counted from `startsOn`. In place of `period`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 366))]
    pub every_days: Option<u16>,
    /// A day on which a period begins, for example "2026-04-06": periods are counted from it, forwards and backwards. A week begins
    /// on its weekday, a month on its day of the month, a quarter and a (fiscal) year on its day and month. Absent: on Mondays, on
    /// the first of the month, in January.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "Option<String>",
        length(max = 10),
        regex(pattern = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")
    )]
    pub starts_on: Option<String>,
    /// The IANA time zone whose calendar decides where a period ends, for example "Europe/Berlin".
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*$"))]
    pub time_zone: String,
    /// From how much of the limit on, in percent, the condition `BudgetWarning` is True, where sidecars count together in a
    /// store. Absent: never. Of the budgets of `ApiKeys` and `Teams` only: a user has no status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 100))]
    pub warn_at_percent: Option<u8>,
    /// Money on top of the limit, for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<ExtraBudget>,
    /// Enforce: calls beyond it are refused. Audit: they are served, and counted in `vectoll_would_reject_total`, named in the
    /// answer's header `x-vectoll-would-reject` and in the access log: so a budget can be tried before it bites.
    #[serde(default, skip_serializing_if = "Enforcement::is_enforce")]
    pub enforcement: Enforcement,
}

/// Money on top of a budget's limit, for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtraBudget {
    /// US dollars as a decimal string.
    #[schemars(length(max = 20), regex(pattern = r"^[0-9]{1,7}(\.[0-9]{1,12})?$"))]
    pub amount: String,
    /// Until when (RFC 3339). From then on the limit is what it was, whatever was spent.
    pub until: DateTime,
}

/// A stretch of the calendar that a budget covers. The days on which weeks and longer periods begin can be moved by `startsOn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Period {
    /// From one full hour to the next.
    Hourly,
    /// From midnight to midnight.
    Daily,
    /// From Monday's midnight to the next.
    Weekly,
    /// From the first of the month to the next.
    Monthly,
    /// From the first of January, April, July and October.
    Quarterly,
    /// From the first of January to the next.
    Yearly,
    /// Never ends: the budget is for the whole life of what it is set on.
    Total,
}

fn utc() -> String {
    "UTC".to_owned()
}
