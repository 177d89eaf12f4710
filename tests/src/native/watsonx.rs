//! IBM watsonx.ai, and IBM Cloud's IAM at the same address.
//!
//! Source: watsonx.ai API reference, "Generate embeddings"; IBM Cloud Docs, "Generating an IBM Cloud IAM token by using an API
//! key".

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::{
    Api, Asked, Refusal, Reply, Request,
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
    pub iam: Iam,
}

/// What IAM has issued. A handle: clones share it.
#[derive(Debug, Clone, Default)]
pub struct Iam(Arc<Mutex<Tokens>>);

#[derive(Debug, Default)]
struct Tokens {
    issued: Vec<String>,
    /// Those before are good no more.
    good_from: usize,
    closed: bool,
}

impl Iam {
    fn tokens(&self) -> std::sync::MutexGuard<'_, Tokens> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All tokens up to now.
    pub fn issued(&self) -> Vec<String> {
        self.tokens().issued.clone()
    }

    /// The tokens up to now are good no more.
    pub fn revoke(&self) {
        let mut tokens = self.tokens();
        tokens.good_from = tokens.issued.len();
    }

    /// Whether questions are refused, with an echo.
    pub fn close(&self, closed: bool) {
        self.tokens().closed = closed;
    }

    fn issue(&self) -> String {
        let mut tokens = self.tokens();
        let token = format!("iam-token-{}-kept-by-nobody", tokens.issued.len());
        tokens.issued.push(token.clone());
        token
    }

    fn check(&self, found: &str) -> Result<(), Refusal> {
        let tokens = self.tokens();
        match tokens.issued.iter().position(|token| found == format!("Bearer {token}")) {
            Some(place) if place >= tokens.good_from => Ok(()),
            Some(_) => Err(Refusal::Outdated),
            None => Err(Refusal::Wrong("authorization is no token of IAM's".to_owned())),
        }
    }
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
        let found = request.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        self.iam.check(found)?;
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
        let form = String::from_utf8_lossy(request.body).into_owned();
        let wanted = format!("grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey={}", self.key);
        let is_form = request.headers.get("content-type").is_some_and(|it| it == "application/x-www-form-urlencoded");
        if *request.method != http::Method::POST || !is_form || form != wanted || self.iam.tokens().closed {
            let message = format!("Provided API key could not be found: {form}");
            return Some((
                400,
                json!({"errorCode": "BXNIM0415E", "errorMessage": message, "error_description": message}),
            ));
        }
        let (access_token, life) = (self.iam.issue(), 3600);
        let expiration = 32_503_680_000_u64;
        Some((
            200,
            json!({
                "access_token": access_token, "refresh_token": "not_supported", "token_type": "Bearer",
                "expires_in": life, "expiration": expiration, "scope": "ibm openid",
            }),
        ))
    }
}
