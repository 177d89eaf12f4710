//! ApiKey: who may call, as whom, and how much.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::{ApiKeyStatus, Budget, DateTime, Limits, ModelLimits, Rotation, SecretKeyRef, SecretTemplate, TeamRef};

/// An ApiKey: a credential that programs in its namespace call the sidecar with. Its value lives in a Secret only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "vectoll.dev",
    version = "v1alpha1",
    kind = "ApiKey",
    plural = "apikeys",
    namespaced,
    derive = "PartialEq",
    status = "ApiKeyStatus",
    cel,
    category = "vectoll",
    shortname = "vkey",
    doc = "An ApiKey is a credential for the embeddings endpoint in its namespace's pods, with limits and a budget.",
    printcolumn(name = "Team", type_ = "string", json_path = ".spec.teamRef.name"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.user"),
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
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(name = "Expired", type_ = "string", json_path = ".status.conditions[?(@.type==\"Expired\")].status"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspended"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!(has(self.secretName) && has(self.secretRef))")
    .message("secretName names the Secret to generate, secretRef one that you keep: set one of them"))]
#[x_kube(validation = Rule::new("!has(self.secretName) || self.secretName != 'vectoll-sidecar'")
    .message("vectoll-sidecar is the name of the sidecars' config Secret: set another name"))]
#[x_kube(validation = Rule::new("!(has(self.rotation) && has(self.secretRef))")
    .message("rotation renews generated keys, and secretRef names one that you keep: set one of them"))]
#[x_kube(validation = Rule::new("!(has(self.keyHash) && (has(self.secretName) || has(self.secretRef)))")
    .message("keyHash is all there is of a key whose value is elsewhere: set it, or one of secretName and secretRef"))]
#[x_kube(validation = Rule::new("!(has(self.rotation) && has(self.keyHash))")
    .message("rotation renews generated keys, and keyHash is of one whose value is elsewhere: set one of them"))]
#[x_kube(validation = Rule::new("!(has(self.secretTemplate) && (has(self.secretRef) || has(self.keyHash)))")
    .message("secretTemplate is for the Secret that is generated, and secretRef and keyHash are of keys that you keep: remove one of them"))]
#[x_kube(validation = Rule::new("!has(self.userPolicy) || self.userPolicy != 'Owner' || has(self.user)")
    .message("userPolicy: Owner books every call to the key's user: set user"))]
#[x_kube(validation = Rule::new("!(has(self.budget) && has(self.budgets))")
    .message("budget is for one, budgets for several: set one of them"))]
pub struct ApiKeySpec {
    /// The Team that the key belongs to.
    pub team_ref: TeamRef,
    /// The key's owner: the user that a call is booked to when it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub user: Option<String>,
    /// Request: a call may name its end user. Owner: every call is the owner's, whatever it says.
    #[serde(default)]
    pub user_policy: UserPolicy,
    /// Models that the key may use, within what its Team may: public names, or prefixes followed by `*`. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 253), regex(pattern = r"^[^*]*\*?$")))]
    pub models: Option<Vec<String>>,
    /// Limits on all of the key's calls together.
    #[serde(default)]
    pub limits: Limits,
    /// The most tokens of one call: a larger one is refused, however much the limits have left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1))]
    pub max_tokens_per_call: Option<u64>,
    /// Limits on the key's calls to one model, or to the models of a pattern.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["model".to_owned()]))]
    pub model_limits: Vec<ModelLimits>,
    /// Limits on each end user's calls with this key.
    #[serde(default)]
    pub user_limits: Limits,
    /// The key's budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// The key's budgets, where there are several, each with another period. A call's money must fit into each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub budgets: Vec<Budget>,
    /// How long a call with this key may wait for room in a limit, in seconds, instead of being refused at once. Those who came first
    /// go first; a call whose wait cannot succeed is refused at once. A call may ask for less (`x-vectoll-max-wait`). Absent: calls do
    /// not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 600))]
    pub max_wait_seconds: Option<u32>,
    /// When the key stops working (RFC 3339). `9999-12-31T23:59:59Z` means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime>,
    /// Refuses every call with this key while true.
    #[serde(default)]
    pub suspended: bool,
    /// The name of the Secret to generate the key into; by default the ApiKey's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret_name: Option<String>,
    /// Labels and annotations of the Secret that is generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_template: Option<SecretTemplate>,
    /// A Secret that holds a key of your own, for a move from elsewhere. At least 16 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// The SHA-256 of a key that was handed out elsewhere: `sha256:` and 64 lower-case hexadecimal digits, which is what LiteLLM stores of
    /// its keys. No Secret is made for it. It tells nobody the key, so it can be kept in git, if the key is long and random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub key_hash: Option<String>,
    /// When a generated key is renewed, and how long the value before stays valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// What stands in the access log of each of the key's calls (`key_metadata`), for example a cost centre: at most 16 entries. It goes
    /// to no provider and into no metric. No secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "metadata")]
    #[x_kube(validation = Rule::new("self.all(name, size(name) >= 1 && size(name) <= 63)")
        .message("names in metadata have 1 to 63 characters"))]
    pub metadata: BTreeMap<String, String>,
    /// The cost centre that what the key spends is allocated to in the bill: letters, digits, and `- _ . / :` and spaces between them. Absent: its Team's.
    /// A change counts for what is spent from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_./: ]*[A-Za-z0-9])?$"))]
    pub cost_center: Option<String>,
}

/// Bounds that the types of a map cannot say.
fn metadata(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 256},
    })
}

/// Whose word decides which end user a call is booked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum UserPolicy {
    /// The call's.
    #[default]
    Request,
    /// The key's: always its owner.
    Owner,
}
