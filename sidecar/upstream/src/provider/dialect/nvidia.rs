//! NVIDIA's embedding microservices (NIM), in its API catalogue or one's own cluster: `POST /v1/embeddings`.
//!
//! Source: "API Reference for NVIDIA `NeMo` Retriever Embedding NIM": OpenAI's shape, with `input_type` (`query`, `passage`)
//! and `truncate: NONE`, which makes too long an input an error. `dimensions` is for some models; the server refuses it for
//! the others.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Serialize;

use super::{
    Capabilities, Dialect, ParsedAnswer, Part, Unsupported, Unusable, Wire, extension::Extension, read, shape,
};
use vectoll_api::request::InputType;

/// Where NVIDIA's API catalogue is.
pub const ROOT: &str = "https://integrate.api.nvidia.com";

/// Fields that callers may set. Texts are the one modality of a call here.
pub(super) const EXTENSIONS: &[Extension] = &[
    Extension::word("truncate", &["NONE", "START", "END"]),
    Extension::only("embedding_type", "\"float\""),
    Extension::only("modality", "\"text\""),
];

/// An embedding NIM.
#[derive(Clone, Copy, Debug)]
pub struct Nvidia {
    items: usize,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [Cow<'a, str>],
    input_type: &'static str,
    truncate: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
}

impl Nvidia {
    /// The root is without the version. `items` is what the server takes in a request: it is a setting of its operator.
    pub fn new(items: usize) -> Self {
        Self { items }
    }
}

impl Dialect for Nvidia {
    fn name(&self) -> &'static str {
        "nvidia"
    }

    fn capabilities(&self, _model: &str) -> Capabilities {
        Capabilities { items: self.items, tokens: None }
    }

    fn extensions(&self, _model: &str) -> &'static [Extension] {
        EXTENSIONS
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        let Part { model, texts, dimensions, input_type, passthrough: _, extensions } = *part;
        let input_type = match input_type {
            InputType::Query => "query",
            InputType::Document => "passage",
        };
        let truncate = extensions.text("truncate").unwrap_or("NONE");
        let request = Request { model, input: texts, input_type, truncate, dimensions };
        Ok(read::wire("/v1/embeddings".to_owned(), &request))
    }

    fn answer(&self, part: &Part<'_>, _headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        shape::answer(part, body)
    }
}
