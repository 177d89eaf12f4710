//! IBM watsonx.ai's embeddings: `POST /ml/v1/text/embeddings?version={date}`.
//!
//! Source: watsonx.ai API reference, "Generate embeddings", and the official SDK for Node.js (`TextEmbeddingsParams`,
//! `EmbeddingsResponse`): a project or a space must be named; inputs are cut only if `parameters.truncate_input_tokens` is sent; there
//! are no dimensions. At most 1,000 inputs, as in the official SDK for Python (`MAX_INPUTS_LENGTH`).

use std::borrow::Cow;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{
    AnswerDefect, Capabilities, Dialect, ParsedAnswer, Part, Unsupported, Unusable, Wire,
    extension::Extension,
    read::{self, Raw},
};

/// The most inputs in a request.
const ITEMS: usize = 1000;

/// Fields that callers may set.
pub(super) const EXTENSIONS: &[Extension] = &[Extension::count("truncate_input_tokens")];

/// Where in watsonx.ai a call belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Container {
    /// A project, by its ID.
    #[serde(rename = "project_id")]
    Project(String),
    /// A deployment space, by its ID.
    #[serde(rename = "space_id")]
    Space(String),
}

/// The models of watsonx.ai.
#[derive(Clone, Debug)]
pub struct Watsonx {
    container: Container,
    version: String,
}

#[derive(Serialize)]
struct Request<'a> {
    model_id: &'a str,
    inputs: &'a [Cow<'a, str>],
    #[serde(flatten)]
    container: &'a Container,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Parameters>,
}

#[derive(Serialize)]
struct Parameters {
    truncate_input_tokens: u64,
}

#[derive(Deserialize)]
struct WatsonxAnswer<'a> {
    #[serde(borrow)]
    results: Vec<Embedding<'a>>,
    #[serde(borrow, default)]
    input_token_count: Option<Raw<'a>>,
}

#[derive(Deserialize)]
struct Embedding<'a> {
    #[serde(borrow, default)]
    embedding: Option<Raw<'a>>,
}

impl Watsonx {
    /// The root is the region's: `https://{region}.ml.cloud.ibm.com`. The version is a date, `2024-10-17`, and the API then is
    /// what it was on that day.
    pub fn new(container: Container, version: impl Into<String>) -> Self {
        Self { container, version: version.into() }
    }
}

impl Dialect for Watsonx {
    fn name(&self) -> &'static str {
        "ibm.watsonx.ai"
    }

    fn capabilities(&self, _model: &str) -> Capabilities {
        Capabilities { items: ITEMS, tokens: None }
    }

    fn extensions(&self, _model: &str) -> &'static [Extension] {
        EXTENSIONS
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        read::none(part.model, part.dimensions)?;
        let path = format!("/ml/v1/text/embeddings?version={}", read::segment(&self.version));
        let cut = part.extensions.count("truncate_input_tokens");
        let parameters = cut.map(|truncate_input_tokens| Parameters { truncate_input_tokens });
        let request = Request { model_id: part.model, inputs: part.texts, container: &self.container, parameters };
        Ok(read::wire(path, &request))
    }

    fn answer(&self, part: &Part<'_>, _headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        let WatsonxAnswer { results, input_token_count } = read::json(body)?;
        let read_one = |Embedding { embedding }| embedding.ok_or(AnswerDefect::Vector)?.floats();
        read::answer_of(part, results.into_iter().map(read_one).collect(), read::tokens(input_token_count))
    }
}
