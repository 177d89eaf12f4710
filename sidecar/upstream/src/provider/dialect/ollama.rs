//! Ollama's embeddings: `POST /api/embed`.
//!
//! Source: Ollama API reference, "Generate embeddings", and Ollama's own source (`api.EmbedRequest`, `api.EmbedResponse`,
//! `EmbedHandler`): `truncate: false` makes too long an input an error; `dimensions` cuts a vector and makes it a unit
//! vector again, and is passed over in silence if the vector is shorter; no bound on the number of inputs.

use std::borrow::Cow;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{
    Capabilities, Dialect, ParsedAnswer, Part, Unsupported, Unusable, Wire,
    extension::Extension,
    read::{self, Raw},
};

/// As many as the sidecar takes in a call.
const ITEMS: usize = 2048;

/// Fields that callers may set. `options` and `keep_alive` are not: what a server loads, and for how long, is for all of its callers.
pub(super) const EXTENSIONS: &[Extension] = &[Extension::flag("truncate")];

/// An Ollama server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ollama;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [Cow<'a, str>],
    truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
}

#[derive(Deserialize)]
struct OllamaAnswer<'a> {
    #[serde(borrow)]
    embeddings: Vec<Raw<'a>>,
    #[serde(borrow, default)]
    prompt_eval_count: Option<Raw<'a>>,
}

impl Ollama {
    /// An Ollama server. The root is without `/api`.
    pub fn new() -> Self {
        Self
    }
}

impl Dialect for Ollama {
    fn name(&self) -> &'static str {
        "ollama"
    }

    fn capabilities(&self, _model: &str) -> Capabilities {
        Capabilities { items: ITEMS, tokens: None }
    }

    fn extensions(&self, _model: &str) -> &'static [Extension] {
        EXTENSIONS
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        let truncate = part.extensions.flag("truncate").unwrap_or(false);
        let request = Request { model: part.model, input: part.texts, truncate, dimensions: part.dimensions };
        Ok(read::wire("/api/embed".to_owned(), &request))
    }

    fn answer(&self, part: &Part<'_>, _headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        let OllamaAnswer { embeddings, prompt_eval_count } = read::json(body)?;
        read::in_order(part, embeddings, read::tokens(prompt_eval_count))
    }
}
