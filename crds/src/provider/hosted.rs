//! Cohere, Gemini, Jina, Mistral and Voyage: an address of the provider's own, and a key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::URL;
use crate::SecretKeyRef;

/// A provider with an address of its own, called with a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hosted {
    /// The root, to which the API's own paths are appended, for a gateway in between. By default the provider's own:
    /// `https://api.cohere.com`, `https://generativelanguage.googleapis.com` (Gemini), `https://api.jina.ai`,
    /// `https://api.mistral.ai`, `https://api.voyageai.com`.
    #[serde(default, rename = "baseURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL))]
    pub base_url: Option<String>,
    /// The API key: one line, sent as `Authorization: Bearer`, and Gemini's as `x-goog-api-key`.
    pub api_key_secret_ref: SecretKeyRef,
}
