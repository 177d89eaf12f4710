//! Jina AI.
//!
//! Source: Jina Search Foundation API, its own description of `/v1/embeddings`.

use serde_json::{Value, json};

use super::{Api, Asked, InputType, Reply, Request, auth::unable, fields::Read, shape};

/// Jina AI with jina-embeddings-v3.
#[derive(Debug, Clone, Copy)]
pub struct Jina {
    /// The API key.
    pub key: &'static str,
}

impl Api for Jina {
    fn items(&self) -> usize {
        2048
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        &["authorization"]
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        let (texts, mut fields) = shape::asked(request, self.key, "jina-embeddings-v3")?;
        let tasks = [("retrieval.query", InputType::Query), ("retrieval.passage", InputType::Document)];
        let input_type = fields.word("task", &tasks)?;
        fields.is("truncate", false)?;
        let length = fields.number("dimensions")?.unwrap_or(1024);
        fields.end()?;
        if length > 1024 {
            return unable(422, "dimensions must be at most 1024");
        }
        Ok(Asked::texts(texts, length, Some(input_type)))
    }

    fn write(&self, _asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        Reply { headers: Vec::new(), body: shape::open_ai(vectors, false, &shape::usage(tokens)) }
    }

    fn error(&self, _status: u16, message: &str) -> Value {
        json!({"detail": message})
    }
}
