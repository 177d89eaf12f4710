//! A request for embeddings as the caller sent it: read, checked, and measured. What the provider will parse is not parsed here twice.

mod attempt_bounds;
mod encoding_format;
mod fields;
mod input;
mod malformed;
mod metadata;

use std::{borrow::Cow, collections::BTreeMap, ops::Range, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use serde::Serialize;
use serde_json::value::RawValue;
pub use vectoll_config::v1::{InputType, Truncate};

use self::input::Token;
pub use self::{
    attempt_bounds::AttemptBounds,
    encoding_format::EncodingFormat,
    fields::{Fields, OtherField, is_left_out, whole},
    input::{Input, Shape},
    malformed::Malformed,
    metadata::Metadata,
};

/// What the inputs are, for models that tell queries and documents apart.
static INPUT_TYPE_HEADER: HeaderName = HeaderName::from_static("x-vectoll-input-type");
/// What is cut off inputs that are longer than the model takes.
static TRUNCATE_HEADER: HeaderName = HeaderName::from_static("x-vectoll-truncate");
/// The longest name of a model, in characters.
const MAX_MODEL: usize = 256;

/// A request that is well-formed.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is to be embedded, measured.
    pub shape: Shape,
    /// How the vectors are to be written.
    pub encoding_format: EncodingFormat,
    /// How many numbers a vector is to have; none: the model's own number.
    pub dimensions: Option<u64>,
    /// What the inputs are; none: what the route says.
    pub input_type: Option<InputType>,
    /// What is cut off inputs that are too long; none: what the route says.
    pub truncation: Option<Truncation>,
    /// How long it may take and how often it may be tried again, as the caller says.
    pub bounds: AttemptBounds,
    /// What the body itself says, for providers that are sent it as it is.
    pub provider_specific: ProviderSpecificFields,
    /// The body's fields whose meaning is the provider's business: they may change the vectors.
    pub other_fields: Vec<OtherField>,
    /// What stands in the body and is not sent: [`Fields::left_out`].
    pub left_out: Vec<Range<usize>>,
    /// The body as it came.
    pub body: Bytes,
    /// Where the body's `{` is.
    pub open_brace: usize,
    /// Where in the body the model's name stands, with its quotes.
    pub model_span: Option<Range<usize>>,
    /// The name that stands there.
    pub model_in_body: Option<Arc<str>>,
    /// Where `"encoding_format": null` has its `null`.
    pub null_encoding_format: Option<Range<usize>>,
    input_span: Range<usize>,
}

/// What a caller says of inputs that are longer than the model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// Nothing is cut off: the call is refused.
    Never,
    /// This part is.
    Of(Truncate),
}

/// Fields of a body that some providers understand and others do not, as they stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderSpecificFields {
    /// `input_type`.
    pub input_type: Option<String>,
    /// `user`.
    pub user: Option<String>,
}

/// The model's name: where it stands in the path it counts, whatever the body says.
pub fn model_name(in_path: Option<Arc<str>>, in_body: Option<Arc<str>>) -> Result<Arc<str>, Malformed> {
    let model = in_path
        .or(in_body)
        .ok_or_else(|| Malformed::new(Some("model"), "`model` is missing: name the embedding model to use"))?;
    // Of a wildcard's names: one that is a part of a provider's path must not lead out of it.
    if model.split('/').any(|part| matches!(part, "." | "..")) {
        let message = "`model` must not have `.` or `..` as a part of its name: name the embedding model to use";
        return Err(Malformed::new(Some("model"), message));
    }
    if model.is_empty() || is_longer(&model, MAX_MODEL) {
        let message = format!("`model` must have 1 to {MAX_MODEL} characters: name the embedding model to use");
        return Err(Malformed::new(Some("model"), message));
    }
    Ok(model)
}

