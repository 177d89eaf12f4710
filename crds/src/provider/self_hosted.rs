//! Servers that people run themselves: Text Embeddings Inference, NVIDIA NIM, Ollama.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::URL;
use crate::SecretKeyRef;

/// A server of one's own, which may want a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SelfHosted {
    /// The server's root, without the API's path: `http://tei.models.svc:8080`, or `https://integrate.api.nvidia.com` for
    /// NVIDIA's own.
    #[serde(rename = "baseURL")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL))]
    pub base_url: String,
    /// The key: one line, sent as `Authorization: Bearer`. Absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
}

/// An Ollama server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ollama {
    /// The server's root, without `/api`: `http://ollama.models.svc:11434`.
    #[serde(rename = "baseURL")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL))]
    pub base_url: String,
}
