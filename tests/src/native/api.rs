//! What each provider has to say for itself.

use serde_json::Value;

use super::{asked::Asked, request::Request};

/// A right answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Headers beside `content-type: application/json`.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
}

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody may ask for that: a violation.
    Wrong(String),
    /// The credential was good once.
    Outdated,
    /// What the provider cannot do, and callers may ask for: its status and its words.
    Unable(u16, String),
}

/// One provider.
pub trait Api: Send + Sync + 'static {
    /// The most inputs in a request.
    fn items(&self) -> usize;

    /// The headers that say who calls.
    fn credential_headers(&self) -> &'static [&'static str];

    /// Checks a request.
    fn read(&self, request: &Request<'_>) -> Result<Asked, Refusal>;

    /// The right answer. `vectors` are those of the inputs in their order, `tokens` what they cost.
    fn write(&self, asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply;

    /// An error in the provider's shape.
    fn error(&self, status: u16, message: &str) -> Value;

    /// Whether an error of this status is charged, as the provider's own pages have it.
    fn charges(&self, _status: u16) -> bool {
        false
    }

    /// The status by which it says that a credential is good no more.
    fn outdated(&self) -> u16 {
        401
    }

    /// Answers a question for a token: status and body; none: it is another kind of request.
    fn issue(&self, _request: &Request<'_>) -> Option<(u16, Value)> {
        None
    }
}
