//! Models at endpoints of Amazon `SageMaker`: `POST /endpoints/{endpoint}/invocations`.
//!
//! Source: Amazon `SageMaker` Runtime API reference, `InvokeEndpoint`: the body is the container's own affair. Two shapes are
//! common: that of Hugging Face's Text Embeddings Inference (its source has `/invocations` lead to the route `embed`), and
//! OpenAI's.
//!
//! An error of the container comes as 424 `ModelError`, with the container's own status in `OriginalStatusCode`.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Serialize;

use super::{
    Capabilities, Dialect, ParsedAnswer, Part, Unsupported, Unusable, Wire,
    error_meaning::{Cause, ErrorAnswer, ErrorMeaning},
    extension::Extension,
    read, shape, tei,
};

/// What the container speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Container {
    /// Text Embeddings Inference: `{"inputs": […]}` → a list of vectors.
    #[default]
    TextEmbeddingsInference,
    /// OpenAI's shape.
    OpenAi,
}

/// An endpoint.
#[derive(Clone, Debug)]
pub struct SageMaker {
    path: String,
    container: Container,
    items: usize,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
}

impl SageMaker {
    /// The root is the region's: `https://runtime.sagemaker.{region}.amazonaws.com`. `items` is what the container takes in a
    /// request.
    pub fn new(endpoint: &str, container: Container, items: usize) -> Self {
        Self { path: format!("/endpoints/{}/invocations", read::segment(endpoint)), container, items }
    }
}

impl Dialect for SageMaker {
    fn name(&self) -> &'static str {
        "aws.sagemaker"
    }

    fn capabilities(&self, _model: &str) -> Capabilities {
        Capabilities { items: self.items, tokens: None }
    }

    fn extensions(&self, _model: &str) -> &'static [Extension] {
        match self.container {
            Container::TextEmbeddingsInference => tei::EXTENSIONS,
            // Which server it is that follows OpenAI nobody knows.
            Container::OpenAi => &[],
        }
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        let Part { model, texts, dimensions, .. } = *part;
        let path = self.path.clone();
        Ok(match self.container {
            Container::TextEmbeddingsInference => read::wire(path, &tei::Request::new(part)),
            Container::OpenAi => read::wire(path, &Request { model, input: texts, dimensions }),
        })
    }

    fn answer(&self, part: &Part<'_>, headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        match self.container {
            Container::TextEmbeddingsInference => tei::answer(part, headers, body),
            Container::OpenAi => shape::answer(part, body),
        }
    }

    fn meaning(&self, answer: ErrorAnswer<'_>) -> ErrorMeaning {
        match answer.of_container() {
            Some(status) => {
                let meaning = answer.as_if(status).meaning();
                match meaning.cause {
                    // SageMaker itself took the route's credential and found the endpoint: these are of what is behind it.
                    Cause::Credential | Cause::Denied | Cause::Model => {
                        ErrorMeaning { cause: Cause::Backend, ..meaning }
                    }
                    Cause::Caller | Cause::Throttled(_) | Cause::Backend => meaning,
                }
            }
            None => answer.meaning(),
        }
    }
}
