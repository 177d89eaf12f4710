//! Amazon `SageMaker`, an endpoint with Text Embeddings Inference or with a container that speaks OpenAI's API.
//!
//! Source: Amazon `SageMaker` Runtime API reference, `InvokeEndpoint`. The container's own headers do not come through: nothing
//! says the tokens.

use serde_json::{Value, json};

use super::{
    AccessKey, Api, Asked, Reply, Request,
    auth::{posted, unable},
    fields::{Fields, Read},
    hugging_face::embed,
    shape, sigv4,
};

/// What answers there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// Text Embeddings Inference.
    TextEmbeddingsInference,
    /// One that speaks OpenAI's API.
    OpenAi,
}

/// An endpoint.
#[derive(Debug, Clone, Copy)]
pub struct SageMaker {
    /// Who may call.
    pub key: AccessKey<'static>,
    /// Its name.
    pub endpoint: &'static str,
    /// Its container.
    pub container: Container,
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
        match self.container {
            Container::TextEmbeddingsInference => embed(request.body),
            Container::OpenAi => {
                let mut fields = Fields::read(request.body)?;
                fields.is("model", "bge-small")?;
                let texts = fields.texts("input")?;
                let length = fields.number("dimensions")?.unwrap_or(384);
                fields.end()?;
                if length > 384 {
                    return unable(400, "bge-small has 384 dimensions");
                }
                Ok(Asked::texts(texts, length, None))
            }
        }
    }

    fn write(&self, _asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        let body = match self.container {
            Container::TextEmbeddingsInference => shape::plain(vectors),
            Container::OpenAi => shape::open_ai(vectors, false, &shape::usage(tokens)),
        };
        Reply { headers: Vec::new(), body }
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
