//! OpenAI, and whoever speaks its API.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::URL;
use crate::SecretKeyRef;

/// A provider that speaks OpenAI's embeddings API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!(has(self.baseURL) && has(self.preset))")
    .message("a preset has the service's address: set one of baseURL, preset"))]
#[x_kube(validation = Rule::new("!(has(self.workloadIdentity) && has(self.apiKeySecretRef))")
    .message("OpenAI is called with a key or with a token for the pod's own: set one of apiKeySecretRef, workloadIdentity"))]
#[x_kube(validation = Rule::new("!(has(self.workloadIdentity) && has(self.preset))")
    .message("a preset's service takes no tokens of OpenAI's: set one of preset, workloadIdentity"))]
pub struct OpenAi {
    /// The API's root: `/embeddings` is appended to it. https unless the provider is in reach without TLS. By default
    /// <https://api.openai.com/v1>, or the preset's.
    #[serde(default, rename = "baseURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL))]
    pub base_url: Option<String>,
    /// A service with OpenAI's API whose root is known: `Together`, `Fireworks`, `DeepInfra`, `Nebius` or `OpenRouter`. By default
    /// OpenAI itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// The credential, sent as `Authorization: Bearer`. Absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// Calls OpenAI without a key: the pod's own token is exchanged for one of a service account's. The pod needs a token for OpenAI (in the
    /// chart `sidecar.workloadIdentity.openai`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<OpenAiWorkloadIdentity>,
    /// Sent as `OpenAI-Organization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[!-~]+$"))]
    pub organization: Option<String>,
    /// Sent as `OpenAI-Project`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[!-~]+$"))]
    pub project: Option<String>,
}

/// A service account of OpenAI's that trusts the cluster, by workload identity federation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenAiWorkloadIdentity {
    /// The workload identity provider that stands for the cluster, by its ID at OpenAI: `idp_…`.
    #[serde(rename = "identityProviderID")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9][-._A-Za-z0-9]*$"))]
    pub identity_provider_id: String,
    /// The service account that the pod's `ServiceAccount` is mapped to, by its ID.
    #[serde(rename = "serviceAccountID")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9][-._A-Za-z0-9]*$"))]
    pub service_account_id: String,
    /// Where tokens are exchanged. By default <https://auth.openai.com/oauth/token>.
    #[serde(default, rename = "tokenURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL))]
    pub token_url: Option<String>,
}

/// A service with OpenAI's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Preset {
    /// Together AI.
    Together,
    /// Fireworks AI.
    Fireworks,
    /// `DeepInfra`.
    DeepInfra,
    /// Nebius Token Factory.
    Nebius,
    /// `OpenRouter`.
    OpenRouter,
}