impl Request {
    /// Reads a request. `fields` are those of its body, of which the model's name was read before.
    pub fn read(
        fields: &Fields<'_>,
        model_in_body: Option<Arc<str>>,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Self, Malformed> {
        let (input, input_span) = fields.input()?;
        let shape = Shape::of(input)?;
        let (encoding_format, null_encoding_format) = fields.encoding_format()?;
        let dimensions = fields.dimensions()?;
        let provider_specific = ProviderSpecificFields { input_type: fields.input_type()?, user: fields.user()? };
        let input_type = input_type(headers, provider_specific.input_type.as_deref())?;
        Ok(Self {
            shape,
            encoding_format,
            dimensions,
            input_type,
            truncation: truncation(headers)?,
            bounds: AttemptBounds::read(headers, fields)?,
            provider_specific,
            other_fields: fields.others(),
            left_out: fields.left_out(),
            open_brace: fields.open_brace(),
            model_span: fields.model_span(),
            model_in_body,
            null_encoding_format,
            input_span,
            body,
        })
    }

    /// The same request for other texts, as a body of its own. Without texts it is one that is counted and never sent.
    pub fn of_texts(&self, texts: &[impl AsRef<str> + Serialize]) -> Result<Self, Malformed> {
        self.of_inputs(texts)
    }

    /// The same request for other token arrays, as a body of its own.
    pub fn of_token_arrays(&self, arrays: &[Vec<u32>]) -> Result<Self, Malformed> {
        self.of_inputs(arrays)
    }

    fn of_inputs(&self, inputs: &[impl Serialize]) -> Result<Self, Malformed> {
        let broken =
            |error: serde_json::Error| Malformed::new(None, format!("The request's body is not JSON: {error}"));
        let mut fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(&self.body).map_err(broken)?;
        let input = serde_json::value::to_raw_value(inputs).map_err(broken)?;
        fields.retain(|name, value| !is_left_out(name, value));
        fields.insert("input".into(), &input);
        // As with the request itself: what it left away is left away.
        if self.null_encoding_format.is_some() {
            fields.remove("encoding_format");
        }
        let body = Bytes::from(serde_json::to_vec(&fields).map_err(broken)?);
        let text = std::str::from_utf8(&body).unwrap_or_default();
        let read = Fields::read(text)?;
        let (input, input_span) = read.input()?;
        let shape = if inputs.is_empty() { Shape::default() } else { Shape::of(input)? };
        Ok(Self {
            shape,
            encoding_format: self.encoding_format,
            dimensions: self.dimensions,
            input_type: self.input_type,
            truncation: self.truncation,
            bounds: self.bounds,
            provider_specific: self.provider_specific.clone(),
            other_fields: read.others(),
            left_out: read.left_out(),
            open_brace: read.open_brace(),
            model_span: read.model_span(),
            model_in_body: read.model()?.map(Arc::from),
            null_encoding_format: None,
            input_span,
            body,
        })
    }

    /// The fields whose meaning is the provider's business: their names, and their values as JSON.
    pub fn others(&self) -> impl Iterator<Item = (&str, &str)> {
        self.other_fields.iter().map(|field| (field.name.as_str(), self.value_of(field)))
    }

    /// The JSON of such a field.
    fn value_of(&self, other: &OtherField) -> &str {
        self.body.get(other.value.clone()).and_then(|raw| std::str::from_utf8(raw).ok()).unwrap_or_default()
    }

    /// The body's `input_type`, where it counts and says something that is no [`InputType`].
    pub fn unknown_input_type(&self) -> Option<&str> {
        self.provider_specific.input_type.as_deref().filter(|_| self.input_type.is_none())
    }

    /// The token arrays, one for each input; none where it is text.
    pub fn token_arrays(&self) -> Option<Vec<Vec<u32>>> {
        let raw = self.body.get(self.input_span.clone()).and_then(|raw| std::str::from_utf8(raw).ok())?;
        let arrays: Vec<Vec<Token>> =
            serde_json::from_str(raw).or_else(|_| serde_json::from_str(raw).map(|one| vec![one])).ok()?;
        Some(arrays.into_iter().map(|tokens| tokens.into_iter().map(|Token(token)| token).collect()).collect())
    }

    /// The input itself, for those who need more than its measure.
    pub fn input(&self) -> Result<Input<'_>, Malformed> {
        let raw = self.body.get(self.input_span.clone()).and_then(|raw| std::str::from_utf8(raw).ok());
        Input::read(raw.unwrap_or_default(), self.shape)
    }
}

/// What the inputs are: by the header, else by the body, where some providers have words of their own.
fn input_type(headers: &HeaderMap, in_body: Option<&str>) -> Result<Option<InputType>, Malformed> {
    let read = |text: &str| match text {
        "query" | "search_query" => Some(InputType::Query),
        "document" | "search_document" | "passage" => Some(InputType::Document),
        _ => None,
    };
    if let Some(value) = headers.get(&INPUT_TYPE_HEADER) {
        let read = value.to_str().ok().and_then(read);
        return match read {
            Some(value) => Ok(Some(value)),
            None => Err(Malformed::new(None, "The header x-vectoll-input-type must be query or document")),
        };
    }
    Ok(in_body.and_then(read))
}

/// What is to be cut off, by the header.
fn truncation(headers: &HeaderMap) -> Result<Option<Truncation>, Malformed> {
    let Some(value) = headers.get(&TRUNCATE_HEADER) else { return Ok(None) };
    match value.as_bytes().to_ascii_lowercase().as_slice() {
        b"start" => Ok(Some(Truncation::Of(Truncate::Start))),
        b"end" => Ok(Some(Truncation::Of(Truncate::End))),
        b"none" => Ok(Some(Truncation::Never)),
        _ => Err(Malformed::new(None, "The header x-vectoll-truncate must be start, end or none")),
    }
}

/// Whether a text has more characters than that.
pub fn is_longer(text: &str, characters: usize) -> bool {
    text.len() > characters && text.chars().count() > characters
}
