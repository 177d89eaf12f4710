//! A call of `/v1/embeddings`, checked.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::item::Item;
use super::strict_json;
use super::vector::FULL_DIMENSIONS;

/// A valid call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The model's name.
    pub model: String,
    /// What to embed, one to [`Call::MOST_ITEMS`].
    pub input: Vec<Item>,
    /// How the vectors are written.
    pub encoding: Encoding,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// The end user, if named.
    pub user: Option<String>,
    /// All other fields.
    pub other: Map<String, Value>,
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// A JSON array of numbers; the default.
    Float,
    /// The base64 of little-endian 32-bit floats.
    Base64,
}

/// What is wrong with a request.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// Another path or method than the provider has.
    #[error("there is nothing at {method} {path}")]
    Path {
        /// The method.
        method: String,
        /// The path.
        path: String,
    },
    /// A redirect was followed, with what was meant for the provider.
    #[error("a redirect was followed to {0}")]
    Redirected(String),
    /// Not JSON by its header.
    #[error("content-type is {0:?}, not application/json")]
    ContentType(String),
    /// Not JSON, or with a key twice.
    #[error("the body is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The body did not arrive whole.
    #[error("the body could not be read: {0}")]
    Body(String),
    /// JSON, but not an object.
    #[error("the body is not an object")]
    NotAnObject,
    /// A field that is missing or has a wrong value.
    #[error("the field {field} is {found}, not {wanted}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it holds, shortened.
        found: String,
        /// What it may hold.
        wanted: &'static str,
    },
    /// A model name that asks for an unknown fault.
    #[error(transparent)]
    Fault(#[from] super::behaviour::UnknownFault),
}

impl Call {
    /// The most items of a call.
    pub const MOST_ITEMS: usize = 2048;

    /// Checks a body.
    pub fn parse(body: &[u8]) -> Result<Self, Violation> {
        let Value::Object(mut fields) = strict_json::parse(body)? else { return Err(Violation::NotAnObject) };
        let mut take = |field: &'static str, wanted| (fields.remove(field), Wanted { field, wanted });
        Ok(Self {
            model: model(take("model", "a string that is not empty"))?,
            input: input(take(
                "input",
                "a string, strings, tokens or token arrays, 1 to 2048, none in an array empty",
            ))?,
            encoding: encoding(take("encoding_format", "\"float\", \"base64\" or absent"))?,
            dimensions: dimensions(take("dimensions", "an integer from 1 to 1536, or absent"))?,
            user: user(take("user", "a string or absent"))?,
            other: fields,
        })
    }

    /// What the call costs: texts by `cl100k_base`, token arrays by their length.
    pub fn tokens(&self) -> u64 {
        self.input.iter().map(Item::tokens).sum()
    }
}

impl Item {
    /// What it costs.
    pub(crate) fn tokens(&self) -> u64 {
        static TOKENIZER: LazyLock<&'static bpe_openai::Tokenizer> = LazyLock::new(bpe_openai::cl100k_base);
        let count = match self {
            Self::Text(text) => TOKENIZER.count(text),
            Self::Tokens(tokens) => tokens.len(),
        };
        count as u64
    }
}

struct Wanted {
    field: &'static str,
    wanted: &'static str,
}

impl Wanted {
    fn but(&self, found: Option<&Value>) -> Violation {
        let found = found.map_or_else(|| "absent".to_owned(), |value| value.to_string().chars().take(80).collect());
        Violation::Field { field: self.field, found, wanted: self.wanted }
    }
}

type Field = (Option<Value>, Wanted);

fn model((value, wanted): Field) -> Result<String, Violation> {
    match value {
        Some(Value::String(model)) if !model.is_empty() => Ok(model),
        other => Err(wanted.but(other.as_ref())),
    }
}

fn input((value, wanted): Field) -> Result<Vec<Item>, Violation> {
    let items = match &value {
        // As OpenAI: empty, if it is all of the input (openai-python issue 576).
        Some(Value::String(text)) => Some(vec![Item::Text(text.clone())]),
        Some(Value::Array(values)) => match values.first() {
            Some(Value::Number(_)) => tokens_item(values).map(|item| vec![item]),
            Some(Value::String(_)) => values.iter().map(|value| text_item(value.as_str()?)).collect(),
            Some(Value::Array(_)) => values.iter().map(|value| tokens_item(value.as_array()?)).collect(),
            Some(Value::Null | Value::Bool(_) | Value::Object(_)) | None => None,
        },
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => None,
    };
    items.filter(|items| items.len() <= Call::MOST_ITEMS).ok_or_else(|| wanted.but(value.as_ref()))
}

