//! Fields of a call that OpenAI's API does not have and a provider's API has.
//!
//! Each dialect lists those that it takes from callers, under the names of the provider's own reference ([`Extension`]). What a field
//! may say is checked here where the reference names all that it may say; else the provider is the judge. A field that the provider
//! has no place for, or whose result OpenAI's answer has no place for, is refused before anything is sent.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// The longest text of a field, in characters: it goes along with every input.
const MAX_TEXT: usize = 1024;

/// The longest JSON of anything that a field may say: a character can be two escapes of six bytes. Longer ones are not read, however long.
const MAX_JSON_BYTES: usize = 12 * MAX_TEXT + 2;

/// Fields whose text the provider reads beside each input, and may charge for.
const BESIDE: [&str; 2] = ["title", "instruction"];

/// The field that makes the inputs of one request one text: none of them is embedded without the others.
pub(super) const LATE_CHUNKING: &str = "late_chunking";

/// A field that a provider takes.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    /// As callers write it.
    pub(super) name: &'static str,
    /// As the dialect asks for it: some fields have two spellings.
    key: &'static str,
    takes: Takes,
}

/// What a field may say.
#[derive(Clone, Copy, Debug)]
enum Takes {
    Flag,
    Count,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A text: whether it means something is the provider's to say.
    Text,
    /// This, as JSON. All else would be vectors that are not 32-bit floats, or not one for each input.
    Only(&'static str),
}

impl Extension {
    const fn new(name: &'static str, takes: Takes) -> Self {
        Self { name, key: name, takes }
    }

    pub(super) const fn flag(name: &'static str) -> Self {
        Self::new(name, Takes::Flag)
    }

    pub(super) const fn count(name: &'static str) -> Self {
        Self::new(name, Takes::Count)
    }

    pub(super) const fn word(name: &'static str, words: &'static [&'static str]) -> Self {
        Self::new(name, Takes::Word(words))
    }

    pub(super) const fn text(name: &'static str) -> Self {
        Self::new(name, Takes::Text)
    }

    pub(super) const fn only(name: &'static str, json: &'static str) -> Self {
        Self::new(name, Takes::Only(json))
    }

    /// Another spelling of a field.
    pub(super) const fn spelled(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    fn read(&self, json: &str) -> Result<Value, Rejected> {
        let field = self.name;
        let must_be = |what: String| Err(Rejected::Value { field, message: format!("`{field}` must be {what}") });
        // Nothing that is allowed is `null`.
        let value: Value = if is_long(json) { Value::Null } else { serde_json::from_str(json).unwrap_or_default() };
        match self.takes {
            Takes::Flag if !value.is_boolean() => must_be("true or false".to_owned()),
            Takes::Count if !value.is_u64() => must_be("a whole number".to_owned()),
            Takes::Word(words) if !value.as_str().is_some_and(|word| words.contains(&word)) => {
                let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                must_be(format!("one of {}", words.join(", ")))
            }
            Takes::Text if !value.as_str().is_some_and(|text| (1..=MAX_TEXT).contains(&text.chars().count())) => {
                must_be(format!("a text of 1 to {MAX_TEXT} characters"))
            }
            Takes::Only(only) if serde_json::from_str(only).ok().as_ref() != Some(&value) => {
                Err(Rejected::NotCarried { field, only })
            }
            Takes::Flag | Takes::Count | Takes::Word(_) | Takes::Text | Takes::Only(_) => Ok(value),
        }
    }
}

/// The field that a provider's own reference has for `dimensions`.
const DIMENSIONS: [&str; 5] =
    ["output_dimension", "output_dimensionality", "outputDimensionality", "embedding_dimension", "embeddingDimension"];

/// Why a call's field is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// The model's provider has no place for it.
    NoPlace {
        /// Its name.
        field: String,
    },
    /// OpenAI's answer has no place for what it asks for.
    NotCarried {
        /// Its name.
        field: &'static str,
        /// All that it may say, as JSON.
        only: &'static str,
    },
    /// OpenAI's API has a field for it.
    Dimensions {
        /// Its name.
        field: &'static str,
    },
    /// It says what it cannot.
    Value {
        /// Its name.
        field: &'static str,
        /// What is wrong and what to do, for the caller.
        message: String,
    },
}

/// The fields that a call has beyond OpenAI's, as its provider takes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extensions(Vec<(String, Value)>);

impl Extensions {
    /// Reads a call's fields for a model that takes these. Values are JSON.
    pub fn read<'a>(
        taken: &[Extension],
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Rejected> {
        let mut read: Vec<(String, Value)> = Vec::new();
        for (name, json) in fields {
            let Some(extension) = taken.iter().find(|extension| extension.name == name) else {
                return Err(match DIMENSIONS.into_iter().find(|other| *other == name) {
                    Some(field) => Rejected::Dimensions { field },
                    None => Rejected::NoPlace { field: name.to_owned() },
                });
            };
            let value = extension.read(json)?;
            if read.iter().any(|(key, _)| key == extension.key) {
                let field = extension.name;
                let message = format!("`{field}` is there in two spellings");
                return Err(Rejected::Value { field, message });
            }
            read.push((extension.key.to_owned(), value));
        }
        Ok(Self(read))
    }

