//! Providers that speak an API of their own: a call in OpenAI's shape becomes requests in theirs, and their answers vectors.
//!
//! One provider a file. All of it is pure: a [`Dialect`] makes requests and reads answers; who sends them, with which
//! credentials and how often, is not its concern.

pub mod azure_open_ai;
pub mod bedrock;
pub mod cohere;
pub mod compatible;
pub mod databricks;
pub mod error_meaning;
mod explain;
pub mod extension;
pub mod gemini;
#[cfg(test)]
mod golden;
pub mod hugging_face;
pub mod jina;
pub mod mistral;
pub mod nvidia;
pub mod ollama;
pub mod open_ai;
mod read;
pub mod sage_maker;
mod shape;
pub mod taken;
mod tei;
pub mod vertex_ai;
pub mod voyage;
pub mod watsonx;

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

pub use self::shape::read_open_ai;
use self::{
    error_meaning::ErrorAnswer,
    extension::{Extension, Extensions},
};
use vectoll_api::request::InputType;

/// What of a call one request asks for.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The model's name at the provider.
    pub model: &'a str,
    /// What is to be embedded: at least one, at most [`Capabilities::items`].
    pub texts: &'a [Cow<'a, str>],
    /// How many numbers a vector is to have; none: the model's own number.
    pub dimensions: Option<u64>,
    /// What the texts are, for models that tell queries and documents apart.
    pub input_type: InputType,
    /// What servers that understand callers' bodies are told in the caller's own words.
    pub passthrough: PassthroughFields<'a>,
    /// The call's fields beyond OpenAI's: those that the model takes, or all where callers' bodies are understood.
    pub extensions: &'a Extensions,
}

/// What of a caller's body goes as it stands there to servers that understand it, also in parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassthroughFields<'a> {
    /// `input_type`.
    pub input_type: Option<&'a str>,
    /// `user`.
    pub user: Option<&'a str>,
    /// Whether the texts are token arrays, as JSON.
    pub are_arrays: bool,
}

/// A request without the provider's root, and without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Behind the root, with its leading `/`, and with the query. Names in it are percent-encoded.
    pub path: String,
    /// Headers beside `Content-Type: application/json`, `Accept: application/json` and the credential's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedAnswer {
    /// One vector for each text of the part, in their order.
    pub vectors: Vec<Vec<f32>>,
    /// The input tokens that the provider counted; none: it does not say.
    pub tokens: Option<u64>,
}

/// What a provider takes in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The most texts.
    pub items: usize,
    /// The most tokens over all texts; none: no such bound is known.
    pub tokens: Option<u64>,
}

/// Something in a call that a provider cannot do. The call is refused with 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unsupported {
    /// The field of the call, as in OpenAI's `param`.
    pub param: &'static str,
    /// What is wrong and what to do, for the caller.
    pub message: String,
}

/// What is wrong with an answer. Said as "the provider's answer …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerDefect {
    /// Not the JSON that the provider documents.
    #[error("is not what the provider documents")]
    Shape,
    /// Too few or too many vectors.
    #[error("has another number of vectors than there were inputs")]
    Number,
    /// An index twice, or missing.
    #[error("has vectors in no clear order")]
    Order,
    /// Vectors of several lengths, or not of the one that was asked for: some pass over `dimensions` in silence.
    #[error("has vectors of several lengths, or of another one than was asked for")]
    Length,
    /// The provider embedded only a part of an input, though it was told not to.
    #[error("is for an input that it has cut")]
    Truncated,
    /// Numbers that no 32-bit float holds, or none at all.
    #[error("has a vector that is not valid")]
    Vector,
}

/// An answer that cannot be used, and what it cost all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{defect}")]
pub struct Unusable {
    /// What is wrong with it.
    pub defect: AnswerDefect,
    /// The input tokens that the provider counted; none: the answer does not say.
    pub tokens: Option<u64>,
}

/// One of which nothing could be read.
impl From<AnswerDefect> for Unusable {
    fn from(defect: AnswerDefect) -> Self {
        Self { defect, tokens: None }
    }
}

/// How one provider is spoken to.
pub trait Dialect: std::fmt::Debug + Send + Sync {
    /// The label `provider`: the value of `gen_ai.provider.name` in OpenTelemetry's GenAI conventions, where it has one.
    fn name(&self) -> &'static str;

    /// What one request may hold, by the model's name at the provider.
    fn capabilities(&self, model: &str) -> Capabilities;

    /// Where callers' bodies are understood as they come, behind the root, if that depends on the model's name.
    fn pass_path(&self, _model: &str) -> Option<String> {
        None
    }

    /// The fields beyond OpenAI's that a model takes from callers, by its name at the provider. All others are refused, unless callers'
    /// bodies are understood as they come. `input_type` is among them where the model knows more than queries and documents.
    fn extensions(&self, _model: &str) -> &'static [Extension] {
        &[]
    }

    /// The request for a part of a call.
    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported>;

    /// Reads the body of a successful answer to a part.
    fn answer(&self, part: &Part<'_>, headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable>;

    /// What an error answer means.
    fn meaning(&self, answer: ErrorAnswer<'_>) -> error_meaning::ErrorMeaning {
        answer.meaning()
    }

    /// Whether an error of this status is certainly not charged. Beyond what goes for everyone it is the provider's own word: a
    /// dialect that says more names the page.
    fn is_free(&self, status: StatusCode) -> bool {
        error_meaning::refuses_before_work(status)
    }
}
