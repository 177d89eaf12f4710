//! Who calls: Teams and keys.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Budget, Limits, ModelLimits, OnStoreFailure, TagLimits, left_out::is_false};
use crate::{KeyHash, ModelPattern, ObjectName, Uid};

/// How many Teams may stand above each other, the lowest and the topmost included.
pub const MAX_TREE_DEPTH: usize = 4;

/// What the keys of a Team share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Team {
    /// The Team's name, `namespace/name`.
    pub name: ObjectName,
    /// What its account is kept under.
    pub uid: Uid,
    /// The Team above it, whose limits and budgets hold its calls, too: one of `teams`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ObjectName>,
    /// Refuse all calls.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspended: bool,
    /// Where to look for a model's route, in this order.
    pub route_namespaces: Vec<String>,
    /// Models that may be used; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<ModelPattern>>,
    /// Limits on all calls.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// The most tokens of one call; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens_per_call: Option<u64>,
    /// Limits on one model or pattern.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub model_limits: Vec<ModelLimits>,
    /// Limits on one tag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tag_limits: Vec<TagLimits>,
    /// Limits on each end user.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub user_limits: Limits,
    /// The Team's budget, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Its budgets, if it has several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    /// Each end user's budget, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_budget: Option<Budget>,
    /// Each end user's budgets, if they are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_budgets: Vec<Budget>,
    /// Limits on all calls from this namespace: absent where it is the Team's own.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub namespace_limits: Limits,
    /// The budget of this namespace: absent where it is the Team's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_budget: Option<Budget>,
    /// Its budgets, if they are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespace_budgets: Vec<Budget>,
    /// Whether routes of this namespace are none of the Team's, so that whoever owns the Team has no say in their prices: what
    /// they cost counts in no budget but the key's.
    #[serde(default, skip_serializing_if = "is_false")]
    pub foreign_routes: bool,
    /// How many end users are told apart.
    pub max_users: u32,
    /// What holds for this Team while the store cannot be reached; absent: what the store's own setting says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_store_failure: Option<OnStoreFailure>,
    /// Tags of calls whose spend is counted on its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// A credential and what it may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    /// The ApiKey's name, `namespace/name`.
    pub name: ObjectName,
    /// What its account is kept under.
    pub uid: Uid,
    /// The Team it belongs to: one of `teams`.
    pub team: ObjectName,
    /// The values that are valid for it.
    pub credentials: Vec<Credential>,
    /// The owner: the user of calls that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether calls may name their user.
    #[serde(default, skip_serializing_if = "UserPolicy::is_request")]
    pub user_policy: UserPolicy,
    /// Models that may be used; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<ModelPattern>>,
    /// Limits on all calls.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// The most tokens of one call; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens_per_call: Option<u64>,
    /// Limits on one model or pattern.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub model_limits: Vec<ModelLimits>,
    /// Limits on each end user.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub user_limits: Limits,
    /// The key's budget, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Its budgets, if it has several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    /// When it stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Refuse all calls.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspended: bool,
    /// How long calls may wait for room in limits, in seconds; absent: they are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_wait_seconds: Option<u32>,
    /// What stands in the access log of each of its calls, and nowhere else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// One valid value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credential {
    /// Its SHA-256.
    pub sha256: KeyHash,
    /// When this value ends, though the key goes on: it was replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Whose word decides the user of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserPolicy {
    /// The call's.
    #[default]
    Request,
    /// The key's: always its owner.
    Owner,
}

impl UserPolicy {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn is_request(&self) -> bool {
        *self == Self::Request
    }
}
