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
        let task = fields.text("task")?;
        let mut extensions = Vec::new();
        let input_type = match task.as_str() {
            "retrieval.query" => Some(InputType::Query),
            "retrieval.passage" => Some(InputType::Document),
            "text-matching" | "classification" | "separation" => {
                extensions.push(("task", task.into()));
                None
            }
            _ => return unable(422, format!("task {task} is not one of this model's")),
        };
        if fields.take("truncate")? != false {
            extensions.push(("truncate", true.into()));
        }
        for name in ["late_chunking", "normalized"] {
            fields.extension(name, &[true.into(), false.into()], &mut extensions)?;
        }
        let length = fields.number("dimensions")?.unwrap_or(1024);
        fields.end()?;
        if length > 1024 {
            return unable(422, "dimensions must be at most 1024");
        }
        Ok(Asked { extensions, ..Asked::texts(texts, length, input_type) })
    }

    fn write(&self, _asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        Reply { headers: Vec::new(), body: shape::open_ai(vectors, false, &shape::usage(tokens)) }
    }

    fn error(&self, _status: u16, message: &str) -> Value {
        json!({"detail": message})
    }
}
