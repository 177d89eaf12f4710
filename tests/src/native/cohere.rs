//! Cohere, version 2.
//!
//! Source: Cohere API reference, "Embed API (v2)".

use serde_json::{Value, json};

use super::{
    Api, Asked, InputType, Reply, Request,
    auth::{bearer, posted, unable},
    fields::{Fields, Read},
    shape,
};

/// Cohere's words for what texts are.
pub(super) const INPUT_TYPES: &[(&str, InputType)] =
    &[("search_query", InputType::Query), ("search_document", InputType::Document)];

/// Cohere with embed-v4.0.
#[derive(Debug, Clone, Copy)]
pub struct Cohere {
    /// The API key.
    pub key: &'static str,
}

impl Api for Cohere {
    fn items(&self) -> usize {
        96
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        &["authorization"]
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        posted(request, "/v2/embed", "")?;
        bearer(request, self.key)?;
        let mut fields = Fields::read(request.body)?;
        fields.is("model", "embed-v4.0")?;
        let texts = fields.texts("texts")?;
        let input_type = fields.word("input_type", INPUT_TYPES)?;
        fields.is("embedding_types", json!(["float"]))?;
        fields.is("truncate", "NONE")?;
        let length = fields.number("output_dimension")?.unwrap_or(1536);
        fields.end()?;
        if ![256, 512, 1024, 1536].contains(&length) {
            return unable(422, "output_dimension must be one of 256, 512, 1024, 1536");
        }
        Ok(Asked::texts(texts, length, Some(input_type)))
    }

    fn write(&self, _asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        let body = format!(
            r#"{{"id":"a","embeddings":{{"float":{}}},"meta":{{"api_version":{{"version":"2"}},"billed_units":{{"input_tokens":{tokens}}}}},"response_type":"embeddings_by_type"}}"#,
            shape::plain(vectors)
        );
        Reply { headers: Vec::new(), body }
    }

    fn error(&self, _status: u16, message: &str) -> Value {
        json!({"id": "a", "message": message})
    }
}
