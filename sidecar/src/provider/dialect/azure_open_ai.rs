//! Azure OpenAI's embeddings: `POST /openai/deployments/{deployment}/embeddings?api-version={version}`.
//!
//! Source: Azure OpenAI REST API reference, "Embeddings - Create". The deployment in the path says which model answers; the
//! body needs none. Bounds are OpenAI's own: 2,048 inputs and 300,000 tokens. Too long an input is an error.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Serialize;

use super::{
    Caps, Dialect, Part, Told, Unsupported, Unusable, Wire,
    open_ai::{ITEMS, TOKENS},
    read, shape,
};

/// A resource of Azure OpenAI.
#[derive(Clone, Debug)]
pub struct AzureOpenAi {
    deployment: Option<String>,
    api_version: String,
}

#[derive(Serialize)]
struct Request<'a> {
    input: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
    encoding_format: &'static str,
}

impl AzureOpenAi {
    /// The root is the resource's: `https://{resource}.openai.azure.com`. Without a deployment it is the one that has the
    /// model's name.
    pub fn new(deployment: Option<String>, api_version: impl Into<String>) -> Self {
        Self { deployment, api_version: api_version.into() }
    }

    /// The way from the root to the API.
    pub fn path(&self, model: &str) -> String {
        let deployment = read::segment(self.deployment.as_deref().unwrap_or(model));
        format!("/openai/deployments/{deployment}/embeddings?api-version={}", read::segment(&self.api_version))
    }
}

impl Dialect for AzureOpenAi {
    fn name(&self) -> &'static str {
        "azure.ai.openai"
    }

    fn caps(&self, _model: &str) -> Caps {
        Caps { items: ITEMS, tokens: Some(TOKENS) }
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        let path = self.path(part.model);
        let request = Request { input: part.texts, dimensions: part.dimensions, encoding_format: "base64" };
        Ok(read::wire(path, &request))
    }

    fn answer(&self, part: &Part<'_>, _headers: &HeaderMap, body: &[u8]) -> Result<Told, Unusable> {
        shape::answer(part, body)
    }
}
