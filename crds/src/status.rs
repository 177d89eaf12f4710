//! What the operator reports on each resource.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of an ApiKey, written by the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds of the key: `Accepted`, `ResolvedRefs`, `Programmed`, `Ready`; `ModelsMatched` where it has `models`; `LimitsExact` where it has
    /// limits; and, where it has
    /// a budget and sidecars count together in a store, `BudgetExceeded` and, with `warnAtPercent`, `BudgetWarning`; `Expired` where it
    /// has an end, and `Suspended` while it is. A suspended or expired key is Ready: it is as it is meant to be.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
    /// The Secret that holds the key; none where only its hash is known (`keyHash`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// The last four characters of the key, to tell keys apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_hint: Option<String>,
    /// When the key is renewed next, if by interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation: Option<Time>,
    /// What the key has spent, where sidecars count together in a store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend: Option<Spend>,
}

/// The state of a Team, written by the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TeamStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds of the Team: `Accepted`, `ResolvedRefs`, `Programmed`, `Ready`; `ModelsMatched` where it has `models`; `LimitsExact` where it has
    /// limits; and, where it has
    /// a budget and sidecars count together in a store, `BudgetExceeded` and, with `warnAtPercent`, `BudgetWarning`; and `Suspended`
    /// while it is.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
    /// What the Team's keys have spent, and those of all Teams below it, where sidecars count together in a store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend: Option<Spend>,
}

/// Money that was spent in the present period of the (first) budget; without a budget, in the calendar month in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spend {
    /// US dollars as a decimal string.
    pub amount: String,
    /// The budget's limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// What is left of it. Sidecars hold a part of that for calls under way and to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<String>,
    /// When the period ends and the spend counts from zero again; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<Time>,
    /// The same of each budget, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetSpend>,
    /// When this was written: about once a minute while it changes, and within seconds when much of the budget was spent.
    pub updated_at: Time,
}

/// Money that was spent in the present period of one of several budgets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetSpend {
    /// Which: its period, with when that begins, for example `Monthly` or `Yearly-04-06`.
    pub period: String,
    /// US dollars as a decimal string.
    pub amount: String,
    /// The budget's limit.
    pub limit: String,
    /// What is left of it. Sidecars hold a part of that for calls under way and to come.
    pub remaining: String,
    /// When the period ends and the spend counts from zero again; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<Time>,
}

/// The state of a ModelRoute, written by the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelRouteStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds of the route: `Accepted`, `ResolvedRefs`, `Priced`, `Conflicted`, `Reachable`, `Programmed`, `Ready`;
    /// `PricesCurrent` where it uses list prices; `BudgetExceeded` where backends have budgets and sidecars count together in a store.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
    /// What is owed to the providers of backends with budgets, where sidecars count together in a store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<BackendStatus>,
}

/// What is owed to a backend's provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendStatus {
    /// The backend's name.
    pub name: String,
    /// What its calls have cost in the present period of its (first) budget.
    pub spend: Spend,
}
