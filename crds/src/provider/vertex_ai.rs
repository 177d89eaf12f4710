//! Vertex AI.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::URL;
use crate::SecretKeyRef;

/// Vertex AI of a Google Cloud project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.serviceAccountSecretRef) != has(self.metadataServer)")
    .message("Vertex AI is called with one credential: set one of serviceAccountSecretRef, metadataServer"))]
pub struct VertexAi {
    /// The project's ID or number.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^([a-z0-9][-.a-z0-9]*:)?[a-z0-9][-a-z0-9]*$"))]
    pub project: String,
    /// The location, for example `europe-west4`, or `global`.
    #[schemars(length(min = 2, max = 63), regex(pattern = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"))]
    pub location: String,
    /// The API's root, for Private Service Connect. By default `https://{location}-aiplatform.googleapis.com`, for `global`
    /// <https://aiplatform.googleapis.com>.
    #[serde(default, rename = "baseURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL))]
    pub base_url: Option<String>,
    /// A service account's key, or a configuration for workload identity federation (`external_account`): the JSON file as Google
    /// Cloud gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_secret_ref: Option<SecretKeyRef>,
    /// The node's metadata server: on GKE, workload identity for the pod's `ServiceAccount`. No key is stored. Write
    /// `metadataServer: {}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_server: Option<MetadataServer>,
}

/// The metadata server has no settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetadataServer {}
