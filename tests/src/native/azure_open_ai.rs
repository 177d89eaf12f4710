//! Azure OpenAI.
//!
//! Source: Azure OpenAI REST API reference, "Embeddings - Create"; Microsoft identity platform, "OAuth 2.0 client credentials flow". Fields that it does not know are refused.

use serde_json::{Value, json};

use super::{
    Api, Asked, Issuer, Refusal, Reply, Request,
    auth::{header, posted, unable},
    fields::{Read, wrong},
    shape,
};
use crate::provider::{Call, Encoding};

/// A resource with one deployment of text-embedding-3-small.
#[derive(Debug, Clone)]
pub struct AzureOpenAi {
    /// Who may call.
    pub caller: Caller,
    /// The deployment.
    pub deployment: &'static str,
    /// `api-version`.
    pub version: &'static str,
}

/// Who may call.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Whoever has the resource's key.
    Key(&'static str),
    /// Whoever has one of these tokens.
    Issued(Issuer),
    /// An application with a token of Entra ID, which is at the same address.
    Entra {
        /// The tenant.
        tenant: &'static str,
        /// The application.
        client: &'static str,
        /// Its secret.
        secret: &'static str,
        /// The tokens.
        tokens: Issuer,
    },
}

impl Api for AzureOpenAi {
    fn items(&self) -> usize {
        2048
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        match self.caller {
            Caller::Key(_) => &["api-key"],
            Caller::Issued(_) | Caller::Entra { .. } => &["authorization"],
        }
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        let path = format!("/openai/deployments/{}/embeddings", self.deployment);
        posted(request, &path, &format!("api-version={}", self.version))?;
        match &self.caller {
            Caller::Key(key) => header(request, "api-key", key)?,
            Caller::Issued(tokens) | Caller::Entra { tokens, .. } => tokens.check(request)?,
        }
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
        if call.tokens() > 300_000 {
            return unable(400, "Requested tokens exceed the maximum of 300000 tokens per request");
        }
        let base64 = call.encoding == Encoding::Base64;
        Ok(Asked { items: call.input, length: call.dimensions, input_type: None, base64, extensions: Vec::new() })
    }

    fn write(&self, asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        let body = shape::open_ai(vectors, asked.base64, &shape::usage(tokens));
        Reply { headers: Vec::new(), body }
    }

    fn error(&self, status: u16, message: &str) -> Value {
        json!({"error": {"code": status.to_string(), "message": message}})
    }

    /// "Plan to manage costs for Azure OpenAI": "a 400 error due to a content filter or input limit, or a 408 error due to a timeout".
    fn charges(&self, status: u16) -> bool {
        matches!(status, 400 | 408)
    }

    fn issue(&self, request: &Request<'_>) -> Option<(u16, Value)> {
        let Caller::Entra { tenant, client, secret, tokens } = &self.caller else { return None };
        if request.path != format!("/{tenant}/oauth2/v2.0/token") {
            return None;
        }
        let scope = "https%3A%2F%2Fcognitiveservices.azure.com%2F.default";
        let wanted = format!("grant_type=client_credentials&client_id={client}&scope={scope}&client_secret={secret}");
        Some(match tokens.issue(request, &wanted) {
            Ok(token) => {
                let life = 3599;
                (
                    200,
                    json!({"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token}),
                )
            }
            Err(form) => {
                (401, json!({"error": "invalid_client", "error_description": format!("AADSTS7000215: {form}")}))
            }
        })
    }
}
