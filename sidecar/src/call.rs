//! A call as the caller sent it: read, checked, and measured. What the provider will parse is not parsed here twice.

mod body;
mod fields;
mod input;
mod metadata;

use std::{borrow::Cow, collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::value::RawValue;
pub use vectoll_config::v1::InputType;
use vectoll_config::v1::UserPolicy;

use crate::{
    access::Entry,
    accounting::Outcomes,
    authenticate::Caller,
    call_id::CallId,
    memory::{CALL, Claim, Held, Memory, NoRoom},
    refusal::Refusal,
    server::RequestBody,
};

pub use input::{Input, Shape};
pub use metadata::Metadata;

pub(crate) use fields::{is_left_out, whole};

use fields::Fields;
use input::Token;

/// The end user in LiteLLM's header.
static USER_HEADER: HeaderName = HeaderName::from_static("x-litellm-user-id");
/// Further facts on a call, as a JSON object.
static METADATA_HEADER: HeaderName = HeaderName::from_static("x-litellm-metadata");
/// What the inputs are, for models that tell queries and documents apart.
static INPUT_TYPE_HEADER: HeaderName = HeaderName::from_static("x-vectoll-input-type");
/// The user of a call that names none, with a key that has no owner.
const NOBODY: &str = "_none";
/// The longest name of a user, in characters.
const MAX_USER: usize = 256;
/// The longest name of a model, in characters.
const MAX_MODEL: usize = 256;

/// A call that is well-formed and whose caller is known.
#[derive(Debug)]
pub struct Call {
    /// The call's ID.
    pub id: CallId,
    /// Who calls.
    pub caller: Caller,
    /// The model's public name.
    pub model: Arc<str>,
    /// The end user that it is booked to.
    pub user: Arc<str>,
    /// What is to be embedded, measured.
    pub shape: Shape,
    /// The measure of the text that token arrays are of; none: nobody is sent that, or nobody knows it.
    pub text_of_arrays: Option<Shape>,
    /// How the vectors are to be written.
    pub encoding_format: EncodingFormat,
    /// How many numbers a vector is to have; none: the model's own number.
    pub dimensions: Option<u64>,
    /// What the inputs are; none: what the route says.
    pub input_type: Option<InputType>,
    /// What the body itself says, for providers that are sent it as it is.
    pub said: Said,
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
    /// What its caller says of it besides.
    pub metadata: Option<Arc<Metadata>>,
    /// Its tags that its team or its route counts, each once: known with the route.
    pub tags: Vec<Arc<str>>,
    /// What became of its reservations, for the headers of its answer: over all that is sent for it ([`Call::of_texts`]).
    pub outcome: Arc<Outcomes>,
    /// What the access log says of it. It is written when the call has its end.
    pub entry: Entry,
    /// Whether its answer is put together with others here before its caller gets any of it.
    pub is_collected: bool,
    /// What it takes memory by.
    pub claim: Claim,
    /// What it takes by itself, and what its body takes.
    #[expect(dead_code, reason = "dropping it is what it is for")]
    held: [Held; 2],
    input_span: Range<usize>,
}

/// Fields of a body that some providers understand and others do not, as they stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `input_type`.
    pub input_type: Option<String>,
    /// `user`.
    pub user: Option<String>,
}

/// A field whose meaning is the provider's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherField {
    /// Its name.
    pub name: String,
    /// Where its value stands in the body.
    pub value: Range<usize>,
}

/// `encoding_format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncodingFormat {
    /// JSON numbers.
    #[default]
    Float,
    /// Little-endian 32-bit floats in base64.
    Base64,
}

/// How much of a request is read, and for how long.
#[derive(Clone, Debug)]
pub struct Caps {
    /// The largest body, in bytes.
    pub body: usize,
    /// How long the body may take to arrive.
    pub patience: Duration,
    /// What large ones take their place in.
    pub memory: Memory,
}

