//! Who outside its own namespace may use a resource.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The owner's half of sharing across namespaces: which namespaces may name this resource.
///
/// The shape is Gateway API's `allowedRoutes.namespaces`. The user's half is to name it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.selector) == (has(self.from) && self.from == 'Selector')")
    .message("selector goes with from: Selector: set both, or leave selector out")
    .reason(Reason::FieldValueInvalid))]
pub struct AllowedNamespaces {
    /// Same: only this namespace. All: every namespace. Selector: namespaces whose labels match.
    #[serde(default)]
    pub from: From,
    /// Labels of the namespaces that are allowed; with `from: Selector` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

/// Labels of namespaces, in the form of Kubernetes's own label selectors. Stricter than those in two points, because a slip
/// here shares with strangers: unknown fields are refused, and a selector that selects everything is written `from: All`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)")
    .message("an empty selector would share with every namespace: name labels, or write from: All"))]
pub struct NamespaceSelector {
    /// Labels that the namespace must have, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on its labels; all of them must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelRequirement {
    /// The label.
    #[schemars(length(min = 1, max = 316))]
    pub key: String,
    /// What must hold of its value.
    pub operator: LabelOperator,
    /// The values that `In` and `NotIn` speak of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub values: Vec<String>,
}

/// What is asked of a label's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// It is one of the values.
    In,
    /// It is none of the values, or the label is not there.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// Where users of a resource may come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum From {
    /// The resource's own namespace only.
    #[default]
    Same,
    /// Every namespace.
    All,
    /// Namespaces whose labels match the selector.
    Selector,
}
