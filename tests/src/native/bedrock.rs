//! Amazon Bedrock: `InvokeModel` for its embedding models.
//!
//! Source: Amazon Bedrock API reference, `InvokeModel`; user guide, "Amazon Titan Embeddings models", "Cohere Embed"; Amazon
//! Nova user guide, "Complete embeddings request and response schema".

use serde_json::{Value, json};

use super::{
    AccessKey, Api, Asked, InputType, Reply, Request, TemporaryKeys,
    auth::{bearer, posted},
    cohere::INPUT_TYPES,
    fields::{Fields, Read, wrong},
    shape, sigv4,
};

/// A model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// `amazon.titan-embed-text-v1`.
    TitanV1,
    /// `amazon.titan-embed-text-v2:0`.
    TitanV2,
    /// The same behind an application inference profile.
    TitanV2ByProfile,
    /// `cohere.embed-multilingual-v3`.
    CohereV3,
    /// `cohere.embed-v4:0`, by a cross-region profile.
    CohereV4,
    /// `amazon.nova-2-multimodal-embeddings-v1:0`.
    Nova,
}

/// Who may call.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Whoever signs with this key.
    Signed(AccessKey<'static>),
    /// Whoever signs with temporary keys.
    Issued {
        /// Those who gave them out.
        keys: TemporaryKeys,
        /// Where they are good.
        region: &'static str,
    },
    /// Whoever has this API key.
    ApiKey(&'static str),
}

/// A region of Bedrock with one model.
#[derive(Debug, Clone)]
pub struct Bedrock {
    /// The model.
    pub model: Model,
    /// Who may call.
    pub caller: Caller,
}

impl Model {
    /// Its ID.
    pub fn id(self) -> &'static str {
        match self {
            Self::TitanV1 => "amazon.titan-embed-text-v1",
            Self::TitanV2 => "amazon.titan-embed-text-v2:0",
            Self::TitanV2ByProfile => {
                "arn:aws:bedrock:eu-central-1:111122223333:application-inference-profile/a1b2c3d4e5f6"
            }
            Self::CohereV3 => "cohere.embed-multilingual-v3",
            Self::CohereV4 => "us.cohere.embed-v4:0",
            Self::Nova => "amazon.nova-2-multimodal-embeddings-v1:0",
        }
    }

    fn read(self, body: &[u8]) -> Read<Asked> {
        let mut fields = Fields::read(body)?;
        let asked = match self {
            Self::TitanV1 => Asked::texts(vec![fields.text("inputText")?], 1536, None),
            Self::TitanV2 | Self::TitanV2ByProfile => {
                let text = fields.text("inputText")?;
                fields.is("normalize", true)?;
                Asked::texts(vec![text], length(&mut fields, "dimensions", &[256, 512, 1024], 1024)?, None)
            }
            Self::CohereV3 | Self::CohereV4 => {
                let texts = fields.texts("texts")?;
                let input_type = fields.word("input_type", INPUT_TYPES)?;
                fields.is("embedding_types", json!(["float"]))?;
                fields.is("truncate", "NONE")?;
                let length = if self == Self::CohereV3 {
                    1024
                } else {
                    length(&mut fields, "output_dimension", &[256, 512, 1024, 1536], 1536)?
                };
                Asked::texts(texts, length, Some(input_type))
            }
            Self::Nova => {
                fields.is("taskType", "SINGLE_EMBEDDING")?;
                let mut params = fields.object("singleEmbeddingParams")?;
                let purposes = [("TEXT_RETRIEVAL", InputType::Query), ("GENERIC_INDEX", InputType::Document)];
                let input_type = params.word("embeddingPurpose", &purposes)?;
                let length = length(&mut params, "embeddingDimension", &[256, 384, 1024, 3072], 3072)?;
                let mut text = params.object("text")?;
                text.is("truncationMode", "NONE")?;
                let value = text.text("value")?;
                text.end()?;
                params.end()?;
                Asked::texts(vec![value], length, Some(input_type))
            }
        };
        fields.end()?;
        Ok(asked)
    }
}

fn length(fields: &mut Fields, name: &str, possible: &[usize], usual: usize) -> Read<usize> {
    let length = fields.number(name)?.unwrap_or(usual);
    if possible.contains(&length) { Ok(length) } else { wrong(format!("{name} is {length}")) }
}

impl Api for Bedrock {
    fn items(&self) -> usize {
        match self.model {
            Model::TitanV1 | Model::TitanV2 | Model::TitanV2ByProfile | Model::Nova => 1,
            Model::CohereV3 | Model::CohereV4 => 96,
        }
    }

    fn credential_headers(&self) -> &'static [&'static str] {
        match &self.caller {
            Caller::Signed(_) | Caller::Issued { .. } => sigv4::HEADERS,
            Caller::ApiKey(_) => &["authorization"],
        }
    }

    fn read(&self, request: &Request<'_>) -> Read<Asked> {
        // As AWS's own SDKs send it.
        posted(request, &format!("/model/{}/invoke", self.model.id().replace(':', "%3A").replace('/', "%2F")), "")?;
        match &self.caller {
            Caller::Signed(key) => key.check(request)?,
            Caller::Issued { keys, region } => keys.check(request, region, "bedrock")?,
            Caller::ApiKey(key) => bearer(request, key)?,
        }
        self.model.read(request.body)
    }

    fn write(&self, _asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply {
        let in_header = vec![("x-amzn-bedrock-input-token-count", tokens.to_string())];
        // One that is missing is an empty one: there is a vector in every answer.
        let first = || vectors.first().map_or_else(|| "[]".to_owned(), |vector| shape::numbers(vector));
        let all = || shape::plain(vectors);
        match self.model {
            Model::TitanV1 => {
                let body = format!(r#"{{"embedding":{},"inputTextTokenCount":{tokens}}}"#, first());
                Reply { headers: Vec::new(), body }
            }
            Model::TitanV2 | Model::TitanV2ByProfile => {
                let body = format!(
                    r#"{{"embedding":{one},"embeddingsByType":{{"float":{one}}},"inputTextTokenCount":{tokens}}}"#,
                    one = first()
                );
                Reply { headers: Vec::new(), body }
            }
            Model::CohereV3 | Model::CohereV4 => {
                let body = format!(
                    r#"{{"id":"a","texts":[],"embeddings":{{"float":{}}},"response_type":"embeddings_by_type"}}"#,
                    all()
                );
                Reply { headers: in_header, body }
            }
            Model::Nova => {
                let body = format!(r#"{{"embeddings":[{{"embeddingType":"TEXT","embedding":{}}}]}}"#, first());
                Reply { headers: in_header, body }
            }
        }
    }

    fn error(&self, _status: u16, message: &str) -> Value {
        json!({"message": message})
    }

    fn outdated(&self) -> u16 {
        403
    }
}
