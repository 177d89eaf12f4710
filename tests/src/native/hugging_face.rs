//! Text Embeddings Inference.
//!
//! Source: Text Embeddings Inference, its own source (`EmbedRequest`, `ResponseMetadata`).

use serde_json::{Value, json};

use super::{
    Api, Asked, Reply, Request,
    auth::{bearer, posted, unable},
    fields::{Fields, Read},
    shape,
};

/// A server that wants a key.
#[derive(Debug, Clone, Copy)]
pub struct HuggingFace {
    /// `--api-key`.
    pub key: &'static str,
}

/// The route `embed`, of a model with 384 dimensions.
pub(super) fn embed(body: &[u8]) -> Read<Asked> {
    let mut fields = Fields::read(body)?;
    let texts = fields.texts("inputs")?;
    let mut extensions = Vec::new();
    if fields.take("truncate")? != false {
        extensions.push(("truncate", true.into()));
    }
    fields.extension("truncation_direction", &["Left".into(), "Right".into()], &mut extensions)?;
    fields.extension("prompt_name", &["query".into()], &mut extensions)?;
    fields.extension("normalize", &[true.into(), false.into()], &mut extensions)?;
    let length = fields.number("dimensions")?.unwrap_or(384);
    fields.end()?;
    if length > 384 {
        return unable(413, "`dimensions` should be smaller than the maximum embedding dimension");
    }
    Ok(Asked { extensions, ..Asked::texts(texts, length, None) })
}

impl Api for HuggingFace {
    fn items(&self) -> usize {
        32
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        &["authorization"]
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        posted(request, "/embed", "")?;
        bearer(request, self.key)?;
        embed(request.body)
    }

    fn write(&self, _asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        Reply { headers: vec![("x-compute-tokens", tokens.to_string())], body: shape::plain(vectors) }
    }

    fn error(&self, _status: u16, message: &str) -> Value {
        json!({"error": message, "error_type": "validation"})
    }
}
