//! The fields of a call's JSON body, borrowed from it. A field that stands twice is refused: whoever reads the body
//! next may take the other one.

use std::{borrow::Cow, collections::HashSet, fmt, ops::Range};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{encoding_format::EncodingFormat, malformed::Malformed};

/// A field whose meaning is the provider's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherField {
    /// Its name.
    pub name: String,
    /// Where its value stands in the body.
    pub value: Range<usize>,
}

/// The raw fields that matter, and the text they stand in.
pub struct Fields<'a> {
    text: &'a str,
    raw: Raw<'a>,
}

#[derive(Default)]
struct Raw<'a> {
    model: Option<&'a RawValue>,
    input: Option<&'a RawValue>,
    encoding_format: Option<&'a RawValue>,
    dimensions: Option<&'a RawValue>,
    user: Option<&'a RawValue>,
    input_type: Option<&'a RawValue>,
    of_litellm: LiteLlmFields<'a>,
    num_retries: Option<&'a RawValue>,
    /// The names of those whose meaning is the provider's business, and their values.
    others: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// All fields in their order, and whether each is left out of what is sent.
    order: Vec<(&'a RawValue, bool)>,
}

/// What LiteLLM's own fields say of a call, where they are there and not `null`.
#[derive(Clone, Copy, Default)]
pub(super) struct LiteLlmFields<'a> {
    pub(super) metadata: Option<&'a RawValue>,
    pub(super) litellm_metadata: Option<&'a RawValue>,
    pub(super) tags: Option<&'a RawValue>,
}

/// Fields by which callers of LiteLLM's speak to LiteLLM itself. No embeddings API has them, and strict ones refuse them.
///
/// Source: LiteLLM's documentation of its proxy ("Request body": `metadata`, `tags`, `cache`, `num_retries`), BerriAI/litellm issue 12997.
/// What they say of a call is read by [`super::Metadata`] and [`super::AttemptBounds`].
const LITELLM: [&str; 5] = ["metadata", "litellm_metadata", "tags", "cache", "num_retries"];

/// Whether a field is left out of what providers are sent: LiteLLM's own, and what is `null`, which is as if it were absent, and which
/// strict servers refuse to read (infiniflow/ragflow issue 19065). A model's name and an encoding are put in the place of theirs.
pub fn is_left_out(name: &str, value: &RawValue) -> bool {
    LITELLM.contains(&name) || (value.get() == "null" && !matches!(name, "model" | "encoding_format"))
}

impl<'a> Fields<'a> {
    /// Reads them. `text` is the whole body.
    pub fn read(text: &'a str) -> Result<Self, Malformed> {
        match serde_json::from_str(text) {
            Ok(raw) => Ok(Self { text, raw }),
            Err(error) if error.is_data() => {
                Err(Malformed::new(None, format!("The request's body is not a call: {error}")))
            }
            Err(error) => Err(Malformed::new(None, format!("The request's body is not JSON: {error}"))),
        }
    }

    /// The model's name, where it stands there.
    pub fn model(&self) -> Result<Option<String>, Malformed> {
        string("model", self.raw.model)
    }

