//! What a caller says of its call besides: the header `x-litellm-metadata`, a JSON object.

use std::{collections::BTreeSet, sync::Arc};

use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{METADATA_HEADER, Malformed, is_longer};

/// The longest header, in bytes.
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// The most tags of a call, and the longest of them in characters.
const MAX_TAGS: usize = 32;
const LONGEST_TAG: usize = 128;

/// A JSON object, and the tags in it.
#[derive(Clone, Debug)]
pub struct Metadata {
    json: Box<RawValue>,
    tags: Vec<String>,
}

/// The one field that has a meaning here.
#[derive(Deserialize)]
struct Known {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Metadata {
    /// Reads the header, if it is there.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, Malformed> {
        let Some(value) = headers.get(&METADATA_HEADER) else { return Ok(None) };
        let wrong = |what: &str| Malformed::new(None, format!("The header x-litellm-metadata {what}"));
        if value.len() > MAX_METADATA_BYTES {
            return Err(wrong(&format!("is longer than {MAX_METADATA_BYTES} bytes")));
        }
        let not_an_object = || wrong("is not a JSON object");
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| not_an_object())?;
        let json: Box<RawValue> = serde_json::from_str(text.trim()).map_err(|_| not_an_object())?;
        if !json.get().starts_with('{') {
            return Err(not_an_object());
        }
        // Half of a surrogate pair, brackets without end, numbers beyond all numbers: the log's lines must be read by others.
        serde_json::from_str::<serde_json::Value>(json.get())
            .map_err(|error| wrong(&format!("is JSON that many cannot read ({error})")))?;
        let Known { tags } =
            serde_json::from_str(json.get()).map_err(|_| wrong("has `tags` that are not an array of strings"))?;
        let tags = tags.unwrap_or_default();
        if tags.len() > MAX_TAGS || tags.iter().any(|tag| tag.is_empty() || is_longer(tag, LONGEST_TAG)) {
            return Err(wrong(&format!("may have {MAX_TAGS} tags of 1 to {LONGEST_TAG} characters")));
        }
        Ok(Some(Self { json, tags }))
    }

    /// The object, as it came.
    pub fn json(&self) -> &RawValue {
        &self.json
    }

    /// Its `tags`.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Its tags that one of these lists has, each once.
    pub fn tags_in(&self, counted: [&BTreeSet<Arc<str>>; 2]) -> Vec<Arc<str>> {
        let counted = |tag: &String| counted.iter().find_map(|tags| tags.get(tag.as_str()).cloned());
        let tags: BTreeSet<Arc<str>> = self.tags.iter().filter_map(counted).collect();
        tags.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use http::HeaderValue;

    use super::*;

    fn read(text: &[u8]) -> Result<Option<Metadata>, Malformed> {
        let mut headers = HeaderMap::new();
        headers.insert(METADATA_HEADER.clone(), HeaderValue::from_bytes(text).unwrap());
        Metadata::read(&headers)
    }

    #[test]
    fn an_object_is_kept_as_it_came_with_its_tags() {
        let metadata = read(br#" {"job": {"id": 7}, "tags": ["a", "b"]} "#).unwrap().unwrap();
        assert_eq!(metadata.json().get(), r#"{"job": {"id": 7}, "tags": ["a", "b"]}"#);
        assert_eq!(metadata.tags(), ["a", "b"]);
        let longest = "ü".repeat(LONGEST_TAG);
        assert_eq!(read(format!("{{\"tags\": [\"{longest}\"]}}").as_bytes()).unwrap().unwrap().tags(), [longest]);
        for untagged in ["{}", r#"{"tags": null}"#] {
            assert!(read(untagged.as_bytes()).unwrap().unwrap().tags().is_empty());
        }
    }

    #[test]
    fn what_is_none_is_refused_by_its_name() {
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(5000), "]".repeat(5000));
        let long_tag = format!("{{\"tags\": [\"{}\"]}}", "ü".repeat(LONGEST_TAG + 1));
        let long = format!("{{\"a\": \"{}\"}}", "a".repeat(MAX_METADATA_BYTES));
        let many = format!("{{\"tags\": [{}]}}", vec!["\"a\""; MAX_TAGS + 1].join(","));
        for text in [
            "",
            "1",
            "[]",
            "{",
            "\"a\"",
            "null",
            "{} {}",
            r#"{"tags": "a"}"#,
            r#"{"tags": [1]}"#,
            r#"{"tags": [""]}"#,
            r#"{"a": "\ud800"}"#,
            r#"{"a": 1e999}"#,
            &deep,
            &long_tag,
            &long,
            &many,
        ] {
            let refusal = read(text.as_bytes()).unwrap_err();
            assert!(refusal.message.contains("x-litellm-metadata"), "{text}: {}", refusal.message);
        }
        assert!(read(b"{\"a\": \"\xff\"}").is_err(), "not UTF-8");
    }
}
