//! The `embed` route of Hugging Face's Text Embeddings Inference, which answers at endpoints of `SageMaker`, too.
//!
//! Source: Text Embeddings Inference, its own source (`EmbedRequest`, `EmbedResponse`, `ResponseMetadata`): `{inputs,
//! truncate, truncation_direction, prompt_name, normalize, dimensions}` → a list of vectors; `truncate: false` makes too long an input an
//! error, whatever the server's `--auto-truncate`; `prompt_name` is one of the model's own prompts; the tokens stand in a header.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Serialize;

use super::{
    ParsedAnswer, Part, Unusable,
    extension::Extension,
    read::{self, Raw},
};

/// The inputs that a server takes in a request, unless its `--max-client-batch-size` says otherwise.
pub const ITEMS: usize = 32;

/// Fields that callers may set.
pub(super) const EXTENSIONS: &[Extension] = &[
    Extension::flag("truncate"),
    Extension::word("truncation_direction", &["Left", "left", "Right", "right"]),
    Extension::text("prompt_name"),
    Extension::flag("normalize"),
];

/// Where the tokens stand.
const TOKENS: &str = "x-compute-tokens";

#[derive(Serialize)]
pub(super) struct Request<'a> {
    inputs: &'a [Cow<'a, str>],
    truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncation_direction: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    normalize: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
}

impl<'a> Request<'a> {
    pub(super) fn new(part: &Part<'a>) -> Self {
        let Part { texts: inputs, dimensions, extensions, .. } = *part;
        Self {
            inputs,
            truncate: extensions.flag("truncate").unwrap_or(false),
            truncation_direction: extensions.text("truncation_direction"),
            prompt_name: extensions.text("prompt_name"),
            normalize: extensions.flag("normalize"),
            dimensions,
        }
    }
}

pub(super) fn answer(part: &Part<'_>, headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
    let vectors = read::json::<Vec<Raw<'_>>>(body).map_err(Unusable::from);
    let answer = vectors.and_then(|vectors| read::in_order(part, vectors, None));
    read::or_in_header(answer, headers, TOKENS)
}
