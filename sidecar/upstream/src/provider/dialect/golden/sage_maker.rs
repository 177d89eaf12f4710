use serde_json::json;

use super::{documents, hugging_face, open_ai, queries, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{
    Capabilities, Dialect,
    sage_maker::{Container, SageMaker},
};

#[test]
fn a_container_is_spoken_to_in_its_own_shape() {
    let tei = SageMaker::new("bge-m3", Container::TextEmbeddingsInference, 32);
    assert_eq!(tei.capabilities("bge-m3"), Capabilities { items: 32, tokens: None });
    let (path, body) = sent(&tei, &documents("bge-m3", 1));
    assert_eq!(path, "/endpoints/bge-m3/invocations");
    assert_eq!(body, json!({"inputs": ["The food was delicious."], "truncate": false}));
    let (_, body) = sent(&tei, &queries("bge-m3", 1, 256));
    assert_eq!(body, json!({"inputs": ["The food was delicious."], "truncate": false, "dimensions": 256}));

    let openai = SageMaker::new("bge-m3", Container::OpenAi, 64);
    let (path, body) = sent(&openai, &queries("bge-m3", 1, 256));
    assert_eq!(path, "/endpoints/bge-m3/invocations");
    assert_eq!(body, json!({"model": "bge-m3", "input": ["The food was delicious."], "dimensions": 256}));
}

#[test]
fn it_answers_in_its_own_shape() {
    let tei = SageMaker::new("bge-m3", Container::TextEmbeddingsInference, 32);
    tells(&tei, &documents("bge-m3", 2), "[[0.5],[-1.0]]", &[&[0.5], &[-1.0]], None);
    refuses_what_is_no_answer(&tei, "bge-m3", 32, &hugging_face::embedded);
    let openai = SageMaker::new("bge-m3", Container::OpenAi, 64);
    tells(&openai, &documents("bge-m3", 1), &open_ai::answer(&["[0.5,-1]"]), &[&[0.5, -1.0]], Some(8));
    refuses_what_is_no_answer(&openai, "bge-m3", 64, &open_ai::answer);
}
