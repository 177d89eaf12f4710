//! Cohere's embeddings: `POST /v2/embed`.
//!
//! Source: Cohere API reference, "Embed API (v2)", and the official SDK for Python (`v2.embed`, `EmbedByTypeResponse`,
//! `ApiMetaBilledUnits`): at most 96 texts; `output_dimension` for embed-v4 and newer only; `truncate: NONE` makes too
//! long a text an error, unless the caller wants it cut; `input_type` also `classification` and `clustering`; `max_tokens` and `priority`
//! (0 to 999). What Cohere bills stands in `meta.billed_units.input_tokens`.

use std::borrow::Cow;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{
    Capabilities, Dialect, ParsedAnswer, Part, Unsupported, Unusable, Wire,
    extension::Extension,
    read::{self, Raw},
};
use vectoll_api::request::InputType;

/// Where Cohere's own API is.
pub const ROOT: &str = "https://api.cohere.com";

/// The most texts in a request.
pub(super) const ITEMS: usize = 96;

/// The lengths that embed-v4 has.
pub(super) const DIMENSIONS: &[u64] = &[256, 512, 1024, 1536];

/// What an input is beyond queries and documents: those two words stand there for the message only.
pub(super) const INPUT_TYPE: Extension =
    Extension::word("input_type", &["search_query", "search_document", "classification", "clustering"]);
pub(super) const EMBEDDING_TYPES: Extension = Extension::only("embedding_types", "[\"float\"]");
pub(super) const TRUNCATE: Extension = Extension::word("truncate", &["NONE", "START", "END"]);
pub(super) const MAX_TOKENS: Extension = Extension::count("max_tokens");

/// Fields that callers may set.
pub(super) const EXTENSIONS: &[Extension] =
    &[INPUT_TYPE, EMBEDDING_TYPES, TRUNCATE, MAX_TOKENS, Extension::count("priority")];

/// Cohere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cohere;

/// What is asked for, here and on Bedrock.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    texts: &'a [Cow<'a, str>],
    input_type: &'a str,
    embedding_types: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimension: Option<u64>,
    truncate: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u64>,
}

#[derive(Deserialize)]
struct CohereAnswer<'a> {
    #[serde(borrow)]
    embeddings: Embeddings<'a>,
    #[serde(borrow, default)]
    meta: Option<Meta<'a>>,
}

/// One list for each of the embedding types that were asked for.
#[derive(Deserialize)]
struct Embeddings<'a> {
    #[serde(borrow)]
    float: Vec<Raw<'a>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default)]
    billed_units: Option<BilledUnits<'a>>,
}

#[derive(Deserialize)]
struct BilledUnits<'a> {
    #[serde(borrow, default)]
    input_tokens: Option<Raw<'a>>,
}

impl<'a> Request<'a> {
    /// Without a model's name: the path says it.
    pub(super) fn new(part: &Part<'a>, output_dimension: Option<u64>) -> Self {
        Self {
            model: None,
            texts: part.texts,
            input_type: part.extensions.text("input_type").unwrap_or(input_type(part.input_type)),
            embedding_types: ["float"],
            output_dimension,
            truncate: part.extensions.text("truncate").unwrap_or("NONE"),
            max_tokens: part.extensions.count("max_tokens"),
            priority: part.extensions.count("priority"),
        }
    }
}

impl Cohere {
    /// Cohere's own API, or a server that speaks it. The root is without the version.
    pub fn new() -> Self {
        Self
    }
}

/// Cohere's word for what the texts are.
fn input_type(input_type: InputType) -> &'static str {
    match input_type {
        InputType::Query => "search_query",
        InputType::Document => "search_document",
    }
}

/// Whether a model comes before embed-v4, and so has one length only: `embed-english-v3.0` and older.
fn is_older(model: &str) -> bool {
    ["-v2.0", "-v3.0"].iter().any(|version| model.ends_with(version))
}

impl Dialect for Cohere {
    fn name(&self) -> &'static str {
        "cohere"
    }

    fn capabilities(&self, _model: &str) -> Capabilities {
        Capabilities { items: ITEMS, tokens: None }
    }

    fn extensions(&self, _model: &str) -> &'static [Extension] {
        EXTENSIONS
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        if is_older(part.model) {
            read::none(part.model, part.dimensions)?;
        }
        // Of newer ones, embed-v4's lengths are known.
        if part.model.starts_with("embed-v4") {
            read::one_of(part.model, DIMENSIONS, part.dimensions)?;
        }
        let request = Request { model: Some(part.model), ..Request::new(part, part.dimensions) };
        Ok(read::wire("/v2/embed".to_owned(), &request))
    }

    fn answer(&self, part: &Part<'_>, _headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        let CohereAnswer { embeddings: Embeddings { float }, meta } = read::json(body)?;
        let billed = meta.and_then(|Meta { billed_units }| billed_units?.input_tokens);
        read::in_order(part, float, read::tokens(billed))
    }
}
