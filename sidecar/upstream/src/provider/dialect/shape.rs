//! The answer that OpenAI and all who follow it give: `data[].{index, embedding}` and `usage`.
//!
//! Source: OpenAI API reference, "Create embeddings" and "The embedding object" (schemas `CreateEmbeddingResponse` and
//! `Embedding` of OpenAI's own description). Some leave the index away, or the usage; some name `total_tokens` only.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    AnswerDefect, ParsedAnswer, Part, PassthroughFields, Unusable,
    extension::Extensions,
    read::{self, Raw},
};
use vectoll_api::request::InputType;

#[derive(Deserialize)]
struct OpenAiAnswer<'a> {
    #[serde(borrow)]
    data: Vec<Embedding<'a>>,
    #[serde(borrow, default)]
    usage: Option<Usage<'a>>,
}

#[derive(Deserialize)]
struct Embedding<'a> {
    #[serde(borrow, default)]
    index: Option<Raw<'a>>,
    #[serde(borrow, default)]
    embedding: Option<Raw<'a>>,
}

#[derive(Deserialize)]
struct Usage<'a> {
    #[serde(borrow, default)]
    prompt_tokens: Option<Raw<'a>>,
    #[serde(borrow, default)]
    total_tokens: Option<Raw<'a>>,
}

/// Reads an answer in OpenAI's shape, in either encoding.
pub(super) fn answer(part: &Part<'_>, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
    let OpenAiAnswer { data, usage } = read::json(body)?;
    let read_one = |Embedding { index, embedding }| {
        let vector = embedding.ok_or(AnswerDefect::Vector)?.floats_or_base64()?;
        Ok((index, vector))
    };
    let vectors = data.into_iter().map(read_one).collect::<Result<_, _>>();
    let tokens = usage.and_then(|Usage { prompt_tokens, total_tokens }| {
        // An embedding has no output: the total is the input's.
        read::tokens(prompt_tokens).or_else(|| read::tokens(total_tokens))
    });
    read::answer_of(part, vectors.and_then(|vectors| read::by_index(part, vectors)), tokens)
}

/// Reads an answer in OpenAI's shape to so many inputs.
pub fn read_open_ai(items: usize, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
    let texts = vec![Cow::Borrowed(""); items];
    let extensions = Extensions::default();
    let part = Part {
        model: "",
        texts: &texts,
        dimensions: None,
        input_type: InputType::Document,
        passthrough: PassthroughFields::default(),
        extensions: &extensions,
    };
    answer(&part, body)
}
