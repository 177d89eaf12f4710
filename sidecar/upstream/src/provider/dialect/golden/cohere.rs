use serde_json::json;

use super::{counts, documents, queries, refused, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{Capabilities, Dialect, cohere::Cohere};

pub(super) fn answer(vectors: &[&str]) -> String {
    let float = vectors.join(",");
    format!(
        r#"{{"id":"da6e531f","embeddings":{{"float":[{float}]}},"texts":["hello","goodbye"],"meta":{{"api_version":
        {{"version":"2","is_experimental":false}},"billed_units":{{"input_tokens":2}}}},"response_type":"embeddings_by_type"}}"#
    )
}

#[test]
fn texts_are_sent_with_what_they_are_and_never_cut() {
    let cohere = Cohere::new();
    assert_eq!(cohere.capabilities("embed-v4.0"), Capabilities { items: 96, tokens: None });
    let (path, body) = sent(&cohere, &queries("embed-v4.0", 1, 512));
    assert_eq!(path, "/v2/embed");
    assert_eq!(
        body,
        json!({"model": "embed-v4.0", "texts": ["The food was delicious."], "input_type": "search_query",
            "embedding_types": ["float"], "output_dimension": 512, "truncate": "NONE"})
    );
    let (_, body) = sent(&cohere, &documents("embed-english-v3.0", 1));
    assert_eq!(
        body,
        json!({"model": "embed-english-v3.0", "texts": ["The food was delicious."], "input_type": "search_document",
            "embedding_types": ["float"], "truncate": "NONE"})
    );
}

#[test]
fn dimensions_are_only_those_that_a_model_has() {
    let cohere = Cohere::new();
    assert_eq!(
        refused(&cohere, &queries("embed-v4.0", 1, 300)),
        "embed-v4.0 has vectors of 256, 512, 1024, 1536 numbers, not 300"
    );
    assert_eq!(
        refused(&cohere, &queries("embed-multilingual-light-v3.0", 1, 384)),
        "the vectors of embed-multilingual-light-v3.0 have one length only: leave `dimensions` out"
    );
}

#[test]
fn what_was_billed_counts() {
    let cohere = Cohere::new();
    let part = documents("embed-v4.0", 2);
    tells(
        &cohere,
        &part,
        &answer(&["[0.016296387,-0.008354187]", "[1,2]"]),
        &[&[0.016_296_387, -0.008_354_187], &[1.0, 2.0]],
        Some(2),
    );
    let with = |meta: &str| format!(r#"{{"embeddings":{{"float":[[1],[2]]}},"meta":{meta}}}"#);
    counts(&cohere, &part, &|said| with(&format!(r#"{{"billed_units":{{"input_tokens":{said}}}}}"#)));
    for meta in ["null", "{}", r#"{"billed_units":null}"#, r#"{"billed_units":{"images":1}}"#] {
        tells(&cohere, &part, &with(meta), &[&[1.0], &[2.0]], None);
    }
}

#[test]
fn what_is_no_answer_is_refused() {
    refuses_what_is_no_answer(&Cohere::new(), "embed-v4.0", 96, &answer);
}
