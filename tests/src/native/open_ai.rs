//! OpenAI, called with the tokens of a service account's.
//!
//! Source: OpenAI API reference, "Create embeddings", "Authentication". Fields that it does not know are refused.

use serde_json::{Value, json};

use super::{
    Api, Asked, Issuer, Refusal, Reply, Request,
    auth::posted,
    fields::{Read, wrong},
    shape,
};
use crate::provider::{Call, Encoding};

/// OpenAI with text-embedding-3-small.
#[derive(Debug, Clone)]
pub struct OpenAi {
    /// Whoever has one of these may call.
    pub tokens: Issuer,
}

impl Api for OpenAi {
    fn items(&self) -> usize {
        2048
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        &["authorization"]
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        posted(request, "/v1/embeddings", "")?;
        self.tokens.check(request)?;
        let call = Call::parse(request.body).map_err(|error| Refusal::Wrong(error.to_string()))?;
        if !call.other.is_empty() {
            return wrong(format!("unknown fields: {:?}", call.other));
        }
        let base64 = call.encoding == Encoding::Base64;
        Ok(Asked { items: call.input, length: call.dimensions, input_type: None, base64, extensions: Vec::new() })
    }

    fn write(&self, asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        Reply { headers: Vec::new(), body: shape::open_ai(vectors, asked.base64, &shape::usage(tokens)) }
    }

    fn error(&self, _status: u16, message: &str) -> Value {
        json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}})
    }
}