    /// Whom a call is attributed to beside its user, as LiteLLM's callers write it.
    pub(super) fn of_litellm(&self) -> LiteLlmFields<'a> {
        self.raw.of_litellm
    }

    /// Whether there is any of that.
    pub fn has_attribution(&self) -> bool {
        let LiteLlmFields { metadata, litellm_metadata, tags } = self.raw.of_litellm;
        metadata.or(litellm_metadata).or(tags).is_some()
    }

    /// How often the call may be tried again, as LiteLLM's callers write it.
    pub(super) fn num_retries(&self) -> Result<Option<u32>, Malformed> {
        let Some(raw) = self.raw.num_retries.map(RawValue::get) else { return Ok(None) };
        match whole(raw).and_then(|retries| u32::try_from(retries).ok()) {
            Some(retries) => Ok(Some(retries)),
            None => Err(Malformed::new(Some("num_retries"), "`num_retries` must be a whole number, 0 or more")),
        }
    }

    /// The end user.
    pub fn user(&self) -> Result<Option<String>, Malformed> {
        string("user", self.raw.user)
    }

    /// The fields whose meaning is the provider's business.
    pub fn others(&self) -> Vec<OtherField> {
        let other =
            |(name, value): &(Cow<'a, str>, &RawValue)| OtherField { name: name.to_string(), value: self.span(value) };
        self.raw.others.iter().map(other).collect()
    }

    /// Where in the text that stands which providers are not sent, with the commas that would be too many.
    pub fn left_out(&self) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        // The end of the field before; of the last one that stays.
        let (mut end, mut has_kept) = (self.open_brace() + 1, false);
        for (value, is_left_out) in &self.raw.order {
            let span = self.span(value);
            if *is_left_out {
                let behind = if has_kept { span.end } else { self.behind_comma(span.end) };
                match ranges.last_mut().filter(|last| last.end >= end) {
                    Some(last) => last.end = behind,
                    None => ranges.push(end..behind),
                }
                end = behind;
            } else {
                (end, has_kept) = (span.end, true);
            }
        }
        ranges
    }

    /// The place behind the comma that follows; without one, the place itself.
    fn behind_comma(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        let trimmed = rest.trim_ascii_start();
        at + if trimmed.starts_with(',') { rest.len() - trimmed.len() + 1 } else { 0 }
    }

    /// The input type, in whatever words.
    pub fn input_type(&self) -> Result<Option<String>, Malformed> {
        string("input_type", self.raw.input_type)
    }

    /// The JSON of the input, and where it stands.
    pub fn input(&self) -> Result<(&'a str, Range<usize>), Malformed> {
        match self.raw.input {
            Some(raw) => Ok((raw.get(), self.span(raw))),
            None => Err(Malformed::input("`input` is missing: give a string, an array of strings, or token arrays")),
        }
    }

    /// The format, and where a `null` stands in its place.
    pub fn encoding_format(&self) -> Result<(EncodingFormat, Option<Range<usize>>), Malformed> {
        match self.raw.encoding_format.map(|raw| (raw, raw.get())) {
            None | Some((_, "\"float\"")) => Ok((EncodingFormat::Float, None)),
            Some((_, "\"base64\"")) => Ok((EncodingFormat::Base64, None)),
            Some((raw, "null")) => Ok((EncodingFormat::Float, Some(self.span(raw)))),
            Some(_) => {
                Err(Malformed::new(Some("encoding_format"), "`encoding_format` must be \"float\" or \"base64\""))
            }
        }
    }

    /// How many numbers a vector is to have.
    pub fn dimensions(&self) -> Result<Option<u64>, Malformed> {
        match self.raw.dimensions.map(RawValue::get) {
            None | Some("null") => Ok(None),
            Some(text) => whole(text)
                .filter(|number| *number > 0)
                .map(Some)
                .ok_or_else(|| Malformed::new(Some("dimensions"), "`dimensions` must be a whole number above 0")),
        }
    }

    /// Where the model's name stands, with its quotes.
    pub fn model_span(&self) -> Option<Range<usize>> {
        self.raw.model.map(|raw| self.span(raw))
    }

    /// Where the `{` is.
    pub fn open_brace(&self) -> usize {
        self.text.find('{').unwrap_or(0)
    }

    /// Where a value stands in the text it was borrowed from.
    fn span(&self, raw: &RawValue) -> Range<usize> {
        let start = raw.get().as_ptr() as usize - self.text.as_ptr() as usize;
        start..start + raw.get().len()
    }
}

/// A whole number. JSON knows no such type: `7.0` is one, too.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and in the range")]
pub fn whole(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as u64)
    })
}

fn string(field: &'static str, raw: Option<&RawValue>) -> Result<Option<String>, Malformed> {
    match raw.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(text) => serde_json::from_str(text)
            .map(Some)
            .map_err(|_| Malformed::new(Some(field), format!("`{field}` must be a string"))),
    }
}

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawVisitor)
    }
}

/// A field's name, borrowed where it has no escapes.
#[derive(PartialEq, Eq, Hash)]
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }
            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

const KNOWN: [&str; 6] = ["model", "input", "encoding_format", "dimensions", "user", "input_type"];
/// The most fields of a call. Unknown ones are passed on, in reason.
const MAX_FIELDS: usize = 64;

