#![allow(
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};

use super::{item::numbers, *};

fn transcode(answer: &[u8], format: EncodingFormat, items: u64, piece: usize) -> Result<Vec<u8>, VectorError> {
    let mut transcoder = Transcoder::new(ExpectedVectors { format, items, dimensions: None });
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

/// What becomes of one object, by a reader of JSON that takes all of it apart.
fn by_serde(object: &str, to: EncodingFormat) -> Result<Vec<u8>, VectorError> {
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(object).map_err(|_| VectorError::NotJson)?;
    let vector = fields.get("embedding").ok_or(VectorError::Missing)?;
    let numbers = numbers(vector.get()).ok_or(VectorError::NotAVector)?;
    let index = fields.get("index").map_or(Ok(None), |raw| index(raw.get()))?;
    let translated = match to {
        EncodingFormat::Float => serde_json::value::to_raw_value(&numbers),
        EncodingFormat::Base64 => {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            serde_json::value::to_raw_value(&BASE64_STANDARD.encode(bytes))
        }
    };
    fields.insert("embedding".to_owned(), translated.unwrap());
    if index.is_some_and(|index| index > 0) {
        Err(VectorError::Order)
    } else {
        Ok(serde_json::to_vec(&fields).unwrap())
    }
}

/// An object of the list, as some server may write it, or nearly.
fn object() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec![
        r#""embedding":[0.5,-1e-9,3]"#,
        r#""embedding" : [ 1E+2 , 12345678901234567890123456789012345678901 ]"#,
        "\"embedding\":\n[\n  0.25,\n  1\n]",
        r#""embedding":"AACAPwAAAEA=""#,
        r#""embedding":"AACA\/wAAAEA""#,
        r#""embedding":[1].5"#,
        r#""embedding":[1,null]"#,
        r#""embedding":[]"#,
        r#""embedding":0"#,
        r#""\u0065mbedding":[2]"#,
        r#""\"embedding":[3]"#,
        r#""x":{"embedding":[4],"y":[5]}"#,
        r#""x":"\"embedding\":[6]}""#,
        r#""index":0"#,
        r#""index":1"#,
        r#""index":null"#,
        r#""object": "embedding""#,
        r#""né":["ü"]"#,
    ]);
    let edit = (
        any::<prop::sample::Index>(),
        prop::option::of(prop::sample::select("[]{}\":,\\ .-e07".chars().collect::<Vec<_>>())),
    );
    (prop::collection::vec(field, 0..4), prop::collection::vec(edit, 0..2)).prop_map(|(fields, edits)| {
        let mut object: Vec<char> = format!("{{{}}}", fields.join(",")).chars().collect();
        for (at, character) in edits {
            let at = at.index(object.len());
            match character {
                Some(character) => object.insert(at, character),
                None => drop(object.remove(at)),
            }
        }
        object.into_iter().collect()
    })
}

proptest! {
    /// And as for its faults, the same one.
    #[test]
    fn an_object_becomes_what_a_reader_of_json_makes_of_it(object in object(), is_to_float in any::<bool>()) {
        let to = if is_to_float { EncodingFormat::Float } else { EncodingFormat::Base64 };
        let around = |object: &[u8]| [br#"{"data":["#, object, b"]}"].concat();
        let expected = by_serde(&object, to);
        // One that ends early, or not at all, makes another list.
        if expected.is_ok() || serde_json::from_str::<Value>(&object).is_ok() {
            let translated = transcode(&around(object.as_bytes()), to, 1, usize::MAX);
            prop_assert_eq!(translated, expected.map(|expected| around(&expected)), "{}", object);
        }
    }

    #[test]
    fn it_does_not_matter_where_an_answer_is_cut(
        objects in prop::collection::vec(object(), 1..4),
        between in prop::sample::select(vec![",", " ,\n", "", "]"]),
        around in prop::sample::select(vec![
            (r#"{"object":"list","data":["#, r#"],"usage":{"prompt_tokens":3}}"#),
            (r#"{"x":{"data":[1]},"data" : [ "#, r#" ] , "model":"m\"]}"}"#),
            (r#"{"dat\u0061":["#, "]}"),
            (r#"{"data":["#, r#"],"data":[]}"#),
        ]),
        is_to_float in any::<bool>(),
    ) {
        let to = if is_to_float { EncodingFormat::Float } else { EncodingFormat::Base64 };
        let answer = format!("{}{}{}", around.0, objects.join(between), around.1);
        let (answer, items) = (answer.as_bytes(), objects.len() as u64);
        let whole = transcode(answer, to, items, usize::MAX);
        for cut in 0..=answer.len() {
            let mut transcoder = Transcoder::new(ExpectedVectors { format: to, items, dimensions: None });
            let (before, after) = answer.split_at(cut);
            transcoder.feed(before);
            transcoder.feed(after);
            prop_assert_eq!(&transcoder.finish().map(|pieces| pieces.concat()), &whole, "at {}", cut);
        }
        prop_assert_eq!(&transcode(answer, to, items, 1), &whole);
    }

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
    for behind in [".5", "e-5", "[]", "0", "x"] {
        let answer = format!(r#"{{"data":[{{"embedding":[1]{behind}}}]}}"#);
        assert_eq!(raw(&answer), VectorError::NotJson, "{answer}");
    }
    for other in ["datas", "dat", "datadata", "DATA"] {
        assert_eq!(raw(&format!(r#"{{"{other}":[{{"embedding":[1]}}]}}"#)), VectorError::NoData, "{other}");
    }
}

#[test]
fn other_dimensions_than_were_asked_for_are_a_fault() {
    let with = |dimensions| {
        let mut transcoder = Transcoder::new(ExpectedVectors { format: EncodingFormat::Base64, items: 1, dimensions });
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
