//! Team: people or programs that share limits, a budget and a view of the models.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    AllowedNamespaces, Budget, KeyBounds, KeyDefaults, Limits, ModelLimits, OnStoreFailure, ParentRef, TagLimits,
    TeamStatus,
};

/// A Team: what its keys share. Each ApiKey belongs to one Team and is held to the Team's limits and budget as well as
/// to its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "vectoll.dev",
    version = "v1alpha1",
    kind = "Team",
    plural = "teams",
    namespaced,
    derive = "PartialEq",
    status = "TeamStatus",
    cel,
    category = "vectoll",
    doc = "A Team shares limits, a budget and a view of the models among its ApiKeys.",
    printcolumn(name = "Display Name", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status",
        priority = 1
    ),
    printcolumn(name = "Spend", type_ = "string", json_path = ".status.spend.amount"),
    printcolumn(name = "Budget", type_ = "string", json_path = ".spec.budget.limit"),
    printcolumn(name = "Period", type_ = "string", json_path = ".spec.budget.period"),
    printcolumn(name = "Remaining", type_ = "string", json_path = ".status.spend.remaining"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspended"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.userBudget) || !has(self.userBudget.warnAtPercent)")
    .message("warnAtPercent is for budgets of ApiKeys and Teams, whose status can warn: leave it out of userBudget"))]
#[x_kube(validation = Rule::new("!has(self.namespaceBudget) || !has(self.namespaceBudget.warnAtPercent)")
    .message("warnAtPercent is for budgets of ApiKeys and Teams, whose status can warn: leave it out of namespaceBudget"))]
#[x_kube(validation = Rule::new("!(has(self.budget) && has(self.budgets))")
    .message("budget is for one, budgets for several: set one of them"))]
#[x_kube(validation = Rule::new("!(has(self.userBudget) && has(self.userBudgets))")
    .message("userBudget is for one, userBudgets for several: set one of them"))]
#[x_kube(validation = Rule::new("!(has(self.namespaceBudget) && has(self.namespaceBudgets))")
    .message("namespaceBudget is for one, namespaceBudgets for several: set one of them"))]
#[x_kube(validation = Rule::new("!has(self.userBudgets) || self.userBudgets.all(budget, !has(budget.warnAtPercent))")
    .message("warnAtPercent is for budgets of ApiKeys and Teams, whose status can warn: leave it out of userBudgets"))]
#[x_kube(validation = Rule::new("!has(self.namespaceBudgets) || self.namespaceBudgets.all(budget, !has(budget.warnAtPercent))")
    .message("warnAtPercent is for budgets of ApiKeys and Teams, whose status can warn: leave it out of namespaceBudgets"))]
#[x_kube(validation = Rule::new("!has(self.keyDefaults) || !has(self.keyBounds) || !has(self.keyDefaults.maxWaitSeconds) || \
                                 !has(self.keyBounds.maxWaitSeconds) || self.keyDefaults.maxWaitSeconds <= self.keyBounds.maxWaitSeconds")
    .message("keyDefaults.maxWaitSeconds must be at most keyBounds.maxWaitSeconds"))]
#[x_kube(validation = Rule::new("!has(self.keyDefaults) || !has(self.keyBounds) || !has(self.keyDefaults.expiresAfter) || \
                                 !has(self.keyBounds.expiresAfter) || duration(self.keyDefaults.expiresAfter) <= duration(self.keyBounds.expiresAfter)")
    .message("keyDefaults.expiresAfter must be at most keyBounds.expiresAfter"))]
#[x_kube(validation = Rule::new("!has(self.keyDefaults) || !has(self.keyBounds) || !has(self.keyDefaults.limits.requestsPerMinute) || \
                                 !has(self.keyBounds.limits.requestsPerMinute) || self.keyDefaults.limits.requestsPerMinute <= self.keyBounds.limits.requestsPerMinute")
    .message("keyDefaults.limits.requestsPerMinute must be at most keyBounds.limits.requestsPerMinute"))]
#[x_kube(validation = Rule::new("!has(self.keyDefaults) || !has(self.keyBounds) || !has(self.keyDefaults.limits.tokensPerMinute) || \
                                 !has(self.keyBounds.limits.tokensPerMinute) || self.keyDefaults.limits.tokensPerMinute <= self.keyBounds.limits.tokensPerMinute")
    .message("keyDefaults.limits.tokensPerMinute must be at most keyBounds.limits.tokensPerMinute"))]
#[x_kube(validation = Rule::new("!has(self.keyDefaults) || !has(self.keyBounds) || !has(self.keyDefaults.limits.requestsPerHour) || \
                                 !has(self.keyBounds.limits.requestsPerHour) || self.keyDefaults.limits.requestsPerHour <= self.keyBounds.limits.requestsPerHour")
    .message("keyDefaults.limits.requestsPerHour must be at most keyBounds.limits.requestsPerHour"))]
#[x_kube(validation = Rule::new("!has(self.keyDefaults) || !has(self.keyBounds) || !has(self.keyDefaults.limits.tokensPerHour) || \
                                 !has(self.keyBounds.limits.tokensPerHour) || self.keyDefaults.limits.tokensPerHour <= self.keyBounds.limits.tokensPerHour")
    .message("keyDefaults.limits.tokensPerHour must be at most keyBounds.limits.tokensPerHour"))]