impl Call {
    /// Reads a call. `in_path` is the model's name where the path has it; it counts then, whatever the body says.
    pub async fn read(
        (id, entry): (CallId, Entry),
        caller: Caller,
        headers: &HeaderMap,
        body: RequestBody,
        in_path: Option<String>,
        caps: &Caps,
    ) -> Result<Self, Refusal> {
        // Told to the log as soon as it is known: what is refused from here on has a line as well.
        let in_path: Option<Arc<str>> = in_path.map(Arc::from);
        if let Some(model) = &in_path {
            entry.model(model);
        }
        let said_user = user_in_headers(&caller, headers)?;
        if let Some(user) = &said_user {
            entry.user(user);
        }
        let metadata = Metadata::read(headers)?.map(Arc::new);
        if let Some(metadata) = &metadata {
            entry.metadata(metadata);
        }
        must_be_json(headers)?;
        let owner = (caller.key().team.name.clone(), caller.key().name.clone());
        let (claim, mut own, mut held) = (caps.memory.claim(owner), Held::default(), Held::default());
        let end = tokio::time::Instant::now() + caps.patience;
        claim.hold_until(&mut own, CALL, end).await.map_err(|NoRoom| Refusal::no_room())?;
        let body = body::read(headers, body, caps, (&claim, &mut held)).await?;
        let text = std::str::from_utf8(&body)
            .map_err(|_| Refusal::malformed(None, "The request's body is not UTF-8: JSON must be"))?;
        let fields = Fields::read(text)?;
        let named: Option<Arc<str>> = fields.model()?.map(Arc::from);
        let model = in_path
            .or_else(|| named.clone())
            .ok_or_else(|| Refusal::malformed(Some("model"), "`model` is missing: name the embedding model to use"))?;
        // Of a wildcard's names: one that is a part of a provider's path must not lead out of it.
        if model.split('/').any(|part| matches!(part, "." | "..")) {
            let message = "`model` must not have `.` or `..` as a part of its name: name the embedding model to use";
            return Err(Refusal::malformed(Some("model"), message));
        }
        if model.is_empty() || is_longer(&model, MAX_MODEL) {
            let message = format!("`model` must have 1 to {MAX_MODEL} characters: name the embedding model to use");
            return Err(Refusal::malformed(Some("model"), message));
        }
        entry.model(&model);
        let (input, input_span) = fields.input()?;
        let shape = Shape::of(input)?;
        let (encoding_format, null_encoding_format) = fields.encoding_format()?;
        let dimensions = fields.dimensions()?;
        let said = Said { input_type: fields.input_type()?, user: fields.user()? };
        let input_type = input_type(headers, said.input_type.as_deref())?;
        let user = user(&caller, said_user, said.user.as_deref())?;
        entry.user(&user);
        let (model_span, open_brace) = (fields.model_span(), fields.open_brace());
        Ok(Self {
            id,
            caller,
            model,
            user,
            shape,
            text_of_arrays: None,
            encoding_format,
            dimensions,
            input_type,
            said,
            other_fields: fields.others(),
            left_out: fields.left_out(),
            model_span,
            open_brace,
            model_in_body: named,
            null_encoding_format,
            metadata,
            tags: Vec::new(),
            outcome: Arc::default(),
            entry,
            is_collected: false,
            claim,
            held: [own, held],
            input_span,
            body,
        })
    }

    /// The same call for other texts, as a body of its own. Without texts it is a call that is counted and never sent.
    /// `held` is what that takes.
    pub fn of_texts(&self, texts: &[&str], held: Held) -> Result<Self, Refusal> {
        let broken =
            |error: serde_json::Error| Refusal::malformed(None, format!("The request's body is not JSON: {error}"));
        let mut fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(&self.body).map_err(broken)?;
        let input = serde_json::value::to_raw_value(texts).map_err(broken)?;
        fields.retain(|name, value| !is_left_out(name, value));
        fields.insert("input".into(), &input);
        // As with the call itself: what it left away is left away.
        if self.null_encoding_format.is_some() {
            fields.remove("encoding_format");
        }
        let body = Bytes::from(serde_json::to_vec(&fields).map_err(broken)?);
        let text = std::str::from_utf8(&body).unwrap_or_default();
        let read = Fields::read(text)?;
        let (input, input_span) = read.input()?;
        let shape = if texts.is_empty() { Shape::default() } else { Shape::of(input)? };
        let (model_span, open_brace, named) = (read.model_span(), read.open_brace(), read.model()?);
        Ok(Self {
            id: self.id,
            caller: self.caller.clone(),
            model: self.model.clone(),
            user: self.user.clone(),
            shape,
            text_of_arrays: None,
            encoding_format: self.encoding_format,
            dimensions: self.dimensions,
            input_type: self.input_type,
            said: self.said.clone(),
            other_fields: read.others(),
            left_out: read.left_out(),
            open_brace,
            model_span,
            model_in_body: named.map(Arc::from),
            null_encoding_format: None,
            metadata: self.metadata.clone(),
            tags: Vec::new(),
            outcome: self.outcome.clone(),
            entry: self.entry.clone(),
            is_collected: true,
            claim: self.claim.of_part(),
            held: [Held::default(), held],
            input_span,
            body,
        })
    }

