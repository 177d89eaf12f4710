//! What a Team says of its keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Budget, Limits, Rotation};

/// What a key of the Team has that says nothing of it itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyDefaults {
    /// The limits of a key that has none at all.
    #[serde(default)]
    pub limits: Limits,
    /// The budgets of a key that has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub budgets: Vec<Budget>,
    /// The models of a key that names none: public names, or prefixes followed by `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 253), regex(pattern = r"^[^*]*\*?$")))]
    pub models: Option<Vec<String>>,
    /// How long after its creation a key ends that has no `expiresAt`, for example "2160h".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", regex(pattern = r"^([0-9]{1,5}(h|m|s)){1,3}$"))]
    pub expires_after: Option<String>,
    /// When a generated key is renewed that says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// How long calls wait for room in a limit, of a key that says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 600))]
    pub max_wait_seconds: Option<u32>,
}

/// What no key of the Team may exceed. A key that asks for more is refused; one that says nothing has the bound itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyBounds {
    /// The highest limits that a key may set.
    #[serde(default)]
    pub limits: Limits,
    /// The highest budgets that a key may set, by period: a key's budget of the same period may be at most so much.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub budgets: Vec<Budget>,
    /// The longest time after its creation that a key may last, for example "8760h".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", regex(pattern = r"^([0-9]{1,5}(h|m|s)){1,3}$"))]
    pub expires_after: Option<String>,
    /// The longest that calls may wait for room in a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 600))]
    pub max_wait_seconds: Option<u32>,
}
