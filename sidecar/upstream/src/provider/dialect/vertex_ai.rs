//! Vertex AI's embeddings: `POST /v1/projects/{project}/locations/{location}/publishers/google/models/{model}:predict`,
//! and `…:embedContent` for the models that came later.
//!
//! Source: Vertex AI reference, "Text embeddings API" and "Get text embeddings" (at most 250 texts and 20,000 tokens in a
//! request; gemini-embedding-001 takes one text; `autoTruncate: false` makes too long a text an error), and "Method:
//! models.embedContent". Which model speaks which, as in the official SDK for Python (`t_is_vertex_embed_content_model`):
//! Gemini's, except gemini-embedding-001, and open models as a service speak the later one, a text at a time. Those models
//! want their task in the text, which is the caller's; that a text was cut stands in the answer.
//!
//! The reference calls all vectors normalised, with no word on shorter ones. Those of gemini-embedding-001 are made unit vectors as
//! those of the Gemini API are, whose guide says that they are none: a unit vector stays what it is, up to the last bit.
//!
//! What an error costs: "Cost of building and deploying AI models in Vertex AI" (its page of prices): only requests that return 200 are
//! charged, and none with another status, such as 4xx and 5xx.

use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::{
    AnswerDefect, Capabilities, Dialect, ParsedAnswer, Part, Unsupported, Unusable, Wire,
    extension::Extension,
    gemini::{Content, Embedding, UsageMetadata, task_and_title, unit},
    read::{self, Raw},
};

/// The most texts in a request.
const ITEMS: usize = 250;
/// The most tokens in a request.
const TOKENS: u64 = 20_000;

/// The field that says whether too long a text is cut.
const AUTO_TRUNCATE: &str = "auto_truncate";
const CUT: Extension = Extension::flag(AUTO_TRUNCATE);
const TASK_TYPE: Extension = Extension::text("task_type");

/// Fields that callers may set.
pub(super) const EXTENSIONS: &[Extension] =
    &[CUT, CUT.spelled("autoTruncate"), TASK_TYPE, TASK_TYPE.spelled("taskType"), Extension::text("title")];
/// Those of models that want their task in the text.
const LATER_EXTENSIONS: &[Extension] = &[CUT, CUT.spelled("autoTruncate")];

/// A project's models in one location.
#[derive(Clone, Debug)]
pub struct VertexAi {
    /// The path up to the publisher.
    parent: String,
}

/// Which method of the API a model has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Predict,
    EmbedContent,
}

#[derive(Serialize)]
struct Predict<'a> {
    instances: Vec<Instance<'a>>,
    parameters: Parameters,
}

#[derive(Serialize)]
struct Instance<'a> {
    content: &'a str,
    task_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    auto_truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u64>,
}

#[derive(Deserialize)]
struct Predictions<'a> {
    #[serde(borrow)]
    predictions: Vec<Prediction<'a>>,
}

#[derive(Deserialize)]
struct Prediction<'a> {
    #[serde(borrow)]
    embeddings: Embeddings<'a>,
}

#[derive(Deserialize)]
struct Embeddings<'a> {
    #[serde(borrow, default)]
    values: Option<Raw<'a>>,
    #[serde(borrow, default)]
    statistics: Option<Statistics<'a>>,
}

#[derive(Clone, Copy, Deserialize)]
struct Statistics<'a> {
    #[serde(borrow, default)]
    token_count: Option<Raw<'a>>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EmbedContent<'a> {
    content: Content<'a>,
    embed_content_config: Parameters,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Embedded<'a> {
    #[serde(borrow)]
    embedding: Embedding<'a>,
    #[serde(borrow, default)]
    usage_metadata: Option<UsageMetadata<'a>>,
    #[serde(default)]
    truncated: bool,
}

impl VertexAi {
    /// The models of a project, in a location. The root is the location's:
    /// `https://{location}-aiplatform.googleapis.com`, or `https://aiplatform.googleapis.com` for `global`.
    pub fn new(project: &str, location: &str) -> Self {
        let (project, location) = (read::segment(project), read::segment(location));
        Self { parent: format!("/v1/projects/{project}/locations/{location}/publishers") }
    }

