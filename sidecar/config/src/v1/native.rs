//! Providers that speak an API of their own, and how a sidecar says who it is.

use serde::{Deserialize, Serialize};

/// Settings of a provider that speaks an API of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Native {
    /// The root, to which the API's own paths are appended: `https://api.cohere.com`.
    #[serde(rename = "baseURL")]
    pub base_url: String,
    /// Which API.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub api: Api,
    /// Who calls.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub auth: Auth,
}

/// An API, with what it needs beside a model and texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Api {
    /// Azure OpenAI.
    #[serde(rename = "azureOpenAI")]
    AzureOpenAi(AzureOpenAi),
    /// Amazon Bedrock. Which of its shapes it is, the model's name says, or else the foundation model's.
    Bedrock(Bedrock),
    /// Cohere, version 2.
    Cohere(Empty),
    /// Databricks Model Serving.
    Databricks(Databricks),
    /// Gemini.
    Gemini(Empty),
    /// Hugging Face Text Embeddings Inference.
    HuggingFace(Empty),
    /// Jina AI.
    Jina(Empty),
    /// Mistral AI.
    Mistral(Empty),
    /// NVIDIA NIM.
    Nvidia(Empty),
    /// Ollama.
    Ollama(Empty),
    /// Amazon `SageMaker`.
    SageMaker(SageMaker),
    /// Vertex AI.
    #[serde(rename = "vertexAI")]
    VertexAi(VertexAi),
    /// Voyage AI.
    Voyage(Empty),
    /// IBM watsonx.ai.
    Watsonx(Watsonx),
}

/// No settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// Azure OpenAI's settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AzureOpenAi {
    /// The deployment; absent: the one that has the model's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// `api-version`.
    pub api_version: String,
}

/// Amazon Bedrock's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bedrock {
    /// The ID of the foundation model, where the backend's model is an ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foundation_model: Option<String>,
}

/// Databricks' settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Databricks {
    /// What is put before queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_instruction: Option<String>,
}

/// `SageMaker`'s settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SageMaker {
    /// The endpoint's name.
    pub endpoint: String,
    /// What its container speaks.
    pub container: Container,
}

/// What a container speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Container {
    /// Text Embeddings Inference's own shape.
    TextEmbeddingsInference,
    /// OpenAI's.
    #[serde(rename = "OpenAI")]
    OpenAi,
}

/// Vertex AI's settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VertexAi {
    /// The project.
    pub project: String,
    /// The location.
    pub location: String,
}

/// watsonx.ai's settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Watsonx {
    /// `version`: a date.
    pub version: String,
    /// What is charged.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub within: Within,
}

/// What watsonx.ai charges.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Within {
    /// A project.
    #[serde(rename = "projectID")]
    Project(String),
    /// A deployment space.
    #[serde(rename = "spaceID")]
    Space(String),
}

/// How a sidecar says who it is. Files are those in the config folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Auth {
    /// It says nothing.
    None(Empty),
    /// A key, as `Authorization: Bearer`.
    Bearer(Key),
    /// A key, alone in a header.
    Header(HeaderKey),
    /// AWS Signature Version 4.
    Aws(Aws),
    /// A token of Google's.
    Google(#[serde(with = "serde_yaml::with::singleton_map")] Google),
    /// A token of Microsoft Entra ID.
    Entra(Entra),
    /// A token of IBM Cloud IAM.
    Ibm(Ibm),
}

/// A key in a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    /// The file.
    pub file: String,
}

/// A key for a header of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderKey {
    /// The header's name.
    pub name: String,
    /// The file.
    pub file: String,
}

/// Keys of AWS.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Aws {
    /// The region that is called.
    pub region: String,
    /// Where they come from.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub keys: AwsKeys,
}

/// Where keys of AWS come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AwsKeys {
    /// A file with an access key, as AWS's own tools write it, or as JSON.
    File(String),
    /// The pod's own token, exchanged for keys of a role.
    WebIdentity(WebIdentity),
    /// EKS Pod Identity's agent on the node.
    PodIdentity(Empty),
}

/// A role that the pod's own token stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebIdentity {
    /// The role.
    #[serde(rename = "roleARN")]
    pub role_arn: String,
    /// Where tokens are exchanged; absent: the region's own.
    #[serde(default, rename = "stsURL", skip_serializing_if = "Option::is_none")]
    pub sts_url: Option<String>,
}

/// Where a token of Google's comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Google {
    /// A file with a service account's key, or with an `external_account` configuration.
    File(String),
    /// The node's metadata server.
    MetadataServer(Empty),
}

/// An application in Entra ID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entra {
    /// The tenant.
    #[serde(rename = "tenantID")]
    pub tenant_id: String,
    /// The application.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// Who issues tokens; absent: the public cloud's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// The file with the application's secret; absent: the pod's own token stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<String>,
}

/// An API key of IBM Cloud's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ibm {
    /// The file.
    pub file: String,
    /// Who issues tokens; absent: IBM Cloud.
    #[serde(default, rename = "iamURL", skip_serializing_if = "Option::is_none")]
    pub iam_url: Option<String>,
}

impl Native {
    /// The file in the config folder that the credential is in.
    pub fn credential_file(&self) -> Option<&str> {
        match &self.auth {
            Auth::Bearer(Key { file })
            | Auth::Header(HeaderKey { file, name: _ })
            | Auth::Ibm(Ibm { file, iam_url: _ })
            | Auth::Aws(Aws { keys: AwsKeys::File(file), region: _ })
            | Auth::Google(Google::File(file)) => Some(file),
            Auth::Entra(entra) => entra.secret_file.as_deref(),
            Auth::None(_) | Auth::Aws(_) | Auth::Google(Google::MetadataServer(_)) => None,
        }
    }
}
