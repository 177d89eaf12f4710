//! Amazon Titan's text embeddings, a text at a time.
//!
//! Source: Amazon Bedrock user guide, "Amazon Titan Embeddings G1 - Text" and "Amazon Titan Text Embeddings V2": `{inputText}`,
//! V2 also with `dimensions`, `normalize` and `embeddingTypes` → `{embedding, inputTextTokenCount}`. Too long a text is an error.

use serde::{Deserialize, Serialize};

use crate::provider::dialect::{
    ParsedAnswer, Part, Unsupported, Unusable,
    extension::Extension,
    read::{self, Raw},
};

/// The length of G1's vectors.
const LENGTH: u64 = 1536;
/// The lengths that V2 has.
const DIMENSIONS: &[u64] = &[256, 512, 1024];

/// Fields that callers of V2 may set.
pub(super) const EXTENSIONS: &[Extension] =
    &[Extension::flag("normalize"), Extension::only("embeddingTypes", "[\"float\"]")];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    input_text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    normalize: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TitanAnswer<'a> {
    #[serde(borrow)]
    embedding: Raw<'a>,
    #[serde(borrow, default)]
    input_text_token_count: Option<Raw<'a>>,
}

/// The only text of a part.
pub(super) fn text<'a>(part: &Part<'a>) -> &'a str {
    part.texts.first().map_or("", AsRef::as_ref)
}

pub(super) fn request_v1<'a>(part: &Part<'a>) -> Result<Request<'a>, Unsupported> {
    read::fixed(part.model, LENGTH, part.dimensions)?;
    Ok(Request { input_text: text(part), dimensions: None, normalize: None })
}

pub(super) fn request_v2<'a>(part: &Part<'a>) -> Result<Request<'a>, Unsupported> {
    read::one_of(part.model, DIMENSIONS, part.dimensions)?;
    // The default, said so that it stays.
    let normalize = part.extensions.flag("normalize").unwrap_or(true);
    Ok(Request { input_text: text(part), dimensions: part.dimensions, normalize: Some(normalize) })
}

pub(super) fn answer(part: &Part<'_>, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
    let TitanAnswer { embedding, input_text_token_count } = read::json(body)?;
    read::in_order(part, [embedding], read::tokens(input_text_token_count))
}
