//! IBM watsonx.ai, and IBM Cloud's IAM at the same address.
//!
//! Source: watsonx.ai API reference, "Generate embeddings"; IBM Cloud Docs, "Generating an IBM Cloud IAM token by using an API
//! key".

use serde_json::{Value, json};

use super::{
    Api, Asked, Issuer, Reply, Request,
    auth::posted,
    fields::{Fields, Read},
    shape,
};

/// A project with one model.
#[derive(Debug, Clone)]
pub struct Watsonx {
    /// The API key, which only IAM may see.
    pub key: &'static str,
    /// The project.
    pub project: &'static str,
    /// `version`.
    pub version: &'static str,
    /// Tokens.
    pub iam: Issuer,
}

impl Api for Watsonx {
    fn items(&self) -> usize {
        1000
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        &["authorization"]
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        posted(request, "/ml/v1/text/embeddings", &format!("version={}", self.version))?;
        self.iam.check(request)?;
        let mut fields = Fields::read(request.body)?;
        fields.is("model_id", "ibm/slate-125m-english-rtrvr-v2")?;
        fields.is("project_id", self.project)?;
        let texts = fields.texts("inputs")?;
        fields.end()?;
        Ok(Asked::texts(texts, 768, None))
    }

    fn write(&self, _asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        let results = shape::list(vectors, |_, vector| format!(r#"{{"embedding":{}}}"#, shape::numbers(vector)));
        let body = format!(
            r#"{{"model_id":"ibm/slate-125m-english-rtrvr-v2","created_at":"2024-05-02T16:21:56.771Z","results":{results},"input_token_count":{tokens}}}"#
        );
        Reply { headers: Vec::new(), body }
    }

    fn error(&self, status: u16, message: &str) -> Value {
        json!({"errors": [{"code": "invalid_request", "message": message}], "trace": "a", "status_code": status})
    }

    fn issue(&self, request: &Request<'_>) -> Option<(u16, Value)> {
        if request.path != "/identity/token" {
            return None;
        }
        let wanted = format!("grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey={}", self.key);
        let access_token = match self.iam.issue(request, &wanted) {
            Ok(token) => token,
            Err(form) => {
                let message = format!("Provided API key could not be found: {form}");
                return Some((400, json!({"errorCode": "BXNIM0415E", "errorMessage": message})));
            }
        };
        let expiration = 32_503_680_000_u64;
        Some((
            200,
            json!({
                "access_token": access_token, "refresh_token": "not_supported", "token_type": "Bearer",
                "expires_in": 3600, "expiration": expiration, "scope": "ibm openid",
            }),
        ))
    }
}