#[x_kube(validation = Rule::new("!has(self.keyDefaults) || !has(self.keyBounds) || !has(self.keyDefaults.limits.requestsPerDay) || \
                                 !has(self.keyBounds.limits.requestsPerDay) || self.keyDefaults.limits.requestsPerDay <= self.keyBounds.limits.requestsPerDay")
    .message("keyDefaults.limits.requestsPerDay must be at most keyBounds.limits.requestsPerDay"))]
#[x_kube(validation = Rule::new("!has(self.keyDefaults) || !has(self.keyBounds) || !has(self.keyDefaults.limits.tokensPerDay) || \
                                 !has(self.keyBounds.limits.tokensPerDay) || self.keyDefaults.limits.tokensPerDay <= self.keyBounds.limits.tokensPerDay")
    .message("keyDefaults.limits.tokensPerDay must be at most keyBounds.limits.tokensPerDay"))]
#[x_kube(validation = Rule::new("!has(self.keyDefaults) || !has(self.keyBounds) || !has(self.keyDefaults.limits.parallelRequests) || \
                                 !has(self.keyBounds.limits.parallelRequests) || self.keyDefaults.limits.parallelRequests <= self.keyBounds.limits.parallelRequests")
    .message("keyDefaults.limits.parallelRequests must be at most keyBounds.limits.parallelRequests"))]
pub struct TeamSpec {
    /// A name for people, free of the rules for resource names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub display_name: Option<String>,
    /// The Team above this one, as an organisation is above its teams. Its `limits`, `budgets`, `modelLimits`, `tagLimits`, `models`,
    /// `maxTokensPerCall`, `keyBounds` and `suspended` hold for all calls of this Team's keys as well, and its `keyDefaults` are theirs
    /// where this Team says nothing. At most four Teams stand above each other. A parent that is missing, does not allow it, or leads
    /// in a circle stops this Team: its keys are refused until the reference is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_ref: Option<ParentRef>,
    /// Namespaces whose `ApiKeys` and `Teams` may name this Team.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,
    /// Namespaces whose `ModelRoutes` this Team's keys see, in this order, after the key's own namespace and the
    /// Team's. A route there must allow the key's namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub route_namespaces: Vec<String>,
    /// Models that the Team's keys may use: public names, or prefixes followed by `*`. Absent: all that its keys see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 253), regex(pattern = r"^[^*]*\*?$")))]
    pub models: Option<Vec<String>>,
    /// Limits on all of the Team's calls together.
    #[serde(default)]
    pub limits: Limits,
    /// The most tokens of one call of any of its keys: a larger one is refused, however much the limits have left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1))]
    pub max_tokens_per_call: Option<u64>,
    /// Limits on the Team's calls to one model, or to the models of a pattern.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["model".to_owned()]))]
    pub model_limits: Vec<ModelLimits>,
    /// Limits on the Team's calls with a tag (`tags` in the header `x-litellm-metadata`, and wherever else callers write them).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["tag".to_owned()]))]
    pub tag_limits: Vec<TagLimits>,
    /// Limits on each end user's calls, over all of the Team's keys.
    #[serde(default)]
    pub user_limits: Limits,
    /// The Team's budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// The Team's budgets, where there are several, each with another period. A call's money must fit into each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub budgets: Vec<Budget>,
    /// Each end user's budget within the Team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_budget: Option<Budget>,
    /// Each end user's budgets within the Team, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub user_budgets: Vec<Budget>,
    /// Limits on each other namespace whose keys belong to this Team: on all calls from there together. The Team's own
    /// namespace is not held to them.
    #[serde(default)]
    pub namespace_limits: Limits,
    /// The budget of each other namespace whose keys belong to this Team. The Team's own namespace is not held to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_budget: Option<Budget>,
    /// The budgets of each other namespace whose keys belong to this Team, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub namespace_budgets: Vec<Budget>,
    /// What the Team's keys have that say nothing of it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_defaults: Option<KeyDefaults>,
    /// What no key of the Team may exceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_bounds: Option<KeyBounds>,
    /// How many end users are told apart. Those beyond share one account, `_other`.
    #[serde(default = "max_users")]
    #[schemars(with = "i64", range(min = 1, max = 1_000_000))]
    pub max_users: u32,
    /// What becomes of limited calls while the store of the cluster's counts cannot be reached. Local: each sidecar goes on
    /// with its share of what was left. Closed: they are refused (503). Absent: what the operator's own setting says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_store_failure: Option<OnStoreFailure>,
    /// Tags of calls (the header `x-litellm-tags`, or `tags` in the body) whose spend is told apart in metrics and in the bill. Other tags only stand
    /// in the access log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 128)))]
    pub tags: Vec<String>,
    /// Refuses every call of the Team's keys while true.
    #[serde(default)]
    pub suspended: bool,
    /// The cost centre that what its keys spend is allocated to in the bill: letters, digits, and `- _ . / :` and spaces between them. Absent: that of the Team above.
    /// A key may name another one.
    /// A change counts for what is spent from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_./: ]*[A-Za-z0-9])?$"))]
    pub cost_center: Option<String>,
}

fn max_users() -> u32 {
    100_000
}
