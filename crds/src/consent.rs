//! Who outside its own namespace may use a resource.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The owner's half of sharing across namespaces: which namespaces may name this resource.
///
/// The shape is Gateway API's `allowedRoutes.namespaces`. The user's half is to name it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.selector) == (has(self.from) && self.from == 'Selector')")
    .message("selector goes with from: Selector: set both, or leave selector away")
    .reason(Reason::FieldValueInvalid))]
pub struct AllowedNamespaces {
    /// Same: only this namespace. All: every namespace. Selector: namespaces whose labels match.
    #[serde(default)]
    pub from: From,
    /// Labels of the namespaces that are allowed; with `from: Selector` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
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
