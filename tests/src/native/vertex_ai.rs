//! Vertex AI.
//!
//! Source: Vertex AI reference, "Text embeddings API".

use serde_json::{Value, json};

use super::{
    Api, Asked, Issuer, Reply, Request,
    auth::{bearer, posted, unable},
    fields::{Fields, Read, wrong},
    gemini::{TASK_TYPES, google_error},
    shape,
};
use crate::provider::Item;

/// A project with text-embedding-005.
#[derive(Debug, Clone)]
pub struct VertexAi {
    /// Who may call.
    pub caller: Caller,
    /// The project.
    pub project: &'static str,
    /// The location.
    pub location: &'static str,
}

/// Who may call.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Whoever has this token.
    Token(&'static str),
    /// Whoever has one of these.
    Issued(Issuer),
}

impl Api for VertexAi {
    fn items(&self) -> usize {
        250
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        &["authorization"]
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        let Self { caller, project, location } = self;
        let parent = format!("/v1/projects/{project}/locations/{location}");
        posted(request, &format!("{parent}/publishers/google/models/text-embedding-005:predict"), "")?;
        match caller {
            Caller::Token(token) => bearer(request, token)?,
            Caller::Issued(tokens) => tokens.check(request)?,
        }
        let mut fields = Fields::read(request.body)?;
        let mut texts = Vec::new();
        let mut said = None;
        for mut instance in fields.objects("instances")? {
            texts.push(instance.text("content")?);
            let input_type = instance.word("task_type", TASK_TYPES)?;
            instance.end()?;
            if said.is_some_and(|said| said != input_type) {
                return wrong("the instances differ");
            }
            said = Some(input_type);
        }
        let mut parameters = fields.object("parameters")?;
        parameters.is("autoTruncate", false)?;
        let length = parameters.number("outputDimensionality")?.unwrap_or(768);
        parameters.end()?;
        fields.end()?;
        if length > 768 {
            return unable(400, "outputDimensionality must be at most 768");
        }
        let asked = Asked::texts(texts, length, said);
        if asked.tokens() > 20_000 {
            return unable(400, "the input token count exceeds 20000");
        }
        Ok(asked)
    }

    fn write(&self, asked: &Asked, vectors: &[Vec<f32>], _tokens: u64) -> Reply {
        let predictions = shape::list(vectors, |index, vector| {
            let tokens = asked.items.get(index).map_or(0, Item::tokens);
            format!(
                r#"{{"embeddings":{{"values":{},"statistics":{{"truncated":false,"token_count":{tokens}.0}}}}}}"#,
                shape::numbers(vector)
            )
        });
        let body = json!({"billableCharacterCount": 1}).to_string();
        Reply { headers: Vec::new(), body: format!(r#"{{"predictions":{predictions},"metadata":{body}}}"#) }
    }

    fn error(&self, status: u16, message: &str) -> Value {
        google_error(status, message)
    }
}
