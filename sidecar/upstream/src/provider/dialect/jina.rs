//! Jina AI's embeddings: `POST /v1/embeddings`.
//!
//! Source: Jina Search Foundation API, its own description of `/v1/embeddings`: OpenAI's shape, with `task` for the models
//! from jina-embeddings-v3 on (`retrieval.query`, `retrieval.passage`), `truncate: false`, which makes too long an input an
//! error, `late_chunking`, which reads the inputs as one text, `normalized`, and `embedding_type` in the place of `encoding_format`. The
//! models before v3 have one length and no tasks. What the
//! API answers to too many inputs: "input length is larger than the largest allowed size 2048", and for v4 "each input list
//! can contain at most 512 items" (both in reports of 2025, looked up on 24 November 2026).

use std::borrow::Cow;

use http::HeaderMap;
use serde::Serialize;

use super::{
    Capabilities, Dialect, ParsedAnswer, Part, Unsupported, Unusable, Wire, extension::Extension, read, shape,
};
use vectoll_api::request::InputType;

/// Where Jina's API is.
pub const ROOT: &str = "https://api.jina.ai";

/// The most inputs in a request, for the models that take more than the others.
const ITEMS: [(&str, usize); 2] = [("jina-embeddings-v2", 2048), ("jina-embeddings-v3", 2048)];
/// For the others.
const LEAST_ITEMS: usize = 512;

/// Fields that callers may set. Which tasks a model has is Jina's to say.
pub(super) const EXTENSIONS: &[Extension] = &[TRUNCATE, LATE_CHUNKING, NORMALIZED, TYPE, Extension::text("task")];
const WITHOUT_TASK: &[Extension] = &[TRUNCATE, LATE_CHUNKING, NORMALIZED, TYPE];
const TRUNCATE: Extension = Extension::flag("truncate");
const LATE_CHUNKING: Extension = Extension::flag("late_chunking");
const NORMALIZED: Extension = Extension::flag("normalized");
const TYPE: Extension = Extension::only("embedding_type", "\"float\"");

/// Jina AI.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jina;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
    truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    late_chunking: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    normalized: Option<bool>,
}

impl Jina {
    /// Jina's own API. The root is without the version.
    pub fn new() -> Self {
        Self
    }
}

/// Whether a model has tasks at all.
fn has_tasks(model: &str) -> bool {
    !["jina-embeddings-v1", "jina-embeddings-v2"].iter().any(|name| model.starts_with(name))
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

    fn capabilities(&self, model: &str) -> Capabilities {
        let known = ITEMS.iter().find(|(name, _)| model.starts_with(name));
        Capabilities { items: known.map_or(LEAST_ITEMS, |(_, items)| *items), tokens: None }
    }

    fn extensions(&self, model: &str) -> &'static [Extension] {
        if has_tasks(model) { EXTENSIONS } else { WITHOUT_TASK }
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        let Part { model, texts, dimensions, input_type, passthrough: _, extensions } = *part;
        if model.starts_with("jina-embeddings-v2") {
            read::none(model, dimensions)?;
        }
        let request = Request {
            model,
            input: texts,
            task: extensions.text("task").or(task(model, input_type)),
            dimensions,
            truncate: extensions.flag("truncate").unwrap_or(false),
            late_chunking: extensions.flag("late_chunking"),
            normalized: extensions.flag("normalized"),
        };
        Ok(read::wire("/v1/embeddings".to_owned(), &request))
    }

    fn answer(&self, part: &Part<'_>, _headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        shape::answer(part, body)
    }
}
