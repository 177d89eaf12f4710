//! Vectors as JSON, and what OpenAI and all who follow it are asked and answer.

use std::fmt::Write;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    Request,
    auth::{bearer, posted},
    fields::{Fields, Read},
};

/// OpenAI's request, called with a key, for a model: its texts, and the fields beside them.
pub(super) fn asked(request: &Request<'_>, key: &str, model: &str) -> Read<(Vec<String>, Fields)> {
    posted(request, "/v1/embeddings", "")?;
    bearer(request, key)?;
    let mut fields = Fields::read(request.body)?;
    fields.is("model", model)?;
    Ok((fields.texts("input")?, fields))
}

/// A vector as JSON. `Debug` writes the shortest digits that read back as the same float.
pub(super) fn numbers(vector: &[f32]) -> String {
    let mut out = String::with_capacity(vector.len() * 14);
    for (index, number) in vector.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(out, "{}{number:?}", if index == 0 { "[" } else { "," });
    }
    out.push(']');
    out
}

/// A list, each element made by `one`.
pub(super) fn list<T>(elements: &[T], one: impl Fn(usize, &T) -> String) -> String {
    let all: Vec<_> = elements.iter().enumerate().map(|(index, element)| one(index, element)).collect();
    format!("[{}]", all.join(","))
}

/// Vectors one after the other.
pub(super) fn plain(vectors: &[Vec<f32>]) -> String {
    list(vectors, |_, vector| numbers(vector))
}

fn base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    format!("\"{}\"", BASE64_STANDARD.encode(bytes))
}

/// OpenAI's answer. `usage` is the object in it.
pub(super) fn open_ai(vectors: &[Vec<f32>], in_base64: bool, usage: &str) -> String {
    let data = list(vectors, |index, vector| {
        let vector = if in_base64 { base64(vector) } else { numbers(vector) };
        format!(r#"{{"object":"embedding","embedding":{vector},"index":{index}}}"#)
    });
    format!(r#"{{"object":"list","data":{data},"model":"a-model","usage":{usage}}}"#)
}

/// OpenAI's usage.
pub(super) fn usage(tokens: u64) -> String {
    format!(r#"{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}"#)
}
