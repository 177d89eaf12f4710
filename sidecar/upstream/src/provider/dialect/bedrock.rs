//! Amazon Bedrock's embedding models: `POST /model/{modelId}/invoke`.
//!
//! Source: Amazon Bedrock API reference, `InvokeModel`; the bodies are each model family's own. The tokens stand in the
//! answer's body, or else in the header `X-Amzn-Bedrock-Input-Token-Count`, where Cohere's official SDK reads them.
//!
//! The model's ID stands in the path percent-encoded once, `:` included (`amazon.titan-embed-text-v2%3A0`), as in AWS's own
//! SDKs (`aws-smithy-http`, `label`); an ARN likewise, its `/` included (`%2F`). That is the path that is sent. What is signed by Signature Version 4 is the path encoded
//! once more, as for every service but S3 (`%253A`).

mod cohere;
mod nova;
mod titan;

use http::HeaderMap;

use super::{
    Capabilities, Dialect, ParsedAnswer, Part, Unsupported, Unusable, Wire,
    error_meaning::{Cause, ErrorAnswer, ErrorMeaning},
    extension::Extension,
    read,
};

/// The input tokens that a call is billed for.
const TOKENS: &str = "x-amzn-bedrock-input-token-count";

/// What Bedrock says, as a `ValidationException`, of a model that it does not have, or not to be called so. Amazon Bedrock user guide,
/// "Troubleshooting", and re:Post, "How do I resolve the `ValidationException` error in Amazon Bedrock?".
const NO_MODEL: [&str; 2] = ["The provided model identifier is invalid", "on-demand throughput isn"];

/// The models that are known, by what their IDs begin with, and how each is spoken to.
const MODELS: [(&str, Family); 6] = [
    ("amazon.titan-embed-text-v1", Family::TitanV1),
    ("amazon.titan-embed-text-v2", Family::TitanV2),
    ("amazon.nova-2-multimodal-embeddings-v1", Family::Nova),
    ("cohere.embed-english-v3", Family::CohereV3),
    ("cohere.embed-multilingual-v3", Family::CohereV3),
    ("cohere.embed-v4", Family::CohereV4),
];

/// Fields that callers may set, by family.
pub(super) const EXTENSIONS: &[&[Extension]] =
    &[titan::EXTENSIONS, cohere::EXTENSIONS_V3, cohere::EXTENSIONS_V4, nova::EXTENSIONS];

/// A model of Bedrock.
#[derive(Clone, Debug)]
pub struct Bedrock {
    model: String,
    family: Family,
    path: String,
}

/// Models that are spoken to alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    TitanV1,
    TitanV2,
    CohereV3,
    CohereV4,
    Nova,
}

/// A model's ID that does not tell how the model is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{model} is not an embedding model of Bedrock that is known: {}, with a cross-region prefix or without",
    known()
)]
pub struct UnknownModel {
    /// The ID.
    pub model: String,
}

/// The known models, for people.
fn known() -> String {
    MODELS.map(|(model, _)| model).join(", ")
}

impl Bedrock {
    /// A model, by its ID, that of a cross-region inference profile (`us.`, `eu.`, `global.`…), or an ARN, beside which the
    /// foundation model's ID stands. The root is the region's: `https://bedrock-runtime.{region}.amazonaws.com`.
    pub fn new(model: &str, foundation_model: Option<&str>) -> Result<Self, UnknownModel> {
        let named = foundation_model.unwrap_or(model);
        let family = family(named).ok_or_else(|| UnknownModel { model: named.to_owned() })?;
        Ok(Self { model: model.to_owned(), family, path: format!("/model/{}/invoke", read::segment(model)) })
    }
}

/// Which family a model belongs to.
fn family(model: &str) -> Option<Family> {
    let find = |id: &str| {
        let is_it =
            |name: &str| id.strip_prefix(name).is_some_and(|version| matches!(version.as_bytes(), [] | [b':', ..]));
        MODELS.iter().find(|(name, _)| is_it(name)).map(|(_, family)| *family)
    };
    // Behind the prefix of a cross-region inference profile: new ones come with new regions.
    let is_region = |prefix: &str| prefix.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let without = model.split_once('.').filter(|(prefix, _)| is_region(prefix));
    find(model).or_else(|| without.and_then(|(_, id)| find(id)))
}

impl Dialect for Bedrock {
    fn name(&self) -> &'static str {
        "aws.bedrock"
    }

    fn capabilities(&self, _model: &str) -> Capabilities {
        let items = match self.family {
            Family::TitanV1 | Family::TitanV2 | Family::Nova => 1,
            Family::CohereV3 | Family::CohereV4 => super::cohere::ITEMS,
        };
        Capabilities { items, tokens: None }
    }

    fn extensions(&self, _model: &str) -> &'static [Extension] {
        match self.family {
            Family::TitanV1 => &[],
            Family::TitanV2 => titan::EXTENSIONS,
            Family::CohereV3 => cohere::EXTENSIONS_V3,
            Family::CohereV4 => cohere::EXTENSIONS_V4,
            Family::Nova => nova::EXTENSIONS,
        }
    }

    fn request(&self, part: &Part<'_>) -> Result<Wire, Unsupported> {
        // The model is the one whose ID is in the path.
        let part = &Part { model: &self.model, ..*part };
        let path = self.path.clone();
        Ok(match self.family {
            Family::TitanV1 => read::wire(path, &titan::request_v1(part)?),
            Family::TitanV2 => read::wire(path, &titan::request_v2(part)?),
            Family::CohereV3 => read::wire(path, &cohere::request_v3(part)?),
            Family::CohereV4 => read::wire(path, &cohere::request_v4(part)?),
            Family::Nova => read::wire(path, &nova::request(part)?),
        })
    }

    fn meaning(&self, answer: ErrorAnswer<'_>) -> ErrorMeaning {
        let words = answer.explanation().0.unwrap_or_default();
        let meaning = answer.meaning();
        let is_of_model = meaning.cause == Cause::Caller && NO_MODEL.iter().any(|begin| words.contains(begin));
        if is_of_model { ErrorMeaning { cause: Cause::Model, ..meaning } } else { meaning }
    }

    fn answer(&self, part: &Part<'_>, headers: &HeaderMap, body: &[u8]) -> Result<ParsedAnswer, Unusable> {
        let answer = match self.family {
            Family::TitanV1 | Family::TitanV2 => titan::answer(part, body),
            Family::CohereV3 | Family::CohereV4 => cohere::answer(part, body),
            Family::Nova => nova::answer(part, body),
        };
        read::or_in_header(answer, headers, TOKENS)
    }
}
