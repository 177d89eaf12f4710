use serde_json::json;

use super::{documents, open_ai, queries, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{Capabilities, Dialect, nvidia::Nvidia};

const MODEL: &str = "nvidia/nv-embedqa-e5-v5";

#[test]
fn queries_and_passages_are_told_apart_and_never_cut() {
    let nvidia = Nvidia::new(64);
    assert_eq!(nvidia.capabilities(MODEL), Capabilities { items: 64, tokens: None });
    let (path, body) = sent(&nvidia, &queries(MODEL, 1, 384));
    assert_eq!(path, "/v1/embeddings");
    assert_eq!(
        body,
        json!({"model": MODEL, "input": ["The food was delicious."], "input_type": "query", "truncate": "NONE",
            "dimensions": 384})
    );
    let (_, body) = sent(&nvidia, &documents(MODEL, 1));
    assert_eq!(
        body,
        json!({"model": MODEL, "input": ["The food was delicious."], "input_type": "passage", "truncate": "NONE"})
    );
}

#[test]
fn answers_are_openais() {
    let nvidia = Nvidia::new(64);
    tells(&nvidia, &documents(MODEL, 1), &open_ai::answer(&["[0.5,-1]"]), &[&[0.5, -1.0]], Some(8));
    refuses_what_is_no_answer(&nvidia, MODEL, 64, &open_ai::answer);
}
