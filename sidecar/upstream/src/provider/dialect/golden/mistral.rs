use serde_json::json;

use super::{documents, open_ai, queries, refused, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{Capabilities, Dialect, mistral::Mistral};

#[test]
fn dimensions_have_their_own_name() {
    let mistral = Mistral::new();
    assert_eq!(mistral.capabilities("codestral-embed"), Capabilities { items: 512, tokens: Some(16_384) });
    let (path, body) = sent(&mistral, &queries("codestral-embed-2505", 1, 3072));
    assert_eq!(path, "/v1/embeddings");
    assert_eq!(
        body,
        json!({"model": "codestral-embed-2505", "input": ["The food was delicious."], "output_dimension": 3072})
    );
}

#[test]
fn dimensions_are_only_those_that_a_model_has() {
    let mistral = Mistral::new();
    assert_eq!(
        refused(&mistral, &queries("mistral-embed", 1, 512)),
        "mistral-embed has vectors of 1024 numbers, not 512"
    );
    for asked in [0, 3073] {
        assert_eq!(
            refused(&mistral, &queries("codestral-embed", 1, asked)),
            format!("codestral-embed has vectors of 1 to 3072 numbers, not {asked}")
        );
    }
    // Its own length goes without saying.
    for part in [documents("mistral-embed", 1), queries("mistral-embed", 1, 1024)] {
        let (_, body) = sent(&mistral, &part);
        assert_eq!(body, json!({"model": "mistral-embed", "input": ["The food was delicious."]}));
    }
}

#[test]
fn answers_are_openais() {
    tells(&Mistral::new(), &documents("mistral-embed", 1), &open_ai::answer(&["[0.5,-1]"]), &[&[0.5, -1.0]], Some(8));
    refuses_what_is_no_answer(&Mistral::new(), "mistral-embed", 512, &open_ai::answer);
}
