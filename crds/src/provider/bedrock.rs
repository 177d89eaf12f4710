//! Amazon Bedrock.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{PodIdentity, URL, WebIdentity};
use crate::{SecretKeyRef, SecretRef};

/// Amazon Bedrock in a region. The backend's `model` is required: a model's ID (Titan Embeddings v1 or v2, Cohere Embed v3 or v4,
/// Nova Multimodal Embeddings), with a cross-region prefix or without, or the ARN of a foundation model, an inference profile, an
/// application inference profile or a provisioned model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.accessKeySecretRef), has(self.apiKeySecretRef), has(self.webIdentity), has(self.podIdentity)].filter(x, x).size() == 1")
    .message("Bedrock is called with one credential: set one of accessKeySecretRef, apiKeySecretRef, webIdentity, podIdentity"))]
pub struct Bedrock {
    /// The region, for example `us-east-1`.
    #[schemars(length(min = 5, max = 32), regex(pattern = r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$"))]
    pub region: String,
    /// The API's address, for a VPC endpoint or FIPS. By default `https://bedrock-runtime.{region}.amazonaws.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL))]
    pub endpoint: Option<String>,
    /// The ID of the foundation model behind an ARN that does not tell it, as those of application inference profiles and provisioned
    /// models: `amazon.titan-embed-text-v2:0`. It says how the model is spoken to, and what it costs by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub foundation_model: Option<String>,
    /// A Secret with an access key, in entries named as AWS's own tools name their variables: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY` and, for temporary keys, `AWS_SESSION_TOKEN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_secret_ref: Option<SecretRef>,
    /// An API key of Bedrock's: one line, sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// The pod's own token, exchanged for the keys of a role (IAM roles for service accounts): no key is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_identity: Option<WebIdentity>,
    /// The keys of the role that EKS Pod Identity gives the pod's `ServiceAccount`: no key is stored. Write `podIdentity: {}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_identity: Option<PodIdentity>,
}
