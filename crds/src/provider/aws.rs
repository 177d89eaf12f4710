//! How a caller says to AWS who it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::URL;

/// A role that the pod's own token stands for (IAM roles for service accounts).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebIdentity {
    /// The role: `arn:aws:iam::123456789012:role/embeddings`. It must trust the cluster's issuer for the pod's `ServiceAccount`.
    #[serde(rename = "roleARN")]
    #[schemars(
        length(min = 20, max = 2048),
        regex(pattern = r"^arn:aws[-a-z]*:iam::[0-9]{12}:role/[-+=,.@_/A-Za-z0-9]+$")
    )]
    pub role_arn: String,
    /// Where tokens are exchanged. By default the region's own: `https://sts.{region}.amazonaws.com`.
    #[serde(default, rename = "stsURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL))]
    pub sts_url: Option<String>,
}

/// EKS Pod Identity has no settings: an association in EKS says which role a `ServiceAccount` has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodIdentity {}