fn text_item(text: &str) -> Option<Item> {
    (!text.is_empty()).then(|| Item::Text(text.to_owned()))
}

fn tokens_item(values: &[Value]) -> Option<Item> {
    let tokens = values.iter().map(|value| u32::try_from(value.as_u64()?).ok()).collect::<Option<Vec<_>>>()?;
    (!tokens.is_empty()).then_some(Item::Tokens(tokens))
}

fn encoding((value, wanted): Field) -> Result<Encoding, Violation> {
    match value.as_ref().map(Value::as_str) {
        None | Some(Some("float")) => Ok(Encoding::Float),
        Some(Some("base64")) => Ok(Encoding::Base64),
        Some(Some(_) | None) => Err(wanted.but(value.as_ref())),
    }
}

fn dimensions((value, wanted): Field) -> Result<usize, Violation> {
    let Some(value) = value else { return Ok(FULL_DIMENSIONS) };
    let dimensions = value.as_u64().and_then(|number| usize::try_from(number).ok());
    dimensions.filter(|number| (1..=FULL_DIMENSIONS).contains(number)).ok_or_else(|| wanted.but(Some(&value)))
}

fn user((value, wanted): Field) -> Result<Option<String>, Violation> {
    match value {
        None => Ok(None),
        Some(Value::String(user)) => Ok(Some(user)),
        Some(other) => Err(wanted.but(Some(&other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Call, Violation> {
        Call::parse(text.as_bytes())
    }

    #[test]
    fn all_shapes_of_input_are_read() {
        for (input, items, tokens) in [
            (r#""hello world""#, 1, 2),
            (r#""""#, 1, 0),
            (r#"["hello", "hello world"]"#, 2, 3),
            ("[1, 2, 3]", 1, 3),
            ("[[1, 2, 3], [4]]", 2, 4),
        ] {
            let call = parse(&format!(r#"{{"model": "m", "input": {input}}}"#)).unwrap();
            assert_eq!((call.input.len(), call.tokens()), (items, tokens), "{input}");
        }
    }

    #[test]
    fn wrong_bodies_are_refused() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"input": "x"}"#,
            r#"{"model": "", "input": "x"}"#,
            r#"{"model": null, "input": "x"}"#,
            r#"{"model": "m"}"#,
            r#"{"model": "m", "model": "m", "input": "x"}"#,
            r#"{"model": "m", "input": []}"#,
            r#"{"model": "m", "input": [""]}"#,
            r#"{"model": "m", "input": [[]]}"#,
            r#"{"model": "m", "input": ["x", 1]}"#,
            r#"{"model": "m", "input": [1, "x"]}"#,
            r#"{"model": "m", "input": [[1], 1]}"#,
            r#"{"model": "m", "input": [[1], "x"]}"#,
            r#"{"model": "m", "input": [-1]}"#,
            r#"{"model": "m", "input": [1.5]}"#,
            r#"{"model": "m", "input": 1}"#,
            r#"{"model": "m", "input": "x", "encoding_format": null}"#,
            r#"{"model": "m", "input": "x", "encoding_format": "int8"}"#,
            r#"{"model": "m", "input": "x", "dimensions": 0}"#,
            r#"{"model": "m", "input": "x", "dimensions": 1537}"#,
            r#"{"model": "m", "input": "x", "dimensions": 1.0}"#,
            r#"{"model": "m", "input": "x", "dimensions": null}"#,
            r#"{"model": "m", "input": "x", "user": 1}"#,
            r#"{"model": "m", "input": "x", "user": null}"#,
        ] {
            assert!(parse(body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_call_has_at_most_2048_items() {
        let body =
            |items| format!(r#"{{"model": "m", "input": {}}}"#, serde_json::to_string(&vec!["x"; items]).unwrap());
        assert!(parse(&body(2048)).is_ok());
        assert!(parse(&body(2049)).is_err());
    }

    #[test]
    fn unknown_fields_are_kept() {
        let call = parse(r#"{"model": "m", "input": "x", "task": "query"}"#).unwrap();
        assert_eq!(call.other["task"], "query");
    }
}
