//! What a caller says of its call besides, for whoever reads the access log and pays: a JSON object, tags, and whose call it is.
//!
//! It may stand in three headers and three fields of the body. The order in which they count is that of LiteLLM's proxy, as far as it has
//! one; `x-litellm-metadata` is not LiteLLM's.
//!
//! | what | the first of |
//! |---|---|
//! | tags | `tags` in the body; `x-litellm-tags`; `tags` of the metadata |
//! | a field of the metadata | `x-litellm-metadata`; `metadata` in the body; `litellm_metadata` in the body |
//! | `spend_logs_metadata` of the metadata | `x-litellm-spend-logs-metadata`; then as any other |
//! | the user, after the headers and `user` | `user` of `litellm_metadata`; `user_id` of `metadata` |
//!
//! Source: BerriAI/litellm `litellm/proxy/litellm_pre_call_utils.py`: `add_request_tag_to_metadata` (the body's tags replace the header's,
//! and both replace the metadata's), `add_litellm_metadata_from_request_headers` (the header replaces `spend_logs_metadata`) and
//! `add_litellm_data_to_request` (`litellm_metadata` fills what `metadata` lacks; both may be JSON in a string); and
//! `litellm/proxy/auth/auth_utils.py`: `get_end_user_id_from_request_body`.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Fields, Malformed, fields::LiteLlmFields, is_longer};

/// Facts on a call, as a JSON object.
static METADATA_HEADER: HeaderName = HeaderName::from_static("x-litellm-metadata");
/// LiteLLM's header of the same kind.
static SPEND_LOGS_HEADER: HeaderName = HeaderName::from_static("x-litellm-spend-logs-metadata");
/// Tags with commas between them.
static TAGS_HEADER: HeaderName = HeaderName::from_static("x-litellm-tags");
/// Where LiteLLM keeps what that header says.
const SPEND_LOGS_FIELD: &str = "spend_logs_metadata";
/// The longest of these headers and fields, and of what they make together, in bytes.
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// The most tags of a call, and the longest of them in characters.
const MAX_TAGS: usize = 32;
const LONGEST_TAG: usize = 128;

/// What a caller says of its call besides.
#[derive(Clone, Debug)]
pub struct Metadata {
    json: Option<Box<RawValue>>,
    tags: Vec<String>,
    user: Option<String>,
}

/// A JSON object, and where it stood.
struct Source<'a> {
    json: Cow<'a, RawValue>,
    place: Place,
}

/// Where something stands that a caller says.
#[derive(Clone, Copy)]
enum Place {
    Header(&'static str),
    Field(&'static str),
}

/// The fields of a JSON object that have a meaning here.
#[derive(Deserialize)]
struct MetadataFields<'a> {
    #[serde(default, borrow)]
    tags: Option<&'a RawValue>,
    #[serde(default, borrow)]
    user: Option<&'a RawValue>,
    #[serde(default, borrow)]
    user_id: Option<&'a RawValue>,
}

impl Metadata {
    /// Reads what the headers say; none: nothing.
    pub fn of_headers(headers: &HeaderMap) -> Result<Option<Self>, Malformed> {
        Self::read(headers, LiteLlmFields::default())
    }

    /// Reads what headers and body say; none: nothing.
    pub fn of_call(headers: &HeaderMap, fields: &Fields<'_>) -> Result<Option<Self>, Malformed> {
        Self::read(headers, fields.of_litellm())
    }

