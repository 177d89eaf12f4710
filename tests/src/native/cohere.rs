//! Cohere, version 2.
//!
//! Source: Cohere API reference, "Embed API (v2)".

use serde_json::{Value, json};

use super::{
    Api, Asked, InputType, Reply, Request,
    auth::{bearer, posted, unable},
    fields::{Fields, Read, wrong},
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
        let mut extensions = Vec::new();
        let word = fields.text("input_type")?;
        let input_type = INPUT_TYPES.iter().find(|(known, _)| *known == word).map(|(_, input_type)| *input_type);
        match word.as_str() {
            _ if input_type.is_some() => {}
            "classification" | "clustering" => extensions.push(("input_type", word.into())),
            _ => return wrong(format!("input_type is {word}")),
        }
        fields.is("embedding_types", json!(["float"]))?;
        match fields.text("truncate")?.as_str() {
            "NONE" => {}
            cut @ ("START" | "END") => extensions.push(("truncate", cut.into())),
            other => return wrong(format!("truncate is {other}")),
        }
        if let Some(most) = fields.number("max_tokens")? {
            extensions.push(("max_tokens", most.into()));
        }
        let length = fields.number("output_dimension")?.unwrap_or(1536);
        fields.end()?;
        if ![256, 512, 1024, 1536].contains(&length) {
            return unable(422, "output_dimension must be one of 256, 512, 1024, 1536");
        }
        Ok(Asked { extensions, ..Asked::texts(texts, length, input_type) })
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
