use serde_json::json;

use super::{documents, open_ai, queries, refused, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{Capabilities, Dialect, jina::Jina};

#[test]
fn models_with_tasks_are_told_theirs() {
    let jina = Jina::new();
    assert_eq!(jina.capabilities("jina-embeddings-v3"), Capabilities { items: 2048, tokens: None });
    assert_eq!(jina.capabilities("jina-embeddings-v4"), Capabilities { items: 512, tokens: None });
    for model in ["jina-embeddings-v3", "jina-embeddings-v4", "jina-embeddings-v5-text-small"] {
        let (path, body) = sent(&jina, &queries(model, 1, 256));
        assert_eq!(path, "/v1/embeddings");
        assert_eq!(
            body,
            json!({"model": model, "input": ["The food was delicious."], "task": "retrieval.query", "dimensions": 256,
                "truncate": false})
        );
        let (_, body) = sent(&jina, &documents(model, 1));
        assert_eq!(
            body,
            json!({"model": model, "input": ["The food was delicious."], "task": "retrieval.passage",
                "truncate": false})
        );
    }
    for model in ["jina-embeddings-v2-base-en", "jina-clip-v2", "jina-code-embeddings-1.5b"] {
        let (_, body) = sent(&jina, &documents(model, 1));
        assert_eq!(body, json!({"model": model, "input": ["The food was delicious."], "truncate": false}));
    }
}

#[test]
fn the_second_models_have_one_length() {
    assert_eq!(
        refused(&Jina::new(), &queries("jina-embeddings-v2-base-de", 1, 256)),
        "the vectors of jina-embeddings-v2-base-de have one length only: leave `dimensions` out"
    );
}

#[test]
fn answers_are_openais() {
    let part = documents("jina-embeddings-v3", 1);
    tells(&Jina::new(), &part, &open_ai::answer(&["[0.5,-1]"]), &[&[0.5, -1.0]], Some(8));
    refuses_what_is_no_answer(&Jina::new(), "jina-embeddings-v3", 2048, &open_ai::answer);
}
