//! Amazon Nova's multimodal embeddings, a text at a time.
//!
//! Source: Amazon Nova user guide, "Complete embeddings request and response schema": `truncationMode: NONE` makes too long a
//! text an error, and `truncatedCharLength` is there only if it was cut; `inputTokenCount`, which the guide does not show, is
//! seen in answers. The purpose `TEXT_RETRIEVAL` is for queries among
//! texts, `GENERIC_INDEX` for what is found.

use serde::{Deserialize, Serialize};

use super::titan::text;
use crate::provider::dialect::{
    AnswerDefect, ParsedAnswer, Part, Unsupported, Unusable,
    extension::Extension,
    read::{self, Raw},
};
use vectoll_api::request::InputType;

/// The lengths that it has.
const DIMENSIONS: &[u64] = &[256, 384, 1024, 3072];

/// The field that says what is cut of too long a text.
const TRUNCATION_MODE: &str = "truncationMode";
/// Fields that callers may set. The guide's other purposes are the model's to know.
pub(super) const EXTENSIONS: &[Extension] =
    &[Extension::word(TRUNCATION_MODE, &["NONE", "START", "END"]), Extension::text("embeddingPurpose")];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    task_type: &'static str,
    single_embedding_params: Params<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    embedding_purpose: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_dimension: Option<u64>,
    text: Text<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Text<'a> {
    truncation_mode: &'a str,
    value: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NovaAnswer<'a> {
    #[serde(borrow)]
    embeddings: Vec<Embedding<'a>>,
    #[serde(borrow, default)]
    input_token_count: Option<Raw<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Embedding<'a> {
    #[serde(borrow, default)]
    embedding: Option<Raw<'a>>,
    #[serde(borrow, default)]
    truncated_char_length: Option<Raw<'a>>,
}

pub(super) fn request<'a>(part: &Part<'a>) -> Result<Request<'a>, Unsupported> {
    let embedding_dimension = read::one_of(part.model, DIMENSIONS, part.dimensions)?;
    let embedding_purpose = match part.input_type {
        InputType::Query => "TEXT_RETRIEVAL",
        InputType::Document => "GENERIC_INDEX",
    };
    let embedding_purpose = part.extensions.text("embeddingPurpose").unwrap_or(embedding_purpose);
    let text = Text { truncation_mode: truncation_mode(part), value: text(part) };
    Ok(Request {
        task_type: "SINGLE_EMBEDDING",
        single_embedding_params: Params { embedding_purpose, embedding_dimension, text },
    })
}

/// What is cut of too long a text: nothing, unless the caller wants it.
fn truncation_mode<'a>(part: &Part<'a>) -> &'a str {
    part.extensions.text(TRUNCATION_MODE).unwrap_or("NONE")
}

pub(super) fn answer(part: &Part<'_>, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
    let NovaAnswer { embeddings, input_token_count } = read::json(body)?;
    let read_one = |Embedding { embedding, truncated_char_length }| {
        if truncated_char_length.is_some() && truncation_mode(part) == "NONE" {
            return Err(AnswerDefect::Truncated);
        }
        embedding.ok_or(AnswerDefect::Vector)?.floats()
    };
    read::answer_of(part, embeddings.into_iter().map(read_one).collect(), read::tokens(input_token_count))
}
