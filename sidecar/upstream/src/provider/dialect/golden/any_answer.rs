//! Whatever a provider answers, a dialect says something of it and goes on.

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::Value;

use super::{
    azure_open_ai, bedrock, cohere, documents, gemini, hugging_face, ollama, open_ai, vertex_ai, voyage, watsonx,
};
use crate::provider::dialect::{
    Dialect,
    cohere::Cohere,
    databricks::Databricks,
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

/// Makes an answer from vectors as they stand in it.
type Golden = fn(&[&str]) -> String;

/// Every dialect, with a model and with what it answers.
fn dialects() -> Vec<(Box<dyn Dialect>, &'static str, Golden)> {
    vec![
        (Box::new(OpenAi::new("/embeddings")), "text-embedding-3-small", open_ai::answer),
        (Box::new(azure_open_ai::azure()), "text-embedding-3-small", open_ai::answer),
        (Box::new(Mistral::new()), "mistral-embed", open_ai::answer),
        (Box::new(Jina::new()), "jina-embeddings-v3", open_ai::answer),
        (Box::new(Nvidia::new(64)), "nvidia/nv-embedqa-e5-v5", open_ai::answer),
        (Box::new(Databricks::new(None)), "databricks-bge-large-en", open_ai::answer),
        (Box::new(HuggingFace::new(32)), "bge-m3", hugging_face::embedded),
        (Box::new(SageMaker::new("bge", Container::TextEmbeddingsInference, 32)), "bge", hugging_face::embedded),
        (Box::new(SageMaker::new("bge", Container::OpenAi, 32)), "bge", open_ai::answer),
        (Box::new(Voyage::new()), "voyage-3.5", voyage::answer),
        (Box::new(watsonx::watsonx()), "ibm/slate-125m-english-rtrvr-v2", watsonx::answer),
        (Box::new(bedrock::bedrock(bedrock::TITAN_V1)), "", bedrock::titan),
        (Box::new(bedrock::bedrock(bedrock::TITAN_V2)), "", bedrock::titan),
        (Box::new(bedrock::bedrock(bedrock::COHERE_V3)), "", bedrock::cohere),
        (Box::new(bedrock::bedrock(bedrock::COHERE_V4)), "", bedrock::cohere),
        (Box::new(bedrock::bedrock(bedrock::NOVA)), "", bedrock::nova),
        (Box::new(Cohere::new()), "embed-v4.0", cohere::answer),
        (Box::new(Gemini::new()), "gemini-embedding-001", gemini::answer),
        (Box::new(Ollama::new()), "all-minilm", ollama::answer),
        (Box::new(vertex_ai::vertex_ai()), "text-embedding-005", vertex_ai::answer),
        (Box::new(vertex_ai::vertex_ai()), "gemini-embedding-2", vertex_ai::embedded),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(Value::from("AACAPw==")),
    ];
    let name = prop_oneof![Just("data".to_owned()), Just("embedding".to_owned()), "[a-z_]{1,8}"];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Puts something else in the place of one of a JSON's values.
fn replace(json: &mut Value, at: &mut usize, with: &Value) {
    if *at == 0 {
        *json = with.clone();
    }
    *at = at.wrapping_sub(1);
    match json {
        Value::Array(values) => values.iter_mut().for_each(|value| replace(value, at, with)),
        Value::Object(fields) => fields.values_mut().for_each(|value| replace(value, at, with)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Reads a body with every dialect. What is told has a vector for each text, and only numbers in it.
fn all_read(body: &[u8], headers: &HeaderMap, only: Option<usize>) {
    for (at, (dialect, model, _)) in dialects().into_iter().enumerate() {
        if only.is_some_and(|only| only != at) {
            continue;
        }
        for number in 1..=dialect.capabilities(model).items.min(3) {
            let part = documents(model, number);
            let Ok(told) = dialect.answer(&part, headers, body) else { continue };
            assert_eq!(told.vectors.len(), number);
            for vector in told.vectors {
                assert!(!vector.is_empty() && vector.iter().all(|number| number.is_finite()));
            }
            assert_ne!(told.tokens, Some(0));
        }
    }
}

proptest! {
    #[test]
    fn bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..256)) {
        all_read(&body, &HeaderMap::new(), None);
    }

    #[test]
    fn json_never_panics(json in any_json(), header in prop::collection::vec(0x20..0x7f_u8, 0..24)) {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(&header).unwrap();
        for name in ["x-amzn-bedrock-input-token-count", "x-compute-tokens"] {
            headers.insert(name, value.clone());
        }
        all_read(json.to_string().as_bytes(), &headers, None);
    }

    #[test]
    fn an_answer_with_something_else_in_it_never_panics(at in 0..40_usize, json in any_json(), cut in 0..4096_usize) {
        for (only, (_, _, golden)) in dialects().into_iter().enumerate() {
            let mut answer: Value = serde_json::from_str(&golden(&["[1]", "[2]"])).unwrap();
            replace(&mut answer, &mut at.clone(), &json);
            let body = answer.to_string();
            all_read(body.as_bytes(), &HeaderMap::new(), Some(only));
            let cut = &body.as_bytes()[..cut.min(body.len())];
            all_read(cut, &HeaderMap::new(), Some(only));
        }
    }
}
