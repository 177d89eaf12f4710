//! The `embed` route of Hugging Face's Text Embeddings Inference, which answers at endpoints of `SageMaker`, too.
//!
//! Source: Text Embeddings Inference, its own source (`EmbedRequest`, `EmbedResponse`, `ResponseMetadata`): `{inputs,
//! truncate, dimensions}` → a list of vectors; `truncate: false` makes too long an input an error, whatever the server's
//! `--auto-truncate`; the tokens stand in a header.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Serialize;

use super::{
    Part, Told, Unusable,
    read::{self, Raw},
};

/// The inputs that a server takes in a request, unless its `--max-client-batch-size` says otherwise.
pub const ITEMS: usize = 32;

/// Where the tokens stand.
const TOKENS: &str = "x-compute-tokens";

#[derive(Serialize)]
pub(super) struct Request<'a> {
    inputs: &'a [Cow<'a, str>],
    truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
}

impl<'a> Request<'a> {
    pub(super) fn new(part: &Part<'a>) -> Self {
        Self { inputs: part.texts, truncate: false, dimensions: part.dimensions }
    }
}

pub(super) fn answer(part: &Part<'_>, headers: &HeaderMap, body: &[u8]) -> Result<Told, Unusable> {
    let vectors = read::json::<Vec<Raw<'_>>>(body).map_err(Unusable::from);
    let answer = vectors.and_then(|vectors| read::in_order(part, vectors, None));
    read::or_in_header(answer, headers, TOKENS)
}