    /// A call's fields for a server that understands callers' bodies.
    pub fn as_they_are<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let field = |(name, json): (&str, &str)| (name.to_owned(), serde_json::from_str(json).unwrap_or_default());
        Self(fields.into_iter().map(field).collect())
    }

    /// Whether the inputs cannot be sent apart from each other.
    pub fn couple_inputs(&self) -> bool {
        self.flag(LATE_CHUNKING) == Some(true)
    }

    /// The text that is read beside each input.
    pub fn beside(&self) -> Option<&str> {
        BESIDE.into_iter().find_map(|name| self.text(name))
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(other, _)| other == key).map(|(_, value)| value)
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    pub(super) fn count(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

/// The fields of an object, as they are.
impl Serialize for Extensions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The text of a field that is read beside each input; none: it is no such field. `json` is its value.
pub fn text_beside(field: &str, json: &str) -> Option<String> {
    // One that is too long is refused before anything is sent.
    (BESIDE.contains(&field) && !is_long(json)).then(|| serde_json::from_str(json).ok()).flatten()
}

/// Whether it is longer than anything that is taken.
fn is_long(json: &str) -> bool {
    json.len() > MAX_JSON_BYTES
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SOME: &[Extension] = &[
        Extension::flag("truncate"),
        Extension::count("max_tokens"),
        Extension::word("direction", &["Left", "Right"]),
        Extension::text("task_type"),
        Extension::text("task_type").spelled("taskType"),
        Extension::only("output_dtype", "\"float\""),
        Extension::only("embedding_types", "[\"float\"]"),
    ];

    fn read(fields: &[(&str, &str)]) -> Result<String, Rejected> {
        Extensions::read(SOME, fields.iter().copied()).map(|read| serde_json::to_string(&read).unwrap())
    }

    #[test]
    fn fields_are_read_by_the_name_that_the_dialect_asks_for() {
        let fields = [
            ("truncate", "false"),
            ("max_tokens", "7"),
            ("direction", "\"Left\""),
            ("taskType", "\"CLUSTERING\""),
            ("output_dtype", "\"float\""),
            ("embedding_types", "[ \"float\" ]"),
        ];
        let expected = concat!(
            r#"{"truncate":false,"max_tokens":7,"direction":"Left","task_type":"CLUSTERING","output_dtype":"float","#,
            r#""embedding_types":["float"]}"#
        );
        assert_eq!(read(&fields).unwrap(), expected);
    }

    #[test]
    fn what_a_field_cannot_say_is_refused_with_its_name() {
        for (field, json, what) in [
            ("truncate", "\"END\"", "`truncate` must be true or false"),
            ("truncate", "1", "`truncate` must be true or false"),
            ("max_tokens", "-1", "`max_tokens` must be a whole number"),
            ("max_tokens", "1.5", "`max_tokens` must be a whole number"),
            ("max_tokens", "\"7\"", "`max_tokens` must be a whole number"),
            ("direction", "\"left\"", "`direction` must be one of \"Left\", \"Right\""),
            ("task_type", "\"\"", "`task_type` must be a text of 1 to 1024 characters"),
            ("task_type", "[\"a\"]", "`task_type` must be a text of 1 to 1024 characters"),
        ] {
            match read(&[(field, json)]) {
                Err(Rejected::Value { field: named, message }) => assert_eq!((named, message.as_str()), (field, what)),
                other => unreachable!("{field} {json}: {other:?}"),
            }
        }
        let long = format!("\"{}\"", "ü".repeat(MAX_TEXT + 1));
        assert!(read(&[("task_type", &long)]).is_err());
        assert!(read(&[("task_type", &long.replacen('ü', "", 1))]).is_ok());
        assert!(read(&[("task_type", "\"A\""), ("taskType", "\"A\"")]).is_err());
    }

    #[test]
    fn what_no_answer_can_carry_and_what_has_no_place_are_told_apart() {
        for (field, json) in [
            ("output_dtype", "\"int8\""),
            ("embedding_types", "[\"ubinary\"]"),
            ("embedding_types", "[\"float\",\"int8\"]"),
            ("embedding_types", "\"float\""),
        ] {
            assert!(matches!(read(&[(field, json)]), Err(Rejected::NotCarried { field: named, .. }) if named == field));
        }
        assert_eq!(read(&[("output_dimension", "256")]), Err(Rejected::Dimensions { field: "output_dimension" }));
        assert_eq!(read(&[("title", "1")]), Err(Rejected::NoPlace { field: "title".to_owned() }));
    }

    #[test]
    fn late_chunking_couples_inputs() {
        assert!(Extensions::as_they_are([("late_chunking", "true")]).couple_inputs());
        assert!(!Extensions::as_they_are([("late_chunking", "false")]).couple_inputs());
    }
}
