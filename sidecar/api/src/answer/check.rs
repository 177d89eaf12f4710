//! Every vector of an answer that is passed on as it came, looked at before the caller sees the first.
//!
//! What a provider sends is not always what was asked for: numbers that are none, vectors of uneven lengths, an `index` twice, the
//! list in another order. In the form that was asked for it would be passed on as it is, and in the other one be refused or put
//! right by the transcoder: the result must not depend on that. Numbers are read for it only where a vector is not plainly right
//! ([`super::skeleton`]).

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    skeleton::Skeleton,
    transcode::{ExpectedVectors, index, numbers},
    vector::VectorError,
};
use crate::request::EncodingFormat;

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    data: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    embedding: Option<&'a RawValue>,
    #[serde(borrow, default)]
    index: Option<&'a RawValue>,
}

/// The same list, for where each object stands.
#[derive(Deserialize)]
struct Objects<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

/// A whole answer whose vectors are right, in the order of the inputs.
pub fn checked(whole: Bytes, expected: ExpectedVectors) -> Result<Bytes, VectorError> {
    let skeleton = Skeleton::of(&whole, expected.format);
    let List { data } = serde_json::from_slice(skeleton.text()).map_err(|_| not_json(&whole))?;
    if data.len() as u64 != expected.items {
        return Err(VectorError::Number);
    }
    let mut length = None;
    let mut places = Vec::with_capacity(data.len());
    for (at, item) in data.iter().enumerate() {
        let vector = item.embedding.ok_or(VectorError::Missing)?.get();
        let length_if_left = || length_of(vector, expected.format);
        let found = skeleton.length(vector).or_else(length_if_left).ok_or(VectorError::NotAVector)?;
        if *length.get_or_insert(found) != found {
            return Err(VectorError::Lengths);
        }
        if let Some(asked) = expected.dimensions.filter(|asked| *asked != found as u64) {
            return Err(VectorError::Dimensions { asked, found });
        }
        let index = item.index.map_or(Ok(None), |raw| index(raw.get()))?;
        places.push((index.unwrap_or(at as u64), at));
    }
    if places.iter().all(|(place, at)| *place == *at as u64) {
        return Ok(whole);
    }
    places.sort_unstable();
    if !places.iter().enumerate().all(|(at, (place, _))| *place == at as u64) {
        return Err(VectorError::Order);
    }
    in_order(&whole, places.into_iter().map(|(_, at)| at))
}

/// Whether it is JSON of another kind, or none.
fn not_json(whole: &[u8]) -> VectorError {
    if serde_json::from_slice::<serde::de::IgnoredAny>(whole).is_ok() {
        VectorError::NotAList
    } else {
        VectorError::NotJson
    }
}

/// The answer with its objects in this order, and all else as it is.
fn in_order(whole: &Bytes, order: impl Iterator<Item = usize>) -> Result<Bytes, VectorError> {
    let Objects { data } = serde_json::from_slice(whole).map_err(|_| VectorError::NotJson)?;
    let place = |object: &RawValue| {
        let begin = object.get().as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
        Some(begin..begin + object.get().len())
    };
    let (first, last) = (data.first().and_then(|first| place(first)), data.last().and_then(|last| place(last)));
    let (Some(first), Some(last)) = (first, last) else { return Err(VectorError::NoData) };
    let mut sorted = BytesMut::with_capacity(whole.len());
    sorted.extend_from_slice(whole.get(..first.start).unwrap_or_default());
    for (at, object) in order.filter_map(|at| data.get(at)).enumerate() {
        if at > 0 {
            sorted.extend_from_slice(b",");
        }
        sorted.extend_from_slice(object.get().as_bytes());
    }
    sorted.extend_from_slice(whole.get(last.end..).unwrap_or_default());
    Ok(sorted.freeze())
}

