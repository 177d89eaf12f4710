//! Jina AI's embeddings: `POST /v1/embeddings`.
//!
//! Source: Jina Search Foundation API, its own description of `/v1/embeddings`: OpenAI's shape, with `task` for the models
//! from jina-embeddings-v3 on (`retrieval.query`, `retrieval.passage`), `truncate: false`, which makes too long an input an
//! error, and `embedding_type` in the place of `encoding_format`. The models before v3 have one length and no tasks. What the
//! API answers to too many inputs: "input length is larger than the largest allowed size 2048", and for v4 "each input list
//! can contain at most 512 items" (both in reports of 2025, looked up on 24 November 2026).

use std::borrow::Cow;

use http::HeaderMap;
use serde::Serialize;

use super::{Caps, Dialect, Part, Told, Unsupported, Unusable, Wire, read, shape};
use vectoll_api::request::InputType;

/// Where Jina's API is.
pub const ROOT: &str = "https://api.jina.ai";

/// The most inputs in a request, for the models that take more than the others.
const ITEMS: [(&str, usize); 2] = [("jina-embeddings-v2", 2048), ("jina-embeddings-v3", 2048)];
/// For the others.
const LEAST_ITEMS: usize = 512;

/// Jina AI.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jina;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
    truncate: bool,
}

impl Jina {
    /// Jina's own API. The root is without the version.
    pub fn new() -> Self {
        Self
    }
}

/// The task for what the texts are; none for a model without tasks, or with other ones: those for code and for images.
fn task(model: &str, input_type: InputType) -> Option<&'static str> {
    let is_text = model.strip_prefix("jina-embeddings-v").is_some_and(|version| !version.starts_with(['1', '2']));
    is_text.then_some(match input_type {
        InputType::Query => "retrieval.query",
        InputType::Document => "retrieval.passage",
    })
}

impl Dialect for Jina {
    fn name(&self) -> &'static str {
        "jina_ai"
    }

    fn caps(&self, model: &str) -> Caps {
        let known = ITEMS.iter().find(|(name, _)| model.starts_with(name));
        Caps { items: known.map_or(LEAST_ITEMS, |(_, items)| *items), tokens: None }
    }

    fn goes_without_saying(&self, field: &str, value: &str) -> bool {
        matches!((field, value), ("truncate" | "late_chunking", "false") | ("embedding_type", "\"float\""))
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        let Part { model, texts, dimensions, input_type, said: _ } = *part;
        if model.starts_with("jina-embeddings-v2") {
            read::none(model, dimensions)?;
        }
        let request = Request { model, input: texts, task: task(model, input_type), dimensions, truncate: false };
        Ok(read::wire("/v1/embeddings".to_owned(), &request))
    }

    fn answer(&self, part: &Part<'_>, _headers: &HeaderMap, body: &[u8]) -> Result<Told, Unusable> {
        shape::answer(part, body)
    }
}