    fn read(headers: &HeaderMap, body: LiteLlmFields<'_>) -> Result<Option<Self>, Malformed> {
        let spend_logs = Source::of_header(headers, &SPEND_LOGS_HEADER)?;
        let mut sources: Vec<Source<'_>> = Vec::new();
        sources.extend(Source::of_header(headers, &METADATA_HEADER)?);
        sources.extend(Source::of_field("metadata", body.metadata)?);
        sources.extend(Source::of_field("litellm_metadata", body.litellm_metadata)?);
        // All that is said is to be right, whatever of it counts.
        let in_header = tags_in_header(headers)?;
        let in_body = body.tags.map(|json| tags(json, Place::Field("tags"), "")).transpose()?.flatten();
        let (mut in_metadata, mut user) = (None, None);
        for source in &sources {
            let fields = source.fields()?;
            let tags = fields.tags.map(|json| tags(json, source.place, " has `tags` that")).transpose()?.flatten();
            in_metadata = in_metadata.or(tags);
            // The later one goes before the one before it.
            user = match source.place {
                Place::Field("litellm_metadata") => name("litellm_metadata", "user", fields.user)?.or(user),
                Place::Field(field) => name(field, "user_id", fields.user_id)?.or(user),
                Place::Header(_) => user,
            };
        }
        let json = merged(spend_logs.as_ref(), sources)?;
        let said = in_body.or(in_header).or(in_metadata);
        if json.is_none() && said.is_none() {
            return Ok(None);
        }
        Ok(Some(Self { json, tags: said.unwrap_or_default(), user }))
    }

    /// The object: as it came, where it came in one place only.
    pub fn json(&self) -> Option<&RawValue> {
        self.json.as_deref()
    }

    /// Its tags.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// The end user that the body's metadata names.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Its tags that one of these lists has, each once.
    pub fn tags_in(&self, counted: [&BTreeSet<Arc<str>>; 2]) -> Vec<Arc<str>> {
        let counted = |tag: &String| counted.iter().find_map(|tags| tags.get(tag.as_str()).cloned());
        let tags: BTreeSet<Arc<str>> = self.tags.iter().filter_map(counted).collect();
        tags.into_iter().collect()
    }
}

impl Place {
    fn wrong(self, what: &str) -> Malformed {
        match self {
            Self::Header(name) => Malformed::new(None, format!("The header {name}{what}")),
            Self::Field(name) => Malformed::new(Some(name), format!("`{name}`{what}")),
        }
    }
}

impl<'a> Source<'a> {
    fn of_header(headers: &'a HeaderMap, name: &'static HeaderName) -> Result<Option<Self>, Malformed> {
        let Some(value) = headers.get(name) else { return Ok(None) };
        let place = Place::Header(name.as_str());
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| place.wrong(" is not a JSON object"))?;
        let json = serde_json::from_str(text.trim()).map_err(|_| place.wrong(" is not a JSON object"))?;
        Self::checked(Cow::Borrowed(json), place).map(Some)
    }

    /// A field: an object, or one in a string, as forms and some clients write it.
    fn of_field(name: &'static str, json: Option<&'a RawValue>) -> Result<Option<Self>, Malformed> {
        let Some(json) = json else { return Ok(None) };
        let place = Place::Field(name);
        let json = if json.get().starts_with('"') {
            let not_an_object = |_| place.wrong(" must be a JSON object");
            let text: String = serde_json::from_str(json.get()).map_err(not_an_object)?;
            Cow::Owned(serde_json::from_str(&text).map_err(not_an_object)?)
        } else {
            Cow::Borrowed(json)
        };
        Self::checked(json, place).map(Some)
    }

    fn checked(json: Cow<'a, RawValue>, place: Place) -> Result<Self, Malformed> {
        let text = json.get();
        if text.len() > MAX_METADATA_BYTES {
            return Err(place.wrong(&format!(" is longer than {MAX_METADATA_BYTES} bytes")));
        }
        if !text.starts_with('{') {
            return Err(place.wrong(match place {
                Place::Header(_) => " is not a JSON object",
                Place::Field(_) => " must be a JSON object",
            }));
        }
        // Half of a surrogate pair, brackets without end, numbers beyond all numbers: the log's lines must be read by others.
        serde_json::from_str::<serde_json::Value>(text)
            .map_err(|error| place.wrong(&format!(" is JSON that many cannot read ({error})")))?;
        Ok(Self { json, place })
    }

