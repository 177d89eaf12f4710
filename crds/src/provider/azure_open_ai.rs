//! Azure OpenAI.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::URL;
use crate::SecretKeyRef;

/// A resource of Azure OpenAI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.apiKeySecretRef) != has(self.entra)")
    .message("Azure OpenAI is called with a key or with a token of Entra ID: set one of apiKeySecretRef, entra"))]
pub struct AzureOpenAi {
    /// The resource's address: `https://my-resource.openai.azure.com`.
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL))]
    pub endpoint: String,
    /// The deployment's name: letters, digits, `-`, `_` and `.`. By default the one that has the model's name. It does not say
    /// which model answers: set the backend's `model` or `space` where the route has several backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9][-._A-Za-z0-9]*$"))]
    pub deployment: Option<String>,
    /// Sent as `api-version`: a date, with `-preview` behind it or without.
    #[serde(default = "api_version")]
    #[schemars(length(max = 18), regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?$"))]
    pub api_version: String,
    /// A key of the resource: one line, sent as `api-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// An application in Entra ID, whose tokens are sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<Entra>,
}

/// An application in Microsoft Entra ID. Without a secret it trusts the cluster: by workload identity, the pod's own token is
/// exchanged for one of Entra's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entra {
    /// The tenant: its ID, or one of its domains.
    #[serde(rename = "tenantID")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?$"))]
    pub tenant_id: String,
    /// The application's ID, which is a UUID.
    #[serde(rename = "clientID")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$"))]
    pub client_id: String,
    /// Who issues tokens. By default the public cloud's <https://login.microsoftonline.com>.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL))]
    pub authority: Option<String>,
    /// The application's secret: one line. Absent: the pod's own token stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_ref: Option<SecretKeyRef>,
}

fn api_version() -> String {
    "2024-10-21".to_owned()
}
