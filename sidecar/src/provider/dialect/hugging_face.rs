//! Hugging Face's Text Embeddings Inference: `POST /v1/embeddings`, or `POST /embed`.
//!
//! Source: Text Embeddings Inference, "API" and its own source (`OpenAICompatRequest`, `openai_embed`). On the OpenAI route
//! the server decides whether too long an input is cut (`--auto-truncate`, on by default), and a request has no say in it;
//! on its own route a request says that it must not be.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Serialize;

use super::{Caps, Dialect, Part, Told, Unsupported, Unusable, Wire, read, shape, tei};

pub use super::tei::ITEMS;

/// Which of its routes is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// `/v1/embeddings`, in OpenAI's shape.
    #[default]
    OpenAi,
    /// `/embed`, where nothing is cut.
    Embed,
}

/// A server of Text Embeddings Inference.
#[derive(Clone, Copy, Debug)]
pub struct HuggingFace {
    route: Route,
    items: usize,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
    encoding_format: &'static str,
}

impl HuggingFace {
    /// The root is without the version. `items` is the server's `--max-client-batch-size`: [`ITEMS`] unless it was set.
    pub fn new(route: Route, items: usize) -> Self {
        Self { route, items }
    }
}

impl Dialect for HuggingFace {
    fn name(&self) -> &'static str {
        "hugging_face"
    }

    fn caps(&self, _model: &str) -> Caps {
        Caps { items: self.items, tokens: None }
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        let Part { model, texts, dimensions, input_type: _ } = *part;
        Ok(match self.route {
            Route::OpenAi => {
                let request = Request { model, input: texts, dimensions, encoding_format: "base64" };
                read::wire("/v1/embeddings".to_owned(), &request)
            }
            Route::Embed => read::wire("/embed".to_owned(), &tei::Request::new(part)),
        })
    }

    fn answer(&self, part: &Part<'_>, headers: &HeaderMap, body: &[u8]) -> Result<Told, Unusable> {
        match self.route {
            Route::OpenAi => shape::answer(part, body),
            Route::Embed => tei::answer(part, headers, body),
        }
    }
}