    /// The path for a model: Google's, or another publisher's, whose name then stands before it (`intfloat/…`, or in full
    /// `publishers/intfloat/models/…`).
    fn path(&self, model: &str, method: &str) -> String {
        let in_full = model.strip_prefix("publishers/").and_then(|model| model.split_once("/models/"));
        let (publisher, model) = in_full.or_else(|| model.split_once('/')).unwrap_or(("google", model));
        format!("{}/{}/models/{}:{method}", self.parent, read::segment(publisher), read::segment(model))
    }
}

impl Method {
    fn of(model: &str) -> Self {
        let is_later = model.contains("gemini") && model != "gemini-embedding-001";
        if is_later || model.contains("maas") { Self::EmbedContent } else { Self::Predict }
    }
}

/// Whether too long a text is to be cut: only if the caller wants it.
fn is_to_be_cut(part: &Part<'_>) -> bool {
    part.extensions.flag(AUTO_TRUNCATE).unwrap_or(false)
}

/// What a provider cut it has not embedded.
fn whole(part: &Part<'_>, truncated: bool) -> Result<(), AnswerDefect> {
    if truncated && !is_to_be_cut(part) { Err(AnswerDefect::Truncated) } else { Ok(()) }
}

impl Dialect for VertexAi {
    fn name(&self) -> &'static str {
        "gcp.vertex_ai"
    }

    fn capabilities(&self, model: &str) -> Capabilities {
        let takes_one = model == "gemini-embedding-001" || Method::of(model) == Method::EmbedContent;
        Capabilities { items: if takes_one { 1 } else { ITEMS }, tokens: Some(TOKENS) }
    }

    fn extensions(&self, model: &str) -> &'static [Extension] {
        match Method::of(model) {
            Method::Predict => EXTENSIONS,
            Method::EmbedContent => LATER_EXTENSIONS,
        }
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        let Part { model, texts, dimensions, .. } = *part;
        let parameters = Parameters { auto_truncate: is_to_be_cut(part), output_dimensionality: dimensions };
        match Method::of(model) {
            Method::Predict => {
                let (task_type, title) = task_and_title(part)?;
                let instance = |content| Instance { content, task_type, title };
                let request = Predict { instances: texts.iter().map(|text| instance(text)).collect(), parameters };
                Ok(read::wire(self.path(model, "predict"), &request))
            }
            Method::EmbedContent => {
                // Not more than one: see `capabilities`.
                let text = texts.first().map_or("", AsRef::as_ref);
                let request = EmbedContent { content: Content::new(text), embed_content_config: parameters };
                Ok(read::wire(self.path(model, "embedContent"), &request))
            }
        }
    }

    fn answer(&self, part: &Part<'_>, _headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        match Method::of(part.model) {
            Method::Predict => {
                let Predictions { predictions } = read::json(body)?;
                let statistics = predictions.iter().map(|prediction| prediction.embeddings.statistics);
                // Of a text without a prediction nothing is said.
                let is_whole = predictions.len() == part.texts.len();
                let tokens = read::sum(statistics.map(|statistics| statistics?.token_count)).filter(|_| is_whole);
                let read_one = |Prediction { embeddings: Embeddings { values, statistics } }| {
                    whole(part, statistics.is_some_and(|statistics| statistics.truncated))?;
                    Ok(unit(part.model, values.ok_or(AnswerDefect::Vector)?.floats()?))
                };
                read::answer_of(part, predictions.into_iter().map(read_one).collect(), tokens)
            }
            Method::EmbedContent => {
                let Embedded { embedding, usage_metadata, truncated } = read::json(body)?;
                let vector = whole(part, truncated).and_then(|()| embedding.vector());
                read::answer_of(part, vector.map(|vector| vec![vector]), usage_metadata.and_then(UsageMetadata::tokens))
            }
        }
    }

    fn is_free(&self, status: StatusCode) -> bool {
        status.is_client_error() || status.is_server_error()
    }
}
