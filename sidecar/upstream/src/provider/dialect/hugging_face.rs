//! Hugging Face's Text Embeddings Inference: `POST /embed`.
//!
//! Source: Text Embeddings Inference, "API" and its own source (`openai_embed`). Its OpenAI route is not called: there the server
//! decides whether too long an input is cut (`--auto-truncate`, on by default), and a request has no say in it; on its own route a
//! request says that it must not be.
//!
//! What an error costs: its own source (`impl From<&ErrorType> for StatusCode`) answers 400 (empty), 413 (validation), 422 (tokenizer)
//! and 429 (overloaded) before the model runs, and 424 when the model has failed.

use http::{HeaderMap, StatusCode};

use super::{
    Capabilities, Dialect, ParsedAnswer, Part, Unsupported, Unusable, Wire, error_meaning::refuses_before_work,
    extension::Extension, read, tei,
};

pub use super::tei::ITEMS;

/// A server of Text Embeddings Inference.
#[derive(Clone, Copy, Debug)]
pub struct HuggingFace {
    items: usize,
}

impl HuggingFace {
    /// The root is without the version. `items` is the server's `--max-client-batch-size`: [`ITEMS`] unless it was set.
    pub fn new(items: usize) -> Self {
        Self { items }
    }
}

impl Dialect for HuggingFace {
    fn name(&self) -> &'static str {
        "hugging_face"
    }

    fn capabilities(&self, _model: &str) -> Capabilities {
        Capabilities { items: self.items, tokens: None }
    }

    fn extensions(&self, _model: &str) -> &'static [Extension] {
        tei::EXTENSIONS
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        Ok(read::wire("/embed".to_owned(), &tei::Request::new(part)))
    }

    fn answer(&self, part: &Part<'_>, headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        tei::answer(part, headers, body)
    }

    fn is_free(&self, status: StatusCode) -> bool {
        matches!(status.as_u16(), 400 | 422) || refuses_before_work(status)
    }
}
