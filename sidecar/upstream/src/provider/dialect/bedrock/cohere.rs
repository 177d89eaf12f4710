//! Cohere's embeddings on Bedrock.
//!
//! Source: Amazon Bedrock user guide, "Cohere Embed v3" and "Cohere Embed v4": as at Cohere itself, without the model's name
//! in the body; `output_dimension` for v4 only; at most 96 texts. Without `embedding_types` the vectors are a list, and with
//! them a list for each type; both are read. `max_tokens` is v4's; what `truncate` may say there is left to Bedrock, whose pages name
//! its words as `LEFT` and `RIGHT` in some places.

use serde::Deserialize;

use crate::provider::dialect::{
    ParsedAnswer, Part, Unsupported, Unusable,
    cohere::{DIMENSIONS, EMBEDDING_TYPES, INPUT_TYPE, MAX_TOKENS, Request, TRUNCATE},
    extension::Extension,
    read::{self, Raw},
};

/// The length of v3's vectors.
const LENGTH: u64 = 1024;

/// Fields that callers may set.
pub(super) const EXTENSIONS_V3: &[Extension] = &[INPUT_TYPE, EMBEDDING_TYPES, TRUNCATE];
pub(super) const EXTENSIONS_V4: &[Extension] = &[INPUT_TYPE, EMBEDDING_TYPES, Extension::text("truncate"), MAX_TOKENS];

#[derive(Deserialize)]
struct CohereOnBedrockAnswer<'a> {
    #[serde(borrow)]
    embeddings: Raw<'a>,
}

#[derive(Deserialize)]
struct ByType<'a> {
    #[serde(borrow)]
    float: Vec<Raw<'a>>,
}

pub(super) fn request_v3<'a>(part: &Part<'a>) -> Result<Request<'a>, Unsupported> {
    read::fixed(part.model, LENGTH, part.dimensions)?;
    Ok(Request::new(part, None))
}

pub(super) fn request_v4<'a>(part: &Part<'a>) -> Result<Request<'a>, Unsupported> {
    read::one_of(part.model, DIMENSIONS, part.dimensions)?;
    Ok(Request::new(part, part.dimensions))
}

pub(super) fn answer(part: &Part<'_>, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
    let CohereOnBedrockAnswer { embeddings } = read::json(body)?;
    let vectors: Vec<Raw<'_>> = if embeddings.is_object() {
        let ByType { float } = embeddings.json()?;
        float
    } else {
        embeddings.json()?
    };
    read::in_order(part, vectors, None)
}
