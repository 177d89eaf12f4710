//! Vectors in the form that was asked for, from a provider that answers in the other one: many OpenAI-shaped servers ignore
//! `encoding_format`.
//!
//! Source: OpenAI's API reference, "The embedding object": `float` is an array of JSON numbers, `base64` the base64 of
//! little-endian 32-bit floats. The translation is exact to the bit: numbers are read to the nearest 32-bit float, and
//! written with as many digits as it takes to read the same one again.

use std::{collections::BTreeMap, sync::LazyLock};

use base64::{Engine, prelude::BASE64_STANDARD};
use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::call::EncodingFormat;

static EMBEDDING: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"embedding\""));

/// The form of the vectors in an answer, by its first bytes. None: none of them is there yet.
pub(crate) fn format_of(head: &[u8]) -> Option<EncodingFormat> {
    // `"object": "embedding"` is no field of that name: no colon follows it.
    EMBEDDING.find_iter(head).find_map(|at| {
        let rest = head.get(at + EMBEDDING.needle().len()..)?.trim_ascii_start().strip_prefix(b":")?;
        match rest.trim_ascii_start().first()? {
            b'[' => Some(EncodingFormat::Float),
            b'"' => Some(EncodingFormat::Base64),
            _ => None,
        }
    })
}

/// Why an answer cannot be translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its vectors cannot be translated to the encoding that was asked for: {0}")]
pub(crate) struct Untranslatable(&'static str);

/// An answer, field by field as it came.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
struct Object<'a>(#[serde(borrow)] BTreeMap<&'a str, Part<'a>>);

/// A value as it came, or a new one.
#[derive(Serialize)]
#[serde(untagged)]
enum Part<'a> {
    As(&'a RawValue),
    Floats(Vec<f32>),
    Base64(String),
    List(Vec<Object<'a>>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Part<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Part::As)
    }
}

/// The answer with its vectors in this form. There must be `items` of them, in order or with an `index` each.
pub(crate) fn transcode(answer: &[u8], to: EncodingFormat, items: u64) -> Result<Vec<u8>, Untranslatable> {
    let not_json = |_| Untranslatable("it is not JSON");
    let Object(mut whole) = serde_json::from_slice(answer).map_err(not_json)?;
    let Some(Part::As(data)) = whole.remove("data") else { return Err(Untranslatable("it has no `data`")) };
    let mut data: Vec<Object<'_>> =
        serde_json::from_str(data.get()).map_err(|_| Untranslatable("`data` is not a list of objects"))?;
    if data.len() as u64 != items {
        return Err(Untranslatable("it has another number of vectors than there were inputs"));
    }
    for Object(item) in &mut data {
        let Some(Part::As(vector)) = item.get("embedding") else {
            return Err(Untranslatable("a vector is missing"));
        };
        let numbers = numbers(vector.get()).ok_or(Untranslatable("a vector is not one"))?;
        item.insert(
            "embedding",
            match to {
                EncodingFormat::Float => Part::Floats(numbers),
                EncodingFormat::Base64 => {
                    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                    Part::Base64(BASE64_STANDARD.encode(bytes))
                }
            },
        );
    }
    in_order(&mut data)?;
    whole.insert("data", Part::List(data));
    serde_json::to_vec(&Object(whole)).map_err(not_json)
}

/// A vector in either form; none, if it is neither, or has numbers that are none.
fn numbers(vector: &str) -> Option<Vec<f32>> {
    let numbers: Vec<f32> = if vector.starts_with('"') {
        let text: String = serde_json::from_str(vector).ok()?;
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        let (fours, rest) = bytes.as_chunks::<4>();
        rest.is_empty().then(|| fours.iter().copied().map(f32::from_le_bytes).collect())?
    } else {
        // Straight to 32 bits: by way of 64 the last bit might be rounded twice.
        let raw: Vec<&RawValue> = serde_json::from_str(vector).ok()?;
        raw.into_iter().map(|number| number.get().parse().ok()).collect::<Option<_>>()?
    };
    (!numbers.is_empty() && numbers.iter().all(|number| number.is_finite())).then_some(numbers)
}

/// Puts the vectors in the order of their `index`, each of which must stand once. Without any they are as they came.
fn in_order(data: &mut [Object<'_>]) -> Result<(), Untranslatable> {
    let index = |Object(item): &Object<'_>| match item.get("index") {
        Some(Part::As(raw)) => raw.get().parse::<u64>().ok(),
        _ => None,
    };
    if data.iter().all(|item| index(item).is_none()) {
        return Ok(());
    }
    data.sort_by_key(index);
    let each_once = data.iter().enumerate().all(|(at, item)| index(item) == Some(at as u64));
    if each_once { Ok(()) } else { Err(Untranslatable("its vectors have no clear order")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests")]
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn both_ways(vectors: &[Vec<f32>]) -> (Value, Value) {
        let data: Vec<Value> = vectors
            .iter()
            .enumerate()
            .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": vector}))
            .collect();
        let items = vectors.len() as u64;
        let floats = json!({"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 3}}).to_string();
        let base64 = transcode(floats.as_bytes(), EncodingFormat::Base64, items).unwrap();
        let back = transcode(&base64, EncodingFormat::Float, items).unwrap();
        (serde_json::from_slice(&base64).unwrap(), serde_json::from_slice(&back).unwrap())
    }

    proptest! {
        #[test]
        fn every_number_comes_through_to_the_bit(vectors in prop::collection::vec(prop::collection::vec(any::<f32>().prop_filter("finite", |one| one.is_finite()), 1..20), 1..5)) {
            let (base64, back) = both_ways(&vectors);
            prop_assert_eq!(&base64["usage"], &json!({"prompt_tokens": 3}));
            for (at, vector) in vectors.iter().enumerate() {
                let bytes = BASE64_STANDARD.decode(base64["data"][at]["embedding"].as_str().unwrap()).unwrap();
                let expected: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                prop_assert_eq!(bytes, expected);
                let numbers = numbers(&back["data"][at]["embedding"].to_string()).unwrap();
                let bits = |all: &[f32]| all.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&numbers), bits(vector));
            }
        }
    }

    #[test]
    fn a_decimal_is_rounded_once() {
        // Half way between two 32-bit floats, and a little more: by way of 64 bits the little would be lost.
        let text = "1.00000005960464477539062500000000001";
        assert_eq!(numbers(&format!("[{text}]")).unwrap(), [text.parse::<f32>().unwrap()]);
        assert_ne!(text.parse::<f32>().unwrap().to_bits(), (text.parse::<f64>().unwrap() as f32).to_bits());
    }

    #[test]
    fn the_form_is_seen_at_the_beginning() {
        for (head, format) in [
            (
                r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1"#,
                Some(EncodingFormat::Float),
            ),
            (r#"{"data":[{"embedding" : "AAAA"#, Some(EncodingFormat::Base64)),
            (r#"{"object":"list","data":[{"object":"embedding","#, None),
            (r#"{"data":[{"embedding":"#, None),
            (r#"{"data":[{"embedding":null"#, None),
        ] {
            assert_eq!(format_of(head.as_bytes()), format, "{head}");
        }
    }

    #[test]
    fn what_is_not_right_is_not_translated() {
        let of = |data: Value, items| {
            transcode(json!({"data": data}).to_string().as_bytes(), EncodingFormat::Base64, items)
                .map(|answer| serde_json::from_slice::<Value>(&answer).unwrap())
                .map_err(|error| error.0)
        };
        assert_eq!(of(json!([{"embedding": [1]}]), 2), Err("it has another number of vectors than there were inputs"));
        assert_eq!(of(json!([{"embedding": []}]), 1), Err("a vector is not one"));
        assert_eq!(of(json!([{"embedding": [1, null]}]), 1), Err("a vector is not one"));
        assert_eq!(of(json!([{"embedding": [1e39]}]), 1), Err("a vector is not one"));
        assert_eq!(of(json!([{"embedding": "AAA="}]), 1), Err("a vector is not one"));
        assert_eq!(of(json!([{"index": 0}]), 1), Err("a vector is missing"));
        assert_eq!(
            of(json!([{"embedding": [1], "index": 1}, {"embedding": [1], "index": 1}]), 2),
            Err("its vectors have no clear order")
        );
        let turned = of(json!([{"embedding": [2], "index": 1}, {"embedding": [1], "index": 0}]), 2).unwrap();
        assert_eq!(turned["data"][0], json!({"embedding": "AACAPw==", "index": 0}));
        assert!(transcode(b"{", EncodingFormat::Float, 1).is_err());
    }
}
