//! Voyage AI.
//!
//! Source: Voyage AI API reference, "Text embedding models".

use serde_json::{Value, json};

use super::{
    Api, Asked, InputType, Reply, Request,
    fields::{Read, wrong},
    shape,
};

/// Voyage AI with voyage-3.5.
#[derive(Debug, Clone, Copy)]
pub struct Voyage {
    /// The API key.
    pub key: &'static str,
}

impl Api for Voyage {
    fn items(&self) -> usize {
        1000
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        &["authorization"]
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        let (texts, mut fields) = shape::asked(request, self.key, "voyage-3.5")?;
        let words = [("query", InputType::Query), ("document", InputType::Document)];
        let input_type = fields.word("input_type", &words)?;
        let mut extensions = Vec::new();
        if fields.take("truncation")? != false {
            extensions.push(("truncation", true.into()));
        }
        fields.is("output_dtype", "float")?;
        fields.is("encoding_format", "base64")?;
        let length = fields.number("output_dimension")?.unwrap_or(1024);
        fields.end()?;
        if ![256, 512, 1024, 2048].contains(&length) {
            return wrong(format!("output_dimension is {length}"));
        }
        Ok(Asked { base64: true, extensions, ..Asked::texts(texts, length, Some(input_type)) })
    }

    fn write(&self, asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        let usage = format!(r#"{{"total_tokens":{tokens}}}"#);
        Reply { headers: Vec::new(), body: shape::open_ai(vectors, asked.base64, &usage) }
    }

    fn error(&self, _status: u16, message: &str) -> Value {
        json!({"detail": message})
    }
}
