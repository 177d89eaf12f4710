#![allow(
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{item::numbers, *};

fn transcode(answer: &[u8], format: EncodingFormat, items: u64, piece: usize) -> Result<Vec<u8>, VectorError> {
    let mut transcoder = Transcoder::new(Wanted { format, items, dimensions: None });
    for piece in answer.chunks(piece) {
        transcoder.feed(piece);
    }
    transcoder.finish().map(|pieces| pieces.concat())
}

fn both_ways(vectors: &[Vec<f32>], piece: usize) -> (Value, Value) {
    let data: Vec<Value> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": vector}))
        .collect();
    let items = vectors.len() as u64;
    let floats = json!({"object": "list", "model": "m\"]}", "data": data, "usage": {"prompt_tokens": 3}}).to_string();
    let base64 = transcode(floats.as_bytes(), EncodingFormat::Base64, items, piece).unwrap();
    let back = transcode(&base64, EncodingFormat::Float, items, piece).unwrap();
    (serde_json::from_slice(&base64).unwrap(), serde_json::from_slice(&back).unwrap())
}

proptest! {
    #[test]
    fn every_number_comes_through_to_the_bit_however_the_answer_is_cut(
        vectors in (1..20_usize).prop_flat_map(|length| prop::collection::vec(prop::collection::vec(any::<f32>().prop_filter("finite", |one| one.is_finite()), length), 1..5)),
        piece in 1..200_usize,
    ) {
        let (base64, back) = both_ways(&vectors, piece);
        prop_assert_eq!((&base64["usage"], &base64["model"]), (&json!({"prompt_tokens": 3}), &json!("m\"]}")));
        prop_assert_eq!(base64["data"].as_array().unwrap().len(), vectors.len());
        for (at, vector) in vectors.iter().enumerate() {
            let bytes = BASE64_STANDARD.decode(base64["data"][at]["embedding"].as_str().unwrap()).unwrap();
            let expected: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            prop_assert_eq!(bytes, expected);
            let numbers = numbers(&back["data"][at]["embedding"].to_string()).unwrap();
            let bits = |all: &[f32]| all.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&numbers), bits(vector));
        }
    }

    #[test]
    fn whatever_comes_the_translation_is_json_or_a_fault(answer in "[\\[\\]{}\":,\\\\ \ndataembing01]{0,60}") {
        if let Ok(whole) = transcode(answer.as_bytes(), EncodingFormat::Float, 1, 7) {
            prop_assert!(serde_json::from_slice::<Value>(&whole).is_ok(), "{}", answer);
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

fn of(data: Value, items: u64) -> Result<Value, VectorError> {
    transcode(json!({"data": data}).to_string().as_bytes(), EncodingFormat::Base64, items, 1000)
        .map(|answer| serde_json::from_slice(&answer).unwrap())
}

#[test]
fn what_is_not_right_is_not_translated() {
    assert_eq!(of(json!([{"embedding": [1]}]), 2), Err(VectorError::Number));
    assert_eq!(of(json!([{"embedding": [1]}, {"embedding": [1]}]), 1), Err(VectorError::Number));
    assert_eq!(of(json!([{"embedding": [1]}, {"embedding": [1, 2]}]), 2), Err(VectorError::Lengths));
    for vector in [json!([]), json!([1, null]), json!([1e39]), json!("AAA="), json!({}), json!("????")] {
        assert_eq!(of(json!([{"embedding": vector}]), 1), Err(VectorError::NotAVector));
    }
    assert_eq!(of(json!([{"index": 0}]), 1), Err(VectorError::Missing));
    for data in [json!([[1]]), json!(["a"]), json!([1]), json!({"a": 1}), json!([{"embedding": [1]}, null])] {
        assert_eq!(of(data, 1), Err(VectorError::NotAList));
    }
    let raw = |answer: &str| transcode(answer.as_bytes(), EncodingFormat::Float, 1, 1000).unwrap_err();
    assert_eq!(raw("{"), VectorError::NoData);
    assert_eq!(raw(r#"{"data":null}"#), VectorError::NoData);
    assert_eq!(raw(r#"{"data":[{"embedding":[1]}"#), VectorError::NotJson);
    assert_eq!(raw(r#"{"data":[{"embedding":[1]"#), VectorError::NotJson);
    assert_eq!(raw(r#"{"data":[{"embedding":[1]}],"data":[]}"#), VectorError::NotAList);
    assert_eq!(raw(r#"{"data":[{"embedding":[1]}] x}"#), VectorError::NotJson);
}

#[test]
fn other_dimensions_than_were_asked_for_are_a_fault() {
    let with = |dimensions| {
        let mut transcoder = Transcoder::new(Wanted { format: EncodingFormat::Base64, items: 1, dimensions });
        transcoder.feed(br#"{"data":[{"embedding":[1,2]}]}"#);
        transcoder.finish().map(|_| ())
    };
    assert_eq!((with(None), with(Some(2))), (Ok(()), Ok(())));
    assert_eq!(with(Some(3)), Err(VectorError::Dimensions { asked: 3, found: 2 }));
}

#[test]
fn the_order_is_that_of_the_index_however_it_is_written() {
    let two = |first: Value, second: Value| {
        of(json!([{"embedding": [2], "index": first}, {"embedding": [1], "index": second}]), 2)
    };
    for (first, second) in [(json!(1), json!(0)), (json!(1.0), json!(0.0))] {
        let turned = two(first, second).unwrap();
        assert_eq!(turned["data"][0]["embedding"], "AACAPw==");
    }
    assert_eq!(two(json!(null), json!(null)).unwrap()["data"][0]["embedding"], "AAAAQA==", "null says nothing");
    for (first, second) in [(json!(0), json!(null)), (json!(null), json!(1))] {
        let turned = two(first, second).unwrap();
        assert_eq!(turned["data"][0]["embedding"], "AAAAQA==", "one without an index counts by its place");
    }
    for (first, second) in [
        (json!(1), json!(1)),
        (json!(1), json!(2)),
        (json!(1), json!(null)),
        (json!("0"), json!("1")),
        (json!(0.5), json!(1)),
        (json!(-1), json!(0)),
        (json!([0]), json!([1])),
    ] {
        assert_eq!(two(first.clone(), second.clone()), Err(VectorError::Order), "{first} {second}");
    }
}

#[test]
fn harmless_differences_are_translated() {
    let read = |answer: &str, to| {
        let whole = transcode(answer.as_bytes(), to, 1, 1000).unwrap();
        serde_json::from_slice::<Value>(&whole).unwrap()
    };
    let escaped = read(r#"{"d\u0065tail":1,"data":[{"\u0065mbedding":[1],"n\u00e9":2}]}"#, EncodingFormat::Base64);
    assert_eq!(escaped, json!({"detail": 1, "data": [{"embedding": "AACAPw==", "né": 2}]}));
    let unpadded = read(r#"{"data":[{"embedding":"AACAPw"}]}"#, EncodingFormat::Float);
    assert_eq!(unpadded["data"][0]["embedding"], json!([1.0]));
}
