//! Mistral's embeddings: `POST /v1/embeddings`.
//!
//! Source: Mistral AI API reference, "Embeddings", and the official SDK for Python (`EmbeddingRequest`,
//! `EmbeddingResponse`): OpenAI's shape, with `output_dimension` in the place of `dimensions`, which codestral-embed knows
//! (at most 3,072) and mistral-embed does not (1,024). The reference names no bounds; what the API answers beyond them is
//! "Too many inputs in request, split into more batches" (512, as clients found) and "Too many tokens in batch. Max is 16384", both in
//! reports of May 2026 and older (looked up on 24 November 2026).

use std::borrow::Cow;

use http::HeaderMap;
use serde::Serialize;

use super::{
    Capabilities, Dialect, ParsedAnswer, Part, Unsupported, Unusable, Wire, extension::Extension, read, shape,
};

/// Where Mistral's API is.
pub const ROOT: &str = "https://api.mistral.ai";

const ITEMS: usize = 512;
const TOKENS: u64 = 16_384;

/// The longest vector of codestral-embed.
const MAX_DIMENSIONS: u64 = 3072;

/// Fields that callers may set.
pub(super) const EXTENSIONS: &[Extension] = &[Extension::only("output_dtype", "\"float\"")];

/// Mistral.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mistral;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimension: Option<u64>,
}

impl Mistral {
    /// Mistral's own API. The root is without the version.
    pub fn new() -> Self {
        Self
    }
}

impl Dialect for Mistral {
    fn name(&self) -> &'static str {
        "mistral_ai"
    }

    fn capabilities(&self, _model: &str) -> Capabilities {
        Capabilities { items: ITEMS, tokens: Some(TOKENS) }
    }

    fn extensions(&self, _model: &str) -> &'static [Extension] {
        EXTENSIONS
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        let Part { model, texts, dimensions, .. } = *part;
        let output_dimension = if model.starts_with("mistral-embed") {
            read::fixed(model, 1024, dimensions)?;
            None
        } else {
            dimensions
        };
        if let (Some(asked @ (0 | 3073..)), true) = (dimensions, model.starts_with("codestral-embed")) {
            let message = format!("{model} has vectors of 1 to {MAX_DIMENSIONS} numbers, not {asked}");
            return Err(read::not_these_dimensions(message));
        }
        Ok(read::wire("/v1/embeddings".to_owned(), &Request { model, input: texts, output_dimension }))
    }

    fn answer(&self, part: &Part<'_>, _headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        shape::answer(part, body)
    }
}
