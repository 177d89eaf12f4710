//! Refusals in `OpenAI`'s words and shape.

use http::StatusCode;
use serde_json::{Value, json};

use super::call::Violation;

/// An error answer.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) kind: &'static str,
    pub(super) code: Option<&'static str>,
    /// Seconds, for the header of this name.
    pub(super) retry_after: Option<u32>,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>, kind: &'static str, code: Option<&'static str>) -> Self {
        Self { status, message: message.into(), kind, code, retry_after: None }
    }

    pub(super) fn not_found(violation: &Violation) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("Invalid URL: {violation}"), "invalid_request_error", None)
    }

    pub(super) fn violation(violation: &Violation) -> Self {
        Self::new(StatusCode::BAD_REQUEST, violation.to_string(), "invalid_request_error", None)
    }

    /// Echoes the credential whole; real providers echo parts of it.
    pub(super) fn unauthorized(credential: &str) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            format!(
                "Incorrect API key provided: {credential}. You can find your API key at \
                 https://platform.openai.com/account/api-keys."
            ),
            "invalid_request_error",
            Some("invalid_api_key"),
        )
    }

    pub(super) fn bad_request() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "This model's maximum context length is 8192 tokens, however you requested 8193 tokens. Please reduce your prompt.",
            "invalid_request_error",
            None,
        )
    }

    pub(super) fn no_model(model: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            format!("The model `{model}` does not exist or you do not have access to it."),
            "invalid_request_error",
            Some("model_not_found"),
        )
    }

    pub(super) fn rate_limited(model: &str) -> Self {
        let message = format!(
            "Rate limit reached for {model} in organization org-test on tokens per min (TPM): Limit 1000000, Used 999999, \
             Requested 8. Please try again in 7s."
        );
        Self {
            retry_after: Some(7),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, message, "tokens", Some("rate_limit_exceeded"))
        }
    }

    /// More requests than it takes within a second.
    pub(super) fn too_many_requests(model: &str) -> Self {
        let message = format!("Rate limit reached for {model} in organization org-test on requests per second (RPS).");
        Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, message, "requests", Some("rate_limit_exceeded"))
        }
    }

    /// An input with more tokens than it takes.
    pub(super) fn long_input(most: u64, tokens: u64) -> Self {
        let message = format!(
            "This model's maximum context length is {most} tokens, however you requested {tokens} tokens. Please reduce your prompt."
        );
        Self::new(StatusCode::BAD_REQUEST, message, "invalid_request_error", None)
    }

    pub(super) fn server_error() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The server had an error while processing your request. Sorry about that!",
            "server_error",
            None,
        )
    }

    pub(super) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The engine is currently overloaded, please try again later.",
            "server_error",
            None,
        )
    }

    pub(super) fn to_value(&self) -> Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": null, "code": self.code}})
    }
}