    fn fields(&self) -> Result<MetadataFields<'_>, Malformed> {
        // What was read as an object before is one; a name that stands there twice is not.
        serde_json::from_str(self.json.get())
            .map_err(|_| self.place.wrong(" has `tags`, `user` or `user_id` more than once"))
    }
}

/// The tags of a JSON array; none: `null`.
fn tags(json: &RawValue, place: Place, of: &str) -> Result<Option<Vec<String>>, Malformed> {
    let tags: Option<Vec<String>> = serde_json::from_str(json.get()).map_err(|_| place.wrong(&not_strings(of)))?;
    tags.map(|tags| within_bounds(tags, place)).transpose()
}

fn not_strings(of: &str) -> String {
    if of.is_empty() { " must be an array of strings".to_owned() } else { format!("{of} are not an array of strings") }
}

/// The tags of the header: the white space around them is not theirs, and nothing between two commas is none.
fn tags_in_header(headers: &HeaderMap) -> Result<Option<Vec<String>>, Malformed> {
    let Some(value) = headers.get(&TAGS_HEADER) else { return Ok(None) };
    let place = Place::Header(TAGS_HEADER.as_str());
    if value.len() > MAX_METADATA_BYTES {
        return Err(place.wrong(&format!(" is longer than {MAX_METADATA_BYTES} bytes")));
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| place.wrong(" is not UTF-8"))?;
    let tags: Vec<String> = text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    if tags.is_empty() { Ok(None) } else { within_bounds(tags, place).map(Some) }
}

fn within_bounds(tags: Vec<String>, place: Place) -> Result<Vec<String>, Malformed> {
    if tags.len() > MAX_TAGS || tags.iter().any(|tag| tag.is_empty() || is_longer(tag, LONGEST_TAG)) {
        return Err(place.wrong(&format!(" may have {MAX_TAGS} tags of 1 to {LONGEST_TAG} characters")));
    }
    Ok(tags)
}

/// A user's name in metadata. LiteLLM turns a number into text.
fn name(field: &'static str, of: &str, json: Option<&RawValue>) -> Result<Option<String>, Malformed> {
    let Some(json) = json.map(RawValue::get) else { return Ok(None) };
    match json.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'-' | b'0'..=b'9') => Ok(Some(json.to_owned())),
        Some(b'"') => {
            let text: String = serde_json::from_str(json).unwrap_or_default();
            Ok(Some(text).filter(|text| !text.is_empty()))
        }
        _ => Err(Malformed::new(Some(field), format!("`{field}` has a `{of}` that is not a string"))),
    }
}

/// One object of several: of the fields with one name the first counts.
fn merged(spend_logs: Option<&Source<'_>>, sources: Vec<Source<'_>>) -> Result<Option<Box<RawValue>>, Malformed> {
    if spend_logs.is_none() && sources.len() < 2 {
        return Ok(sources.into_iter().next().map(|source| source.json.into_owned()));
    }
    let broken = |error: serde_json::Error| Malformed::new(None, format!("The call's metadata is not JSON: {error}"));
    let mut all: BTreeMap<Cow<'_, str>, &RawValue> = BTreeMap::new();
    if let Some(spend_logs) = spend_logs {
        all.insert(SPEND_LOGS_FIELD.into(), &spend_logs.json);
    }
    for source in &sources {
        let fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(source.json.get()).map_err(broken)?;
        for (name, value) in fields {
            all.entry(name).or_insert(value);
        }
    }
    let json = to_raw_value(&all).map_err(broken)?;
    if json.get().len() > MAX_METADATA_BYTES {
        let message = format!(
            "The metadata of a call, in its headers and its body together, is longer than {MAX_METADATA_BYTES} bytes"
        );
        return Err(Malformed::new(Some("metadata"), message));
    }
    Ok(Some(json))
}

#[cfg(test)]
mod tests;
