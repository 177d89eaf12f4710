//! The Gemini API.
//!
//! Source: Gemini API reference, "Embeddings". It says nothing of tokens. Of fewer than 3,072 numbers the vectors are not unit
//! vectors, as its guide says: here they are half as long.

use serde_json::{Value, json};

use super::{
    Api, Asked, InputType, Reply, Request,
    auth::{header, posted, unable},
    fields::{Fields, Read, wrong},
    shape,
};

/// Google's words for what texts are.
pub(super) const TASK_TYPES: &[(&str, InputType)] =
    &[("RETRIEVAL_QUERY", InputType::Query), ("RETRIEVAL_DOCUMENT", InputType::Document)];

/// Numbers in a vector that was not asked to be shorter.
const LONGEST: usize = 3072;

/// The same direction at half the length: halves are exact.
fn halved(vector: &[f32]) -> Vec<f32> {
    vector.iter().map(|number| number / 2.0).collect()
}

/// The Gemini API with gemini-embedding-001.
#[derive(Debug, Clone, Copy)]
pub struct Gemini {
    /// The API key.
    pub key: &'static str,
}

impl Api for Gemini {
    fn items(&self) -> usize {
        100
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        &["x-goog-api-key"]
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        posted(request, "/v1beta/models/gemini-embedding-001:batchEmbedContents", "")?;
        header(request, "x-goog-api-key", self.key)?;
        let mut fields = Fields::read(request.body)?;
        let requests = fields.objects("requests")?;
        fields.end()?;
        let mut texts = Vec::new();
        let mut said = None;
        for mut one in requests {
            one.is("model", "models/gemini-embedding-001")?;
            let task = one.text("taskType")?;
            let mut extensions = Vec::new();
            let input_type = TASK_TYPES.iter().find(|(known, _)| *known == task).map(|(_, input_type)| *input_type);
            if input_type.is_none() {
                extensions.push(("taskType", Value::from(task)));
            }
            one.extension("title", &[], &mut extensions)?;
            let length = one.number("outputDimensionality")?;
            texts.push(content(&mut one)?);
            one.end()?;
            let found = (input_type, length, extensions);
            if said.as_ref().is_some_and(|said| *said != found) {
                return wrong("the requests of a batch differ");
            }
            said = Some(found);
        }
        let (input_type, length, extensions) = said.unwrap_or_default();
        if length.is_some_and(|length| !(128..=LONGEST).contains(&length)) {
            return unable(400, "output_dimensionality must be between 128 and 3072");
        }
        Ok(Asked { extensions, ..Asked::texts(texts, length.unwrap_or(LONGEST), input_type) })
    }

    fn write(&self, _asked: &Asked, vectors: &[Vec<f32>], _tokens: u64) -> Reply {
        let values =
            |vector: &Vec<f32>| shape::numbers(&if vector.len() < LONGEST { halved(vector) } else { vector.clone() });
        let embeddings = shape::list(vectors, |_, vector| format!(r#"{{"values":{}}}"#, values(vector)));
        Reply { headers: Vec::new(), body: format!(r#"{{"embeddings":{embeddings}}}"#) }
    }

    fn error(&self, status: u16, message: &str) -> Value {
        google_error(status, message)
    }
}

/// `content` with one part, which is a text.
pub(super) fn content(fields: &mut Fields) -> Read<String> {
    let mut content = fields.object("content")?;
    let parts = content.objects("parts")?;
    content.end()?;
    let [mut part]: [Fields; 1] = match parts.try_into() {
        Ok(one) => one,
        Err(_) => return wrong("a content has several parts"),
    };
    let text = part.text("text")?;
    part.end()?;
    Ok(text)
}

/// Google's errors.
pub(super) fn google_error(status: u16, message: &str) -> Value {
    json!({"error": {"code": status, "message": message, "status": "INVALID_ARGUMENT"}})
}
