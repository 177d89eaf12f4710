//! Azure OpenAI.
//!
//! Source: Azure OpenAI REST API reference, "Embeddings - Create". Fields that it does not know are refused.

use serde_json::{Value, json};

use super::{
    Api, Asked, Refusal, Reply, Request,
    auth::{header, posted, unable},
    fields::{Read, wrong},
    shape,
};
use crate::provider::{Call, Encoding};

/// A resource with one deployment of text-embedding-3-small.
#[derive(Debug, Clone, Copy)]
pub struct AzureOpenAi {
    /// The resource's key.
    pub key: &'static str,
    /// The deployment.
    pub deployment: &'static str,
    /// `api-version`.
    pub version: &'static str,
}

impl Api for AzureOpenAi {
    fn items(&self) -> usize {
        2048
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        &["api-key"]
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        let path = format!("/openai/deployments/{}/embeddings", self.deployment);
        posted(request, &path, &format!("api-version={}", self.version))?;
        header(request, "api-key", self.key)?;
        let asked: Value = serde_json::from_slice(request.body).map_err(|error| Refusal::Wrong(error.to_string()))?;
        if asked.get("dimensions").and_then(Value::as_u64).is_some_and(|dimensions| dimensions > 1536) {
            return unable(400, "Invalid value for 'dimensions'");
        }
        if asked.get("input_type").is_some() {
            return unable(400, "Unrecognized request argument supplied: input_type");
        }
        // The model in the body is not looked at, but it is a text if it is there.
        let mut body = asked;
        if let Some(fields) = body.as_object_mut() {
            fields.entry("model").or_insert(json!("of the deployment"));
        }
        let call = Call::parse(body.to_string().as_bytes()).map_err(|error| Refusal::Wrong(error.to_string()))?;
        if !call.other.is_empty() {
            return wrong(format!("unknown fields: {:?}", call.other));
        }
        let base64 = call.encoding == Encoding::Base64;
        Ok(Asked { items: call.input, length: call.dimensions, input_type: None, base64 })
    }

    fn write(&self, asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        let body = shape::open_ai(vectors, asked.base64, &shape::usage(tokens));
        Reply { headers: Vec::new(), body }
    }

    fn error(&self, status: u16, message: &str) -> Value {
        json!({"error": {"code": status.to_string(), "message": message}})
    }
}
