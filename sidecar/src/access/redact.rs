//! Keeping credentials out of the log, also where a caller writes one into its user, its model or its metadata.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};
use memchr::memmem;
use serde_json::value::RawValue;

use crate::authenticate;

const REDACTED: &str = "[redacted]";
/// What keys of OpenAI, of LiteLLM and of our own begin with.
const PREFIX: &str = "sk-";
/// The fewest characters behind it that make it look like a key and not like a word.
const FEWEST: usize = 12;
/// Keys are no shorter. Less would be found in harmless words.
const MIN_SECRET_LENGTH: usize = 16;

/// What a call came with as a key, to be told to [`Redaction::of`] later: without copies, and hidden from debug output.
pub(super) fn credentials(headers: &HeaderMap) -> Vec<HeaderValue> {
    let hidden = |value: &HeaderValue| {
        let mut value = value.clone();
        value.set_sensitive(true);
        value
    };
    authenticate::values(headers).map(hidden).collect()
}

/// What is taken out of texts.
pub(super) struct Redaction<'a>(Vec<&'a str>);

impl<'a> Redaction<'a> {
    /// Takes out these keys, and what looks like one.
    pub(super) fn of(credentials: &'a [HeaderValue]) -> Self {
        let keys =
            credentials.iter().filter_map(|value| std::str::from_utf8(authenticate::key_in(value.as_bytes())).ok());
        Self(keys.filter(|key| key.len() >= MIN_SECRET_LENGTH).collect())
    }

    /// The text without them.
    pub(super) fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for key in &self.0 {
            if memmem::find(text.as_bytes(), key.as_bytes()).is_some() {
                text = Cow::Owned(text.replace(key, REDACTED));
            }
        }
        match without_keys(&text) {
            Some(clean) => Cow::Owned(clean),
            None => text,
        }
    }

    /// The same for JSON. A key with a quote in it stands there in another form; none of those that we make has one.
    pub(super) fn apply_to_json<'t>(&self, json: &'t RawValue) -> Option<Cow<'t, RawValue>> {
        match self.apply(json.get()) {
            Cow::Borrowed(_) => Some(Cow::Borrowed(json)),
            // Taken out of the inside of strings it stays JSON. If not, it is better left away.
            Cow::Owned(clean) => RawValue::from_string(clean).ok().map(Cow::Owned),
        }
    }
}

/// The text without what looks like a key; none if there is nothing that does.
fn without_keys(text: &str) -> Option<String> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut clean = String::new();
    let mut from = 0;
    for at in memmem::find_iter(text.as_bytes(), PREFIX) {
        let begins = at >= from && !text.as_bytes().get(..at)?.last().is_some_and(u8::is_ascii_alphanumeric);
        let length = text.as_bytes().get(at + PREFIX.len()..)?.iter().take_while(|byte| is_part(byte)).count();
        if begins && length >= FEWEST {
            clean.push_str(text.get(from..at)?);
            clean.push_str(REDACTED);
            from = at + PREFIX.len() + length;
        }
    }
    (from > 0).then(|| clean + text.get(from..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn keys_are_taken_out_and_words_stay() {
        let own = [HeaderValue::from_static("Bearer a key of 20 letters")];
        let redaction = Redaction::of(&own);
        for (text, clean) in [
            ("ann", "ann"),
            ("task-embedding-large-v2", "task-embedding-large-v2"),
            ("sk-short", "sk-short"),
            ("sk-vt-0123456789abc", "[redacted]"),
            ("é sk-0123456789ab, sk-0123456789_b.", "é [redacted], [redacted]."),
            ("a key of 20 letters!", "[redacted]!"),
            ("sk-sk-sk-sk-sk-sk-sk", "[redacted]"),
        ] {
            assert_eq!(redaction.apply(text), clean);
        }
        let json = RawValue::from_string(r#"{"a key of 20 letters": ["sk-0123456789ab"]}"#.to_owned()).unwrap();
        assert_eq!(redaction.apply_to_json(&json).unwrap().get(), r#"{"[redacted]": ["[redacted]"]}"#);
    }

    #[test]
    fn a_pods_token_is_taken_out_as_a_key_is() {
        let mut headers = HeaderMap::new();
        headers.insert(&crate::pod_token::TOKEN, HeaderValue::from_static("eyJhbGciOi.eyJpc3MiOi.c2lnbmVk"));
        let own = credentials(&headers);
        assert_eq!(Redaction::of(&own).apply("user eyJhbGciOi.eyJpc3MiOi.c2lnbmVk"), "user [redacted]");
    }

    #[test]
    fn a_short_value_in_the_place_of_a_key_takes_nothing_out() {
        assert_eq!(Redaction::of(&[HeaderValue::from_static("Bearer a")]).apply("a banana"), "a banana");
    }
}
