use serde_json::json;

use super::{counts, documents, queries, refused, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{
    Capabilities, Dialect,
    watsonx::{Container, Watsonx},
};

const MODEL: &str = "ibm/slate-125m-english-rtrvr-v2";

pub(super) fn watsonx() -> Watsonx {
    Watsonx::new(Container::Project("12ac4cf1-252f-424b-b52d-5cdd9814987f".to_owned()), "2024-10-17")
}

pub(super) fn answer(vectors: &[&str]) -> String {
    let results: Vec<String> = vectors.iter().map(|vector| format!(r#"{{"embedding":{vector}}}"#)).collect();
    format!(
        r#"{{"model_id":"{MODEL}","results":[{}],"created_at":"2024-02-21T17:32:28Z","input_token_count":10}}"#,
        results.join(",")
    )
}

#[test]
fn a_call_belongs_to_a_project_or_a_space() {
    let watsonx = watsonx();
    assert_eq!(watsonx.capabilities(MODEL), Capabilities { items: 1000, tokens: None });
    let (path, body) = sent(&watsonx, &documents(MODEL, 1));
    assert_eq!(path, "/ml/v1/text/embeddings?version=2024-10-17");
    assert_eq!(
        body,
        json!({"model_id": MODEL, "inputs": ["The food was delicious."],
            "project_id": "12ac4cf1-252f-424b-b52d-5cdd9814987f"})
    );
    let (_, body) = sent(&Watsonx::new(Container::Space("a".to_owned()), "2024-10-17"), &documents(MODEL, 1));
    assert_eq!(body, json!({"model_id": MODEL, "inputs": ["The food was delicious."], "space_id": "a"}));
}

#[test]
fn there_are_no_dimensions() {
    assert_eq!(
        refused(&watsonx(), &queries(MODEL, 1, 512)),
        "the vectors of ibm/slate-125m-english-rtrvr-v2 have one length only: leave `dimensions` out"
    );
}

#[test]
fn vectors_and_tokens_are_read_and_nonsense_is_not() {
    let part = documents(MODEL, 2);
    tells(
        &watsonx(),
        &part,
        &answer(&["[-0.006929283,0.5]", "[1,2]"]),
        &[&[-0.006_929_283, 0.5], &[1.0, 2.0]],
        Some(10),
    );
    counts(&watsonx(), &part, &|said| {
        format!(r#"{{"results":[{{"embedding":[1]}},{{"embedding":[2]}}],"input_token_count":{said}}}"#)
    });
    refuses_what_is_no_answer(&watsonx(), MODEL, 1000, &answer);
}
