//! Mistral AI.
//!
//! Source: Mistral AI API reference, "Embeddings".

use serde_json::{Value, json};

use super::{
    Api, Asked, Reply, Request,
    auth::{bearer, posted, unable},
    fields::{Fields, Read},
    shape,
};

/// Mistral AI with codestral-embed.
#[derive(Debug, Clone, Copy)]
pub struct Mistral {
    /// The API key.
    pub key: &'static str,
}

impl Api for Mistral {
    fn items(&self) -> usize {
        512
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        &["authorization"]
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        posted(request, "/v1/embeddings", "")?;
        bearer(request, self.key)?;
        let mut fields = Fields::read(request.body)?;
        fields.is("model", "codestral-embed")?;
        let texts = fields.texts("input")?;
        let length = fields.number("output_dimension")?.unwrap_or(1536);
        fields.end()?;
        let asked = Asked::texts(texts, length, None);
        if asked.tokens() > 16_384 {
            return unable(400, "Too many tokens in batch. Max is 16384");
        }
        Ok(asked)
    }

    fn write(&self, _asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        Reply { headers: Vec::new(), body: shape::open_ai(vectors, false, &shape::usage(tokens)) }
    }

    fn error(&self, _status: u16, message: &str) -> Value {
        json!({"object": "error", "message": message, "type": "invalid_request_prompt", "param": null, "code": "3210"})
    }
}
