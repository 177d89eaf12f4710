//! Databricks' model serving: `POST /serving-endpoints/{name}/invocations`.
//!
//! Source: Databricks, "Foundation model REST API reference", "Embedding task": `{input, instruction?}` → OpenAI's shape. The
//! instruction is the model's own affair: BGE's authors have one for queries and none for documents. There are no dimensions,
//! and nothing to say on truncation.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Serialize;

use super::{
    Capabilities, Dialect, ParsedAnswer, Part, Unsupported, Unusable, Wire, extension::Extension, read, shape,
};
use vectoll_api::request::InputType;

/// The most inputs in a request. The reference names no bound (looked up again on 24 November 2026), nor does any error of the API's
/// that is known; this is the one that clients keep to. `batch.maxItems` of the backend sets another one.
const ITEMS: usize = 150;

/// Fields that callers may set.
pub(super) const EXTENSIONS: &[Extension] = &[Extension::text("instruction")];

/// The serving endpoints of a workspace.
#[derive(Clone, Debug, Default)]
pub struct Databricks {
    query_instruction: Option<String>,
}

#[derive(Serialize)]
struct Request<'a> {
    input: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    instruction: Option<&'a str>,
}

impl Databricks {
    /// The root is the workspace's. The model's name is that of its serving endpoint. `query_instruction` goes along with
    /// queries.
    pub fn new(query_instruction: Option<String>) -> Self {
        Self { query_instruction }
    }
}

impl Dialect for Databricks {
    fn name(&self) -> &'static str {
        "databricks"
    }

    fn capabilities(&self, _model: &str) -> Capabilities {
        Capabilities { items: ITEMS, tokens: None }
    }

    fn extensions(&self, _model: &str) -> &'static [Extension] {
        EXTENSIONS
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        read::none(part.model, part.dimensions)?;
        let instruction = match part.input_type {
            InputType::Query => self.query_instruction.as_deref(),
            InputType::Document => None,
        };
        let instruction = part.extensions.text("instruction").or(instruction);
        let path = format!("/serving-endpoints/{}/invocations", read::segment(part.model));
        Ok(read::wire(path, &Request { input: part.texts, instruction }))
    }

    fn answer(&self, part: &Part<'_>, _headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        shape::answer(part, body)
    }
}
