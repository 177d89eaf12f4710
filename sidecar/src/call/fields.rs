//! The fields of a call's JSON body, borrowed from it. A field that stands twice is refused: whoever reads the body
//! next may take the other one.

use std::{borrow::Cow, collections::HashSet, fmt, ops::Range};

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::EncodingFormat;
use crate::refusal::Refusal;

/// The raw fields that matter, and the text they stand in.
pub(super) struct Fields<'a> {
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
    has_others: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, Refusal> {
        match serde_json::from_str(text) {
            Ok(raw) => Ok(Self { text, raw }),
            Err(error) if error.is_data() => {
                Err(Refusal::malformed(None, format!("The request's body is not a call: {error}")))
            }
            Err(error) => Err(Refusal::malformed(None, format!("The request's body is not JSON: {error}"))),
        }
    }

    pub(super) fn model(&self) -> Result<Option<String>, Refusal> {
        string("model", self.raw.model)
    }

    pub(super) fn user(&self) -> Result<Option<String>, Refusal> {
        string("user", self.raw.user)
    }

    /// Whether there are fields whose meaning is the provider's business.
    pub(super) fn has_others(&self) -> bool {
        self.raw.has_others
    }

    pub(super) fn input_type(&self) -> Result<Option<String>, Refusal> {
        string("input_type", self.raw.input_type)
    }

    pub(super) fn input(&self) -> Result<(&'a str, Range<usize>), Refusal> {
        match self.raw.input {
            Some(raw) => Ok((raw.get(), self.span(raw))),
            None => Err(Refusal::input("`input` is missing: give a string, an array of strings, or token arrays")),
        }
    }

    /// The format, and where a `null` stands in its place.
    pub(super) fn encoding_format(&self) -> Result<(EncodingFormat, Option<Range<usize>>), Refusal> {
        match self.raw.encoding_format.map(|raw| (raw, raw.get())) {
            None | Some((_, "\"float\"")) => Ok((EncodingFormat::Float, None)),
            Some((_, "\"base64\"")) => Ok((EncodingFormat::Base64, None)),
            Some((raw, "null")) => Ok((EncodingFormat::Float, Some(self.span(raw)))),
            Some(_) => {
                Err(Refusal::malformed(Some("encoding_format"), "`encoding_format` must be \"float\" or \"base64\""))
            }
        }
    }

    pub(super) fn dimensions(&self) -> Result<Option<u64>, Refusal> {
        match self.raw.dimensions.map(RawValue::get) {
            None | Some("null") => Ok(None),
            Some(text) => whole(text)
                .filter(|number| *number > 0)
                .map(Some)
                .ok_or_else(|| Refusal::malformed(Some("dimensions"), "`dimensions` must be a whole number above 0")),
        }
    }

    pub(super) fn model_span(&self) -> Option<Range<usize>> {
        self.raw.model.map(|raw| self.span(raw))
    }

    pub(super) fn open_brace(&self) -> usize {
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
pub(crate) fn whole(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as u64)
    })
}

fn string(field: &'static str, raw: Option<&RawValue>) -> Result<Option<String>, Refusal> {
    match raw.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(text) => serde_json::from_str(text)
            .map(Some)
            .map_err(|_| Refusal::malformed(Some(field), format!("`{field}` must be a string"))),
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
const MOST_FIELDS: usize = 64;

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
            if fields > MOST_FIELDS {
                return Err(A::Error::custom(format!("it has more than {MOST_FIELDS} fields")));
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
                    map.next_value::<IgnoredAny>()?;
                    raw.has_others = true;
                    if let Some(twice) = others.replace(name) {
                        return Err(A::Error::custom(format!("the field `{}` stands twice", twice.0)));
                    }
                    continue;
                }
            };
            if known.is_some() {
                return Err(A::Error::custom(format!("the field `{}` stands twice", name.0)));
            }
            *known = Some(map.next_value()?);
        }
        Ok(raw)
    }
}
