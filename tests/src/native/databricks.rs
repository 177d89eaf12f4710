//! Databricks Model Serving.
//!
//! Source: Databricks, "Foundation model REST API reference", "Embedding task".

use serde_json::{Value, json};

use super::{
    Api, Asked, InputType, Reply, Request,
    auth::{bearer, posted},
    fields::{Fields, Read, wrong},
    shape,
};

/// A serving endpoint of BGE large.
#[derive(Debug, Clone, Copy)]
pub struct Databricks {
    /// The access token.
    pub key: &'static str,
    /// The endpoint's name.
    pub endpoint: &'static str,
    /// What queries come with.
    pub instruction: &'static str,
}

impl Api for Databricks {
    fn items(&self) -> usize {
        150
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        &["authorization"]
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        posted(request, &format!("/serving-endpoints/{}/invocations", self.endpoint), "")?;
        bearer(request, self.key)?;
        let mut fields = Fields::read(request.body)?;
        let texts = fields.texts("input")?;
        let input_type = match fields.maybe("instruction") {
            None => InputType::Document,
            Some(found) if found == self.instruction => InputType::Query,
            Some(found) => return wrong(format!("instruction is {found}")),
        };
        fields.end()?;
        Ok(Asked::texts(texts, 1024, Some(input_type)))
    }

    fn write(&self, _asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        Reply { headers: Vec::new(), body: shape::open_ai(vectors, false, &shape::usage(tokens)) }
    }

    fn error(&self, _status: u16, message: &str) -> Value {
        json!({"error_code": "BAD_REQUEST", "message": message})
    }
}
