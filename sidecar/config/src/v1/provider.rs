//! Who makes the vectors, and how their tokens are counted.

use serde::{Deserialize, Serialize};

use super::Native;

/// A provider and its settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Provider {
    /// OpenAI's API.
    #[serde(rename = "openAI")]
    OpenAi(OpenAi),
    /// The model inside the sidecar.
    Builtin(Builtin),
    /// A provider that speaks an API of its own.
    Native(Native),
}

impl Provider {
    /// The file in the config folder that the credential is in.
    pub fn credential_file(&self) -> Option<&str> {
        match self {
            Self::OpenAi(settings) => settings.credential_file.as_deref(),
            Self::Native(settings) => settings.credential_file(),
            Self::Builtin(_) => None,
        }
    }
}

/// Settings of a provider that speaks OpenAI's API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenAi {
    /// The API's root.
    #[serde(rename = "baseURL")]
    pub base_url: String,
    /// The file in the config folder that holds the credential; absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_file: Option<String>,
    /// What the pod's own token is exchanged for, in place of a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<OpenAiIdentity>,
    /// `OpenAI-Organization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// `OpenAI-Project`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// A service account of OpenAI's that the pod's own token stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenAiIdentity {
    /// The workload identity provider.
    #[serde(rename = "identityProviderID")]
    pub identity_provider_id: String,
    /// The service account.
    #[serde(rename = "serviceAccountID")]
    pub service_account_id: String,
    /// Where tokens are exchanged; absent: OpenAI's own place.
    #[serde(default, rename = "tokenURL", skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
}

/// Settings of the built-in model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Builtin {
    /// What token arrays are of; absent: what the model's public name says, if it says anything. It is no count: what a text
    /// costs goes by the built-in model's own tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_arrays: Option<Encoding>,
}

/// The built-in model's own tokenizer has no settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltinTokenizer {}

/// How many tokens an input can become at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TokenBound {
    /// A byte-level byte-pair encoding: at most one token a byte, and countable.
    Encoding(Encoding),
    /// The built-in model's own tokenizer: countable. Always that for the built-in model, and only for it.
    Builtin(BuiltinTokenizer),
    /// An unknown tokenizer: so many tokens a byte, and so many an input on top.
    Factor(Factor),
}

/// OpenAI's byte-pair encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(non_camel_case_types, reason = "the encodings' own names")]
pub enum Encoding {
    /// text-embedding-3-small, -large, ada-002: all of OpenAI's models for embeddings.
    cl100k_base,
}

/// A bound for a tokenizer that the sidecar does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Factor {
    /// The most tokens that one byte can become.
    pub max_per_byte: u32,
    /// Tokens added to each input.
    pub max_per_input: u32,
}