/// The known field that a name is but for its case. Some servers ignore the case of names and would take this one for
/// the other: what was checked here is then not what they carry out. (`ſ` and the Kelvin sign fold to s and k as well.)
fn looks_like(name: &str) -> Option<&'static str> {
    let folded = name.to_uppercase().to_lowercase();
    KNOWN.into_iter().find(|known| *known == folded)
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object with `model` and `input`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw<'de>, A::Error> {
        let mut raw = Raw::default();
        let mut others: HashSet<Name<'de>> = HashSet::new();
        let mut fields = 0;
        while let Some(name) = map.next_key::<Name<'de>>()? {
            fields += 1;
            if fields > MAX_FIELDS {
                return Err(A::Error::custom(format!("it has more than {MAX_FIELDS} fields")));
            }
            let known = match name.0.as_ref() {
                "model" => &mut raw.model,
                "input" => &mut raw.input,
                "encoding_format" => &mut raw.encoding_format,
                "dimensions" => &mut raw.dimensions,
                "user" => &mut raw.user,
                "input_type" => &mut raw.input_type,
                _ => {
                    if let Some(meant) = looks_like(&name.0) {
                        let message = format!("the field `{}` is written `{meant}`", name.0);
                        return Err(A::Error::custom(message));
                    }
                    let value = map.next_value::<&RawValue>()?;
                    if others.contains(&name) {
                        return Err(A::Error::custom(format!("the field `{}` is given twice", name.0)));
                    }
                    let is_left_out = is_left_out(&name.0, value);
                    if is_left_out && value.get() != "null" {
                        match name.0.as_ref() {
                            "metadata" => raw.of_litellm.metadata = Some(value),
                            "litellm_metadata" => raw.of_litellm.litellm_metadata = Some(value),
                            "tags" => raw.of_litellm.tags = Some(value),
                            "num_retries" => raw.num_retries = Some(value),
                            _ => {}
                        }
                    }
                    raw.order.push((value, is_left_out));
                    if !is_left_out {
                        raw.others.push((name.0.clone(), value));
                    }
                    others.insert(name);
                    continue;
                }
            };
            if known.is_some() {
                return Err(A::Error::custom(format!("the field `{}` is given twice", name.0)));
            }
            let value = map.next_value()?;
            *known = Some(value);
            raw.order.push((value, is_left_out(&name.0, value)));
        }
        Ok(raw)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    /// What is sent of a body.
    fn sent(text: &str) -> String {
        let ranges = Fields::read(text).unwrap().left_out();
        let (mut sent, mut from) = (String::new(), 0);
        for range in ranges {
            sent += &text[from..range.start];
            from = range.end;
        }
        sent + &text[from..]
    }

    #[test]
    fn what_is_litellms_or_null_is_left_out_with_its_comma() {
        for (body, expected) in [
            (r#"{"model":"m","input":"a"}"#, r#"{"model":"m","input":"a"}"#),
            (r#"{"user":null,"input":"a"}"#, r#"{"input":"a"}"#),
            (r#"{ "user" : null , "tags":["x"], "input":"a" }"#, r#"{ "input":"a" }"#),
            (r#"{"input":"a","dimensions":null}"#, r#"{"input":"a"}"#),
            (
                r#"{"input":"a" , "cache":{"no-cache":true} , "x":1,"metadata":{"a":[1,2]} }"#,
                r#"{"input":"a" , "x":1 }"#,
            ),
            (
                r#"{"input":"a","num_retries":3,"litellm_metadata":{},"x":null,"truncate":false}"#,
                r#"{"input":"a","truncate":false}"#,
            ),
            // Others stand in their place.
            (
                r#"{"model":null,"encoding_format":null,"input":"a"}"#,
                r#"{"model":null,"encoding_format":null,"input":"a"}"#,
            ),
        ] {
            assert_eq!(sent(body), expected, "{body}");
        }
        let names = |body| -> Vec<String> {
            Fields::read(body).unwrap().others().into_iter().map(|other| other.name).collect()
        };
        assert_eq!(
            names(r#"{"input":"a","tags":[],"task":"x","y":null,"input_type":"query","truncate":false}"#),
            ["task", "truncate"]
        );
    }

    proptest! {
        #[test]
        fn what_is_left_is_the_same_object_without_them(
            fields in prop::collection::vec((prop::sample::select(vec![
                "user", "input", "tags", "cache", "x", "y", "dimensions", "metadata", "model",
            ]), prop::sample::select(vec!["null", "1", "\"a,}\"", "{\"tags\": null}", "[null, 2]"]), prop::sample::select(vec!["", " ", "\n "])), 1..9),
        ) {
            let mut seen = HashSet::new();
            let fields: Vec<_> = fields.into_iter().filter(|(name, ..)| seen.insert(*name)).collect();
            let text = fields.iter().map(|(name, value, space)| format!("{space}\"{name}\"{space}:{space}{value}{space}"));
            let text = format!("{{{}}}", text.collect::<Vec<_>>().join(","));
            let mut whole: std::collections::BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text).unwrap();
            whole.retain(|name, value| !is_left_out(name, value));
            let left = sent(&text);
            let left: std::collections::BTreeMap<String, Box<RawValue>> = serde_json::from_str(&left).unwrap();
            let texts = |map: &std::collections::BTreeMap<String, Box<RawValue>>| -> Vec<(String, String)> {
                map.iter().map(|(name, value)| (name.clone(), value.get().to_owned())).collect()
            };
            prop_assert_eq!(texts(&left), texts(&whole));
        }
    }
}
