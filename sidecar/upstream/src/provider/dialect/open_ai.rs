//! OpenAI's embeddings API, and the many servers that speak it, for calls that must be split or translated.
//!
//! Source: OpenAI API reference, "Create embeddings" (schema `CreateEmbeddingRequest` of OpenAI's own description): at most
//! 2,048 inputs and 300,000 tokens in a request; `dimensions` for text-embedding-3 and later. There is nothing to say on
//! truncation: too long an input is an error.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Capabilities, Dialect, ParsedAnswer, Part, Unsupported, Unusable, Wire, extension::Extensions, read, shape,
};

/// The most inputs that OpenAI takes. The sidecar takes no more in a call either.
pub const ITEMS: usize = 2048;
/// The most tokens that OpenAI takes over all inputs.
pub const TOKENS: u64 = 300_000;

/// The model that came before `dimensions`, and refuses the field even with the length that it has.
const FIRST: &str = "text-embedding-ada-002";
const FIRST_LENGTH: u64 = 1536;

/// A server that speaks OpenAI's API.
#[derive(Clone, Debug)]
pub struct OpenAi {
    name: &'static str,
    path: String,
    capabilities: Capabilities,
    asks_for_base64: bool,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: Input<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(flatten)]
    extensions: &'a Extensions,
}

/// `input`, as the caller has given it: texts, or token arrays.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Input<'a> {
    Texts(&'a [Cow<'a, str>]),
    Arrays(Vec<&'a RawValue>),
}

impl<'a> Input<'a> {
    pub(super) fn of(part: &Part<'a>) -> Result<Self, Unsupported> {
        if !part.passthrough.are_arrays {
            return Ok(Self::Texts(part.texts));
        }
        let no_array =
            |_| Unsupported { param: "input", message: "`input` has a token array that is not valid".to_owned() };
        part.texts
            .iter()
            .map(|array| serde_json::from_str(array))
            .collect::<Result<_, _>>()
            .map(Self::Arrays)
            .map_err(no_array)
    }
}

impl OpenAi {
    /// OpenAI itself. `path` is the way from the root to the API: `/embeddings` if the root ends with `/v1`.
    pub fn new(path: impl Into<String>) -> Self {
        let capabilities = Capabilities { items: ITEMS, tokens: Some(TOKENS) };
        // A quarter of the bytes, and no rounding.
        Self { name: "openai", path: path.into(), capabilities, asks_for_base64: true }
    }

    /// Another server with this API. Floats are asked for, by saying nothing: not everyone knows base64, and some refuse
    /// fields that they do not know. `items` is what its operator allows in a request.
    pub fn compatible(name: &'static str, path: impl Into<String>, items: usize) -> Self {
        Self { name, path: path.into(), capabilities: Capabilities { items, tokens: None }, asks_for_base64: false }
    }
}

impl Dialect for OpenAi {
    fn name(&self) -> &'static str {
        self.name
    }

    fn capabilities(&self, _model: &str) -> Capabilities {
        self.capabilities
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        let mut dimensions = part.dimensions;
        if part.model == FIRST {
            read::fixed(part.model, FIRST_LENGTH, dimensions)?;
            dimensions = None;
        }
        // Of other models the server knows more than a name tells.
        let request = Request {
            model: part.model,
            input: Input::of(part)?,
            dimensions,
            encoding_format: self.asks_for_base64.then_some("base64"),
            input_type: part.passthrough.input_type,
            user: part.passthrough.user,
            extensions: part.extensions,
        };
        Ok(read::wire(self.path.clone(), &request))
    }

    fn answer(&self, part: &Part<'_>, _headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        shape::answer(part, body)
    }
}