    /// The JSON of such a field.
    pub fn value_of(&self, other: &OtherField) -> &str {
        self.body.get(other.value.clone()).and_then(|raw| std::str::from_utf8(raw).ok()).unwrap_or_default()
    }

    /// The body's `input_type`, where it counts and says something that is no [`InputType`].
    pub fn unknown_input_type(&self) -> Option<&str> {
        self.said.input_type.as_deref().filter(|_| self.input_type.is_none())
    }

    /// The token arrays, one for each input; none where it is text.
    pub fn token_arrays(&self) -> Option<Vec<Vec<u32>>> {
        let raw = self.body.get(self.input_span.clone()).and_then(|raw| std::str::from_utf8(raw).ok())?;
        let arrays: Vec<Vec<Token>> =
            serde_json::from_str(raw).or_else(|_| serde_json::from_str(raw).map(|one| vec![one])).ok()?;
        Some(arrays.into_iter().map(|tokens| tokens.into_iter().map(|Token(token)| token).collect()).collect())
    }

    /// The input itself, for those who need more than its measure.
    pub fn input(&self) -> Result<Input<'_>, Refusal> {
        let raw = self.body.get(self.input_span.clone()).and_then(|raw| std::str::from_utf8(raw).ok());
        Input::read(raw.unwrap_or_default(), self.shape)
    }
}

/// What the inputs are: by the header, else by the body, where some providers have words of their own.
fn input_type(headers: &HeaderMap, in_body: Option<&str>) -> Result<Option<InputType>, Refusal> {
    let read = |text: &str| match text {
        "query" | "search_query" => Some(InputType::Query),
        "document" | "search_document" | "passage" => Some(InputType::Document),
        _ => None,
    };
    if let Some(value) = headers.get(&INPUT_TYPE_HEADER) {
        let said = value.to_str().ok().and_then(read);
        return match said {
            Some(said) => Ok(Some(said)),
            None => Err(Refusal::malformed(None, "The header x-vectoll-input-type must be query or document")),
        };
    }
    Ok(in_body.and_then(read))
}

fn is_longer(text: &str, characters: usize) -> bool {
    text.len() > characters && text.chars().count() > characters
}

fn must_be_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_identity) {
        return Err(Refusal::compressed());
    }
    // Nor as a framing: `Transfer-Encoding: gzip, chunked`.
    let codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_plain = |coding: &[u8]| {
        let coding = coding.trim_ascii();
        coding.eq_ignore_ascii_case(b"chunked") || coding.eq_ignore_ascii_case(b"identity")
    };
    if !codings.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).all(is_plain) {
        return Err(Refusal::compressed());
    }
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case("application/json")
        || essence.rsplit_once('+').is_some_and(|(_, suffix)| suffix.eq_ignore_ascii_case("json"));
    if is_json { Ok(()) } else { Err(Refusal::not_json()) }
}

fn user_too_long() -> Refusal {
    Refusal::malformed(Some("user"), format!("`user` is longer than {MAX_USER} characters"))
}

fn owner(caller: &Caller) -> Arc<str> {
    caller.key().owner.clone().unwrap_or_else(|| NOBODY.into())
}

/// The user as far as it is known without the body: the header's, or the owner of a key that calls for nobody else. A header
/// with nothing in it is none.
fn user_in_headers(caller: &Caller, headers: &HeaderMap) -> Result<Option<Arc<str>>, Refusal> {
    match caller.key().user_policy {
        UserPolicy::Owner => return Ok(Some(owner(caller))),
        UserPolicy::Request => {}
    }
    let Some(value) = headers.get(&USER_HEADER).filter(|value| !value.is_empty()) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| Refusal::malformed(Some("user"), "The header x-litellm-user-id is not UTF-8"))?;
    if is_longer(text, MAX_USER) { Err(user_too_long()) } else { Ok(Some(text.into())) }
}

/// The user that a call is booked to: the header's, else the body's, else the key's owner.
fn user(caller: &Caller, in_headers: Option<Arc<str>>, in_body: Option<&str>) -> Result<Arc<str>, Refusal> {
    // Whichever of them counts: both are to be right.
    if in_body.is_some_and(|name| is_longer(name, MAX_USER)) {
        return Err(user_too_long());
    }
    let in_body = in_body.filter(|name| !name.is_empty()).map(Arc::from);
    Ok(in_headers.or(in_body).unwrap_or_else(|| owner(caller)))
}
