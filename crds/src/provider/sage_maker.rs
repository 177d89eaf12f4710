//! Amazon `SageMaker`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PodIdentity, URL, WebIdentity};
use crate::SecretRef;

/// An endpoint of Amazon `SageMaker`. Its name does not say which model answers: set the backend's `model` or `space` where the
/// route has several backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.accessKeySecretRef), has(self.webIdentity), has(self.podIdentity)].filter(x, x).size() == 1")
    .message("SageMaker is called with one credential: set one of accessKeySecretRef, webIdentity, podIdentity"))]
pub struct SageMaker {
    /// The region, for example `us-east-1`.
    #[schemars(length(min = 5, max = 32), regex(pattern = r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$"))]
    pub region: String,
    /// The endpoint's name: letters, digits and `-`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9](-*[A-Za-z0-9])*$"))]
    pub endpoint_name: String,
    /// What the endpoint's container speaks. `TextEmbeddingsInference`: Hugging Face's own shape. `OpenAI`: OpenAI's.
    pub container: Container,
    /// The API's root, for a VPC endpoint. By default `https://runtime.sagemaker.{region}.amazonaws.com`.
    #[serde(default, rename = "baseURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL))]
    pub base_url: Option<String>,
    /// A Secret with an access key, in entries named as AWS's own tools name their variables: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY` and, for temporary keys, `AWS_SESSION_TOKEN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_secret_ref: Option<SecretRef>,
    /// The pod's own token, exchanged for the keys of a role (IAM roles for service accounts): no key is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_identity: Option<WebIdentity>,
    /// The keys of the role that EKS Pod Identity gives the pod's `ServiceAccount`: no key is stored. Write `podIdentity: {}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_identity: Option<PodIdentity>,
}

/// What a container speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Container {
    /// Text Embeddings Inference's own shape.
    TextEmbeddingsInference,
    /// OpenAI's.
    #[serde(rename = "OpenAI")]
    OpenAi,
}
