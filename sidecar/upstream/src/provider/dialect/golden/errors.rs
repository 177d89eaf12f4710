//! What each provider's errors mean and cost, by its own pages.

use http::{HeaderMap, StatusCode};

use super::{azure_open_ai, bedrock, vertex_ai, watsonx};
use crate::provider::dialect::{
    Dialect,
    cohere::Cohere,
    databricks::Databricks,
    error_meaning::{Cause, ErrorAnswer},
    gemini::Gemini,
    hugging_face::HuggingFace,
    jina::Jina,
    mistral::Mistral,
    nvidia::Nvidia,
    ollama::Ollama,
    open_ai::OpenAi,
    sage_maker::{Container, SageMaker},
    voyage::Voyage,
};

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

#[test]
fn what_is_free_is_what_the_providers_say() {
    const FREE: [u16; 7] = [401, 403, 404, 405, 413, 415, 429];
    let every: Vec<u16> = (400..600).collect();
    let providers: [(Box<dyn Dialect>, &[u16]); 15] = [
        (Box::new(OpenAi::new("/embeddings")), &[]),
        (Box::new(azure_open_ai::azure()), &[]),
        (Box::new(Cohere::new()), &[]),
        (Box::new(Mistral::new()), &[]),
        (Box::new(Jina::new()), &[]),
        (Box::new(Nvidia::new(64)), &[]),
        (Box::new(Databricks::new(None)), &[]),
        (Box::new(Voyage::new()), &[]),
        (Box::new(Ollama::new()), &[]),
        (Box::new(watsonx::watsonx()), &[]),
        (Box::new(bedrock::bedrock(bedrock::TITAN_V2)), &[]),
        (Box::new(SageMaker::new("bge", Container::OpenAi, 32)), &[]),
        (Box::new(HuggingFace::new(32)), &[400, 422]),
        (Box::new(Gemini::new()), &[400, 500]),
        (Box::new(vertex_ai::vertex_ai()), &every),
    ];
    for (dialect, more) in providers {
        for code in 100..1000 {
            let free = FREE.contains(&code) || more.contains(&code);
            assert_eq!(dialect.is_free(status(code)), free, "{}, {code}", dialect.name());
        }
    }
}

#[test]
fn an_error_of_sage_makers_container_is_judged_by_the_containers_status() {
    let endpoint = SageMaker::new("bge", Container::TextEmbeddingsInference, 32);
    let meaning = |body: &str| {
        let meaning = endpoint.meaning(ErrorAnswer::new(status(424), &HeaderMap::new(), body.as_bytes()));
        (meaning.status.as_u16(), meaning.cause)
    };
    for (original, cause) in [(413, Cause::Caller), (422, Cause::Caller), (424, Cause::Backend), (503, Cause::Backend)]
    {
        let body = format!(
            r#"{{"ErrorCode":"CLIENT_ERROR_FROM_MODEL","OriginalStatusCode":{original},"OriginalMessage":"no"}}"#
        );
        assert_eq!(meaning(&body), (original, cause));
    }
    for none in ["{}", r#"{"OriginalStatusCode":"413"}"#, r#"{"OriginalStatusCode":70000}"#, ""] {
        assert_eq!(meaning(none), (424, Cause::Backend), "{none}");
    }
}
