//! Mistral AI.
//!
//! Source: Mistral AI API reference, "Embeddings".

use serde_json::{Value, json};

use super::{Api, Asked, Reply, Request, auth::unable, fields::Read, shape};

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
        let (texts, mut fields) = shape::asked(request, self.key, "codestral-embed")?;
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
