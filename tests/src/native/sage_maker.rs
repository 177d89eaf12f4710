//! Amazon `SageMaker`, an endpoint with Text Embeddings Inference.
//!
//! Source: Amazon `SageMaker` Runtime API reference, `InvokeEndpoint`. The container's own headers do not come through: nothing
//! says the tokens.

use serde_json::{Value, json};

use super::{AccessKey, Api, Asked, Reply, Request, auth::posted, fields::Read, hugging_face::embed, shape, sigv4};

/// An endpoint.
#[derive(Debug, Clone, Copy)]
pub struct SageMaker {
    /// Who may call.
    pub key: AccessKey,
    /// Its name.
    pub endpoint: &'static str,
}

impl Api for SageMaker {
    fn items(&self) -> usize {
        32
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        sigv4::HEADERS
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        posted(request, &format!("/endpoints/{}/invocations", self.endpoint), "")?;
        self.key.check(request)?;
        embed(request.body)
    }

    fn write(&self, _asked: &Asked, vectors: &[Vec<f32>], _tokens: u64) -> Reply {
        Reply { headers: Vec::new(), body: shape::plain(vectors) }
    }

    fn error(&self, status: u16, message: &str) -> Value {
        json!({
            "ErrorCode": "CLIENT_ERROR_FROM_MODEL",
            "Message": format!("Received client error ({status}) from primary with message \"{message}\""),
            "OriginalMessage": message,
            "OriginalStatusCode": status,
        })
    }
}
