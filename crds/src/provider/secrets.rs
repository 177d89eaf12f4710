//! Which Secret a provider's credential is in, and what it is to hold: the one place that knows.

use super::{
    AzureOpenAi, Bedrock, Databricks, Entra, Hosted, Ollama, OpenAi, Provider, SageMaker, SelfHosted, VertexAi, Watsonx,
};
use crate::{SecretKeyRef, SecretRef};

/// A reference to a credential. The Secret is in the route's own namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential<'a> {
    /// The field within the provider's: `apiKeySecretRef`.
    pub field: &'static str,
    /// The Secret's name.
    pub secret: &'a str,
    /// What it holds.
    pub holds: Holds<'a>,
}

/// What a Secret is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds<'a> {
    /// A key of one line in the entry of this name.
    Key(&'a str),
    /// Google's JSON in the entry of this name.
    GoogleJson(&'a str),
    /// An access key of AWS, in entries named as its tools name their variables.
    AwsAccessKey,
}

impl<'a> Provider<'a> {
    /// The provider's references to Secrets. At most one is allowed; a folder of manifests may hold anything.
    pub fn credentials(self) -> Vec<Credential<'a>> {
        match self {
            Self::Builtin(_) | Self::Ollama(Ollama { base_url: _ }) => Vec::new(),
            Self::OpenAi(OpenAi { api_key_secret_ref: key, .. })
            | Self::HuggingFace(SelfHosted { api_key_secret_ref: key, .. })
            | Self::Nvidia(SelfHosted { api_key_secret_ref: key, .. }) => key.iter().map(api_key).collect(),
            Self::Cohere(Hosted { api_key_secret_ref: key, .. })
            | Self::Gemini(Hosted { api_key_secret_ref: key, .. })
            | Self::Jina(Hosted { api_key_secret_ref: key, .. })
            | Self::Mistral(Hosted { api_key_secret_ref: key, .. })
            | Self::Voyage(Hosted { api_key_secret_ref: key, .. })
            | Self::Databricks(Databricks { api_key_secret_ref: key, .. })
            | Self::Watsonx(Watsonx { api_key_secret_ref: key, .. }) => vec![api_key(key)],
            Self::AzureOpenAi(AzureOpenAi { api_key_secret_ref, entra, .. }) => {
                let secret = entra.iter().filter_map(|Entra { client_secret_ref, .. }| client_secret_ref.as_ref());
                let secret = secret.map(|reference| key("entra.clientSecretRef", reference));
                api_key_secret_ref.iter().map(api_key).chain(secret).collect()
            }
            Self::Bedrock(Bedrock { access_key_secret_ref, api_key_secret_ref, .. }) => {
                access_key_secret_ref.iter().map(access_key).chain(api_key_secret_ref.iter().map(api_key)).collect()
            }
            Self::SageMaker(SageMaker { access_key_secret_ref, .. }) => {
                access_key_secret_ref.iter().map(access_key).collect()
            }
            Self::VertexAi(VertexAi { service_account_secret_ref, .. }) => service_account_secret_ref
                .iter()
                .map(|SecretKeyRef { name, key }| Credential {
                    field: "serviceAccountSecretRef",
                    secret: name,
                    holds: Holds::GoogleJson(key),
                })
                .collect(),
        }
    }
}

fn key<'a>(field: &'static str, SecretKeyRef { name, key }: &'a SecretKeyRef) -> Credential<'a> {
    Credential { field, secret: name, holds: Holds::Key(key) }
}

fn api_key(reference: &SecretKeyRef) -> Credential<'_> {
    key("apiKeySecretRef", reference)
}

fn access_key(SecretRef { name }: &SecretRef) -> Credential<'_> {
    Credential { field: "accessKeySecretRef", secret: name, holds: Holds::AwsAccessKey }
}
