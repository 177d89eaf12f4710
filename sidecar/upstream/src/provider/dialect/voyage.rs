//! Voyage AI's embeddings: `POST /v1/embeddings`.
//!
//! Source: Voyage AI API reference, "Text embedding models", and the official client for Python (`Embedding.create`,
//! `decode_base64_embedding`): `input_type` (`query`, `document`), `truncation: false`, which makes too long an input an
//! error, `output_dimension` and `output_dtype`; base64 of little-endian 32-bit floats; `usage.total_tokens`. At most 1,000
//! inputs, and a number of tokens that depends on the model.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Serialize;

use super::{
    Capabilities, Dialect, ParsedAnswer, Part, Unsupported, Unusable, Wire, extension::Extension, read, shape,
};
use vectoll_api::request::InputType;

/// Where Voyage's API is.
pub const ROOT: &str = "https://api.voyageai.com";

/// The most inputs in a request.
const ITEMS: usize = 1000;

/// The most tokens in a request, for the models that take more than the others.
const TOKENS: [(&str, u64); 5] = [
    ("voyage-4-lite", 1_000_000),
    ("voyage-3.5-lite", 1_000_000),
    ("voyage-4", 320_000),
    ("voyage-3.5", 320_000),
    ("voyage-2", 320_000),
];
/// For the others.
const LEAST_TOKENS: u64 = 120_000;

/// The models that have several lengths, by what their names begin with, and which.
const SEVERAL_LENGTHS: [&str; 4] = ["voyage-3-large", "voyage-3.5", "voyage-4", "voyage-code-3"];
const DIMENSIONS: &[u64] = &[256, 512, 1024, 2048];
/// The models of an earlier time, that have one.
const ONE_LENGTH: [&str; 9] = [
    "voyage-01",
    "voyage-2",
    "voyage-3",
    "voyage-3-lite",
    "voyage-code-2",
    "voyage-finance-2",
    "voyage-large-2",
    "voyage-law-2",
    "voyage-multilingual-2",
];

/// Fields that callers may set.
pub(super) const EXTENSIONS: &[Extension] =
    &[Extension::flag("truncation"), Extension::only("output_dtype", "\"float\"")];

/// Voyage AI.
#[derive(Clone, Copy, Debug, Default)]
pub struct Voyage;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [Cow<'a, str>],
    input_type: &'static str,
    truncation: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimension: Option<u64>,
    output_dtype: &'static str,
    encoding_format: &'static str,
}

impl Voyage {
    /// Voyage's own API. The root is without the version.
    pub fn new() -> Self {
        Self
    }
}

impl Dialect for Voyage {
    fn name(&self) -> &'static str {
        "voyage_ai"
    }

    fn capabilities(&self, model: &str) -> Capabilities {
        let known = TOKENS.iter().find(|(name, _)| *name == model);
        Capabilities { items: ITEMS, tokens: Some(known.map_or(LEAST_TOKENS, |(_, tokens)| *tokens)) }
    }

    fn extensions(&self, _model: &str) -> &'static [Extension] {
        EXTENSIONS
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        let Part { model, texts, dimensions, input_type, passthrough: _, extensions } = *part;
        if ONE_LENGTH.contains(&model) {
            read::none(model, dimensions)?;
        }
        if SEVERAL_LENGTHS.iter().any(|name| model.starts_with(name)) {
            read::one_of(model, DIMENSIONS, dimensions)?;
        }
        let input_type = match input_type {
            InputType::Query => "query",
            InputType::Document => "document",
        };
        let request = Request {
            model,
            input: texts,
            input_type,
            truncation: extensions.flag("truncation").unwrap_or(false),
            output_dimension: dimensions,
            output_dtype: "float",
            encoding_format: "base64",
        };
        Ok(read::wire("/v1/embeddings".to_owned(), &request))
    }

    fn answer(&self, part: &Part<'_>, _headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        shape::answer(part, body)
    }
}
