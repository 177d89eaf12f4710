//! Azure OpenAI's embeddings: `POST /openai/deployments/{deployment}/embeddings?api-version={version}`.
//!
//! Source: Azure OpenAI REST API reference, "Embeddings - Create". The deployment in the path says which model answers; the
//! body needs none. Bounds are OpenAI's own: 2,048 inputs and 300,000 tokens. Too long an input is an error.
//!
//! What an error costs: "Plan to manage costs for Azure OpenAI", "HTTP Error response code and billing status": a 400 by a content
//! filter or an input limit and a 408 are charged, a 401 or 429 is not. That is what goes for everyone.

use http::HeaderMap;
use serde::Serialize;

use super::{
    Capabilities, Dialect, ParsedAnswer, Part, PassthroughFields, Unsupported, Unusable, Wire,
    extension::Extensions,
    open_ai::{ITEMS, Input, TOKENS},
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
    input: Input<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(flatten)]
    extensions: &'a Extensions,
}

impl AzureOpenAi {
    /// The root is the resource's: `https://{resource}.openai.azure.com`. Without a deployment it is the one that has the
    /// model's name.
    pub fn new(deployment: Option<String>, api_version: impl Into<String>) -> Self {
        Self { deployment, api_version: api_version.into() }
    }

    /// The way from the root to the API.
    fn way(&self, model: &str) -> String {
        let deployment = read::segment(self.deployment.as_deref().unwrap_or(model));
        format!("/openai/deployments/{deployment}/embeddings?api-version={}", read::segment(&self.api_version))
    }
}

impl Dialect for AzureOpenAi {
    fn name(&self) -> &'static str {
        "azure.ai.openai"
    }

    fn capabilities(&self, _model: &str) -> Capabilities {
        Capabilities { items: ITEMS, tokens: Some(TOKENS) }
    }

    fn pass_path(&self, model: &str) -> Option<String> {
        Some(self.way(model))
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        let path = self.way(part.model);
        let PassthroughFields { input_type, user, are_arrays: _ } = part.passthrough;
        let (input, dimensions) = (Input::of(part)?, part.dimensions);
        let extensions = part.extensions;
        let request = Request { input, dimensions, encoding_format: "base64", input_type, user, extensions };
        Ok(read::wire(path, &request))
    }

    fn answer(&self, part: &Part<'_>, _headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        shape::answer(part, body)
    }
}