/// How many numbers a vector has that is not plainly right, read one by one; none: it is none in this form.
fn length_of(vector: &str, format: EncodingFormat) -> Option<usize> {
    let begins_with = match format {
        EncodingFormat::Float => '[',
        EncodingFormat::Base64 => '"',
    };
    numbers(vector).filter(|_| vector.starts_with(begins_with)).map(|numbers| numbers.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn check(answer: &str, format: EncodingFormat, items: u64) -> Result<String, VectorError> {
        let checked =
            checked(Bytes::copy_from_slice(answer.as_bytes()), ExpectedVectors { format, items, dimensions: None });
        checked.map(|answer| String::from_utf8(answer.to_vec()).unwrap())
    }

    fn floats_of(data: &str, items: u64) -> Result<String, VectorError> {
        check(&format!(r#"{{"object":"list","data":{data},"model":"m"}}"#), EncodingFormat::Float, items)
    }

    #[test]
    fn what_is_right_is_passed_on_to_the_byte() {
        for data in [
            r#"[{"embedding":[0.1, -2e-5 ,3.5E2,40000000000000000000000000000000000000]}]"#,
            r#"[ {"index":0,"embedding":[1],"object":"embedding"} , {"embedding":[2],"index":1} ]"#,
            r#"[{"embedding":[1]},{"embedding":[2]}]"#,
            // The first one without its index, as Gemini sends it.
            r#"[{"embedding":[1]},{"embedding":[2],"index":1}]"#,
            r#"[{"embedding":[1],"index":null},{"embedding":[2],"index":1}]"#,
        ] {
            let answer = format!(r#"{{"object":"list","data":{data},"model":"m"}}"#);
            let items = data.matches("embedding\":").count() as u64;
            assert_eq!(check(&answer, EncodingFormat::Float, items), Ok(answer.clone()), "{data}");
        }
        for vector in ["AACAPwAAAEA=", "AACAPwAAAEA", "AACA\\/wAAAEA="] {
            let answer = json!({"data": [{"embedding": "x"}]}).to_string().replace('x', vector);
            assert_eq!(check(&answer, EncodingFormat::Base64, 1).is_ok(), vector != "AACA\\/wAAAEA=", "{vector}");
        }
    }

    #[test]
    fn what_is_not_right_is_said() {
        for (data, items, wrong) in [
            ("[{\"embedding\":[1.0,2.0,]}]", 1, VectorError::NotJson),
            ("[{\"embedding\":[NaN]}]", 1, VectorError::NotJson),
            ("[{\"embedding\":[01]}]", 1, VectorError::NotJson),
            ("[{\"embedding\":[1}]}]", 1, VectorError::NotJson),
            ("[{\"embedding\":[1].5}]", 1, VectorError::NotJson),
            ("[{\"embedding\":[1]e-5}]", 1, VectorError::NotJson),
            ("null", 1, VectorError::NotAList),
            ("[1]", 1, VectorError::NotAList),
            ("[{\"embedding\":[1]}]", 2, VectorError::Number),
            ("[{\"index\":0}]", 1, VectorError::Missing),
            ("[{\"embedding\":null}]", 1, VectorError::Missing),
            ("[{\"embedding\":[]}]", 1, VectorError::NotAVector),
            ("[{\"embedding\":[ ]}]", 1, VectorError::NotAVector),
            ("[{\"embedding\":[null,null]}]", 1, VectorError::NotAVector),
            ("[{\"embedding\":[1,null]}]", 1, VectorError::NotAVector),
            ("[{\"embedding\":[1,\"2\"]}]", 1, VectorError::NotAVector),
            ("[{\"embedding\":[[1]]}]", 1, VectorError::NotAVector),
            ("[{\"embedding\":[1,true]}]", 1, VectorError::NotAVector),
            ("[{\"embedding\":[1e999]}]", 1, VectorError::NotAVector),
            ("[{\"embedding\":[1e39]}]", 1, VectorError::NotAVector),
            ("[{\"embedding\":[4000000000000000000000000000000000000000]}]", 1, VectorError::NotAVector),
            ("[{\"embedding\":{}}]", 1, VectorError::NotAVector),
            ("[{\"embedding\":\"AACAPw==\"}]", 1, VectorError::NotAVector),
            ("[{\"embedding\":[1]},{\"embedding\":[1,2]}]", 2, VectorError::Lengths),
            ("[{\"embedding\":[1],\"index\":0},{\"embedding\":[2],\"index\":0}]", 2, VectorError::Order),
            ("[{\"embedding\":[1],\"index\":1},{\"embedding\":[2]}]", 2, VectorError::Order),
            ("[{\"embedding\":[1],\"index\":1},{\"embedding\":[2],\"index\":2}]", 2, VectorError::Order),
            ("[{\"embedding\":[1],\"index\":\"0\"}]", 1, VectorError::Order),
        ] {
            assert_eq!(floats_of(data, items), Err(wrong), "{data}");
        }
        for vector in ["AACAPwA=", "AAC!Pw==", "", "AACAfw==", "AADAfw=="] {
            let answer = json!({"data": [{"embedding": vector}]}).to_string();
            assert_eq!(check(&answer, EncodingFormat::Base64, 1), Err(VectorError::NotAVector), "{vector}");
        }
        let expected = ExpectedVectors { format: EncodingFormat::Float, items: 1, dimensions: Some(2) };
        let wrong = checked(Bytes::from_static(br#"{"data":[{"embedding":[1]}]}"#), expected);
        assert_eq!(wrong, Err(VectorError::Dimensions { asked: 2, found: 1 }));
    }

    #[test]
    fn another_order_is_put_right_and_nothing_else_changes() {
        let data =
            r#"[ {"embedding":[3],"index":2, "x":"}"} ,{"index":0,"embedding":[1]},{"embedding":[2],"index":1}]"#;
        let right =
            r#"[ {"index":0,"embedding":[1]},{"embedding":[2],"index":1},{"embedding":[3],"index":2, "x":"}"}]"#;
        assert_eq!(floats_of(data, 3), Ok(format!(r#"{{"object":"list","data":{right},"model":"m"}}"#)));
    }

    proptest! {
        /// What reads every number says the same.
        #[test]
        fn a_vector_is_one_exactly_if_its_numbers_can_be_read(
            inner in "[\\[\\]0-9.,eE+\\- nul\"]{0,30}|(-?[0-9]{1,45}(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?,?){1,4}",
        ) {
            let vector = format!("[{inner}]");
            let is_json = serde_json::from_str::<Value>(&vector).is_ok()
                || serde_json::from_str::<Vec<&RawValue>>(&vector).is_ok();
            if is_json {
                let answer = format!(r#"{{"data":[{{"embedding":{vector}}}]}}"#);
                let skeleton = Skeleton::of(answer.as_bytes(), EncodingFormat::Float);
                let List { data } = serde_json::from_slice(skeleton.text()).unwrap();
                let left = data[0].embedding.unwrap().get();
                let found = skeleton.length(left).or_else(|| length_of(left, EncodingFormat::Float));
                prop_assert_eq!(found, numbers(&vector).map(|numbers| numbers.len()), "{}", vector);
            }
        }
    }
}
