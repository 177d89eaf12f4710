//! NVIDIA NIM.
//!
//! Source: "API Reference for NVIDIA `NeMo` Retriever Embedding NIM".

use serde_json::{Value, json};

use super::{Api, Asked, InputType, Reply, Request, auth::unable, fields::Read, shape};

/// A NIM with llama-3.2-nv-embedqa-1b-v2.
#[derive(Debug, Clone, Copy)]
pub struct Nvidia {
    /// The key.
    pub key: &'static str,
}

impl Api for Nvidia {
    fn items(&self) -> usize {
        2048
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        &["authorization"]
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        let (texts, mut fields) = shape::asked(request, self.key, "nvidia/llama-3.2-nv-embedqa-1b-v2")?;
        let words = [("query", InputType::Query), ("passage", InputType::Document)];
        let input_type = fields.word("input_type", &words)?;
        fields.is("truncate", "NONE")?;
        let length = fields.number("dimensions")?.unwrap_or(2048);
        fields.end()?;
        if ![384, 512, 768, 1024, 2048].contains(&length) {
            return unable(400, "dimensions must be one of 384, 512, 768, 1024, 2048");
        }
        Ok(Asked::texts(texts, length, Some(input_type)))
    }

    fn write(&self, _asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        Reply { headers: Vec::new(), body: shape::open_ai(vectors, false, &shape::usage(tokens)) }
    }

    fn error(&self, _status: u16, message: &str) -> Value {
        json!({"object": "error", "message": message, "detail": {}, "type": "invalid_request_error"})
    }
}
