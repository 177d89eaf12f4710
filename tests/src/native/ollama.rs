//! Ollama.
//!
//! Source: Ollama API reference, "Generate embeddings". A length that is more than the vector's is passed over in silence.

use serde_json::{Value, json};

use super::{
    Api, Asked, Reply, Request,
    auth::posted,
    fields::{Fields, Read},
    shape,
};

/// A server with nomic-embed-text.
#[derive(Debug, Clone, Copy)]
pub struct Ollama;

impl Api for Ollama {
    fn items(&self) -> usize {
        usize::MAX
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        &[]
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        posted(request, "/api/embed", "")?;
        let mut fields = Fields::read(request.body)?;
        fields.is("model", "nomic-embed-text")?;
        let texts = fields.texts("input")?;
        fields.is("truncate", false)?;
        let length = fields.number("dimensions")?.unwrap_or(768).min(768);
        fields.end()?;
        Ok(Asked::texts(texts, length, None))
    }

    fn write(&self, _asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        let body = format!(
            r#"{{"model":"nomic-embed-text","embeddings":{},"total_duration":14143917,"load_duration":1019500,"prompt_eval_count":{tokens}}}"#,
            shape::plain(vectors)
        );
        Reply { headers: Vec::new(), body }
    }

    fn error(&self, _status: u16, message: &str) -> Value {
        json!({"error": message})
    }
}
