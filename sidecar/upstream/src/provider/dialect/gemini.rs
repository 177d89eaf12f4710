//! The Gemini API's embeddings: `POST /v1beta/models/{model}:batchEmbedContents`.
//!
//! Source: Gemini API reference, "Embeddings" (`models.batchEmbedContents`, `EmbedContentRequest`,
//! `EmbeddingUsageMetadata`), and the official SDK for Python, which sends the task type and the dimensions in each of the
//! requests. Task types are for text-only models, and `title` for `RETRIEVAL_DOCUMENT` only. The reference names no bound; what the API answers beyond it is "at most 100
//! requests can be in one batch", which one of Google's own confirms in `LanceDB`'s client (looked up in November 2026). There is
//! no word on truncation (the SDK refuses `auto_truncate` for this API), and not all answers say the tokens.
//!
//! gemini-embedding-001 makes unit vectors of 3,072 numbers only; of fewer "you need to normalize the embeddings" yourself (the
//! Gemini API's guide "Embeddings"). OpenAI's contract is unit vectors, so it is done here.
//!
//! What an error costs: "Gemini API billing FAQs", "Am I charged for failed requests?": one that fails with 400 or 500 is not charged.

use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::{
    AnswerDefect, Capabilities, Dialect, ParsedAnswer, Part, Unsupported, Unusable, Wire,
    error_meaning::refuses_before_work,
    extension::Extension,
    read::{self, Raw},
};
use vectoll_api::request::InputType;

/// Where the API is.
pub const ROOT: &str = "https://generativelanguage.googleapis.com";

/// The most requests in a batch.
const ITEMS: usize = 100;

/// The model whose vectors are unit vectors at their full length only, and that length.
const FIRST: &str = "gemini-embedding-001";
const FULL_LENGTH: usize = 3072;

const TASK_TYPE: Extension = Extension::text("task_type");

/// Fields that callers may set, of models that know task types. Which there are is Google's to say: new ones come with new models.
pub(super) const EXTENSIONS: &[Extension] = &[TASK_TYPE, TASK_TYPE.spelled("taskType"), Extension::text("title")];

/// The Gemini API.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gemini;

#[derive(Serialize)]
struct Batch<'a> {
    requests: Vec<Request<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    model: &'a str,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u64>,
}

/// What is embedded: several parts would become one vector.
#[derive(Serialize)]
pub(super) struct Content<'a> {
    parts: [Text<'a>; 1],
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GeminiAnswer<'a> {
    #[serde(borrow)]
    embeddings: Vec<Embedding<'a>>,
    #[serde(borrow, default)]
    usage_metadata: Option<UsageMetadata<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Embedding<'a> {
    #[serde(borrow, default)]
    values: Option<Raw<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageMetadata<'a> {
    #[serde(borrow, default)]
    prompt_token_count: Option<Raw<'a>>,
}

impl<'a> Content<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { parts: [Text { text }] }
    }
}

/// A vector as its caller is to have it.
pub(super) fn unit(model: &str, vector: Vec<f32>) -> Vec<f32> {
    if bare(model) == FIRST && vector.len() < FULL_LENGTH { read::unit(vector) } else { vector }
}

/// A model's name without the `models/` that the API's own names begin with.
fn bare(model: &str) -> &str {
    model.strip_prefix("models/").unwrap_or(model)
}

impl Embedding<'_> {
    pub(super) fn vector(self) -> Result<Vec<f32>, AnswerDefect> {
        self.values.ok_or(AnswerDefect::Vector)?.floats()
    }
}

impl UsageMetadata<'_> {
    pub(super) fn tokens(self) -> Option<u64> {
        read::tokens(self.prompt_token_count)
    }
}

impl Gemini {
    /// The Gemini API. The root is without the version.
    pub fn new() -> Self {
        Self
    }
}

/// Google's word for documents.
const DOCUMENT: &str = "RETRIEVAL_DOCUMENT";

/// Google's word for what the texts are.
fn task_type(input_type: InputType) -> &'static str {
    match input_type {
        InputType::Query => "RETRIEVAL_QUERY",
        InputType::Document => DOCUMENT,
    }
}

/// What a caller says of the task, or else the word for what the texts are; and the title, which is for documents only.
pub(super) fn task_and_title<'a>(part: &Part<'a>) -> Result<(&'a str, Option<&'a str>), Unsupported> {
    let task_type = part.extensions.text("task_type").unwrap_or(task_type(part.input_type));
    let title = part.extensions.text("title");
    if title.is_some() && task_type != DOCUMENT {
        let message = format!("`title` is for texts that are documents ({DOCUMENT}), and these are {task_type}");
        return Err(Unsupported { param: "title", message });
    }
    Ok((task_type, title))
}

/// Whether a model takes a task type. Gemini's multimodal ones do not: there the task would have to stand in the text, which
/// is the caller's.
fn knows_task_types(model: &str) -> bool {
    model == FIRST || !(model.contains("gemini") || model == "embedding-001")
}

impl Dialect for Gemini {
    fn name(&self) -> &'static str {
        "gcp.gemini"
    }

    fn capabilities(&self, _model: &str) -> Capabilities {
        Capabilities { items: ITEMS, tokens: None }
    }

    fn extensions(&self, model: &str) -> &'static [Extension] {
        if knows_task_types(bare(model)) { EXTENSIONS } else { &[] }
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        // The API's own names stand in the path and in each request alike.
        let bare = bare(part.model);
        let model = format!("models/{bare}");
        let (task_type, title) = task_and_title(part)?;
        let request = |text| Request {
            model: &model,
            content: Content::new(text),
            task_type: knows_task_types(bare).then_some(task_type),
            title,
            output_dimensionality: part.dimensions,
        };
        let batch = Batch { requests: part.texts.iter().map(|text| request(text)).collect() };
        Ok(read::wire(format!("/v1beta/models/{}:batchEmbedContents", read::segment(bare)), &batch))
    }

    fn answer(&self, part: &Part<'_>, _headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        let GeminiAnswer { embeddings, usage_metadata } = read::json(body)?;
        let vector = |embedding: Embedding<'_>| embedding.vector().map(|vector| unit(part.model, vector));
        let vectors = embeddings.into_iter().map(vector).collect();
        read::answer_of(part, vectors, usage_metadata.and_then(UsageMetadata::tokens))
    }

    fn is_free(&self, status: StatusCode) -> bool {
        matches!(status.as_u16(), 400 | 500) || refuses_before_work(status)
    }
}
