use serde_json::json;

use super::{counts, documents, queries, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{Capabilities, Dialect, ollama::Ollama};

pub(super) fn answer(vectors: &[&str]) -> String {
    let vectors = vectors.join(",");
    format!(
        r#"{{"model":"all-minilm","embeddings":[{vectors}],"total_duration":14143917,"load_duration":1019500,"prompt_eval_count":8}}"#
    )
}

#[test]
fn nothing_is_cut_unless_vectors_are_to_be_shorter() {
    let ollama = Ollama::new();
    assert_eq!(ollama.capabilities("all-minilm"), Capabilities { items: 2048, tokens: None });
    let (path, body) = sent(&ollama, &queries("all-minilm", 1, 128));
    assert_eq!(path, "/api/embed");
    assert_eq!(
        body,
        json!({"model": "all-minilm", "input": ["The food was delicious."], "truncate": false, "dimensions": 128})
    );
    let (_, body) = sent(&ollama, &documents("all-minilm", 1));
    assert_eq!(body, json!({"model": "all-minilm", "input": ["The food was delicious."], "truncate": false}));
}

#[test]
fn vectors_and_tokens_are_read() {
    let ollama = Ollama::new();
    let part = documents("all-minilm", 2);
    tells(
        &ollama,
        &part,
        &answer(&["[0.010071029,-0.0017594862]", "[1,2]"]),
        &[&[0.010_071_029, -0.001_759_486_2], &[1.0, 2.0]],
        Some(8),
    );
    counts(&ollama, &part, &|said| format!(r#"{{"embeddings":[[1],[2]],"prompt_eval_count":{said}}}"#));
    tells(&ollama, &part, r#"{"embeddings":[[1],[2]]}"#, &[&[1.0], &[2.0]], None);
}

#[test]
fn what_is_no_answer_is_refused() {
    refuses_what_is_no_answer(&Ollama::new(), "all-minilm", 2048, &answer);
}
