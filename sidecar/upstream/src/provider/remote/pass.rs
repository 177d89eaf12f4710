//! Callers' bodies for providers that speak OpenAI's API: they go through as they came, but for the model's name and what is no
//! provider's business.
//!
//! Source: the OpenAI API reference, "Create embeddings".

use std::{borrow::Cow, collections::BTreeMap};

use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;

use vectoll_api::request::{EncodingFormat, Request, is_left_out};

/// The caller's body with the model's name set. A server that does not know base64 is not asked for it (`asks_base64`): numbers are what all of
/// them answer with unless told otherwise, and the answer is translated.
pub(super) fn body(request: &Request, model: &str, asks_base64: bool) -> Bytes {
    if request.encoding_format == EncodingFormat::Base64
        && !asks_base64
        && let Some(body) = without_encoding(request, model)
    {
        return body;
    }
    let quoted = || serde_json::Value::from(model).to_string();
    let left_out = request.left_out.iter().map(|range| (range.clone(), String::new()));
    let mut edits: Vec<(std::ops::Range<usize>, String)> = left_out.collect();
    match &request.model_span {
        Some(_) if request.model_in_body.as_deref() == Some(model) => {}
        Some(span) => edits.push((span.clone(), quoted())),
        // The model stands in the path only: put it in behind the opening brace.
        None => edits.push((request.open_brace + 1..request.open_brace + 1, format!("\"model\":{},", quoted()))),
    }
    if let Some(span) = &request.null_encoding_format {
        // null means the default; several servers refuse to read it.
        edits.push((span.clone(), "\"float\"".to_owned()));
    }
    if edits.is_empty() {
        return request.body.clone();
    }
    edits.sort_by_key(|(span, _)| span.start);
    let mut spliced = BytesMut::with_capacity(request.body.len() + 64);
    let mut from = 0;
    for (span, text) in edits {
        spliced.extend_from_slice(request.body.get(from..span.start).unwrap_or_default());
        spliced.extend_from_slice(text.as_bytes());
        from = span.end;
    }
    spliced.extend_from_slice(request.body.get(from..).unwrap_or_default());
    spliced.freeze()
}

/// The body without `encoding_format`. None: it cannot be read, which was seen when it came.
fn without_encoding(request: &Request, model: &str) -> Option<Bytes> {
    let mut fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(&request.body).ok()?;
    let model = serde_json::value::to_raw_value(model).ok()?;
    fields.retain(|name, value| !is_left_out(name, value));
    fields.insert("model".into(), &model);
    fields.remove("encoding_format")?;
    serde_json::to_vec(&fields).ok().map(Bytes::from)
}
