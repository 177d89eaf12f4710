use serde_json::json;

use super::{counts, documents, queries, refused, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{Capabilities, Dialect, voyage::Voyage};

pub(super) fn answer(vectors: &[&str]) -> String {
    let data: Vec<String> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| format!(r#"{{"object":"embedding","embedding":{vector},"index":{index}}}"#))
        .collect();
    let data = data.join(",");
    format!(r#"{{"object":"list","data":[{data}],"model":"voyage-3.5","usage":{{"total_tokens":10}}}}"#)
}

#[test]
fn all_that_voyage_can_be_told_is_said() {
    let voyage = Voyage::new();
    let (path, body) = sent(&voyage, &queries("voyage-3.5", 1, 2048));
    assert_eq!(path, "/v1/embeddings");
    assert_eq!(
        body,
        json!({"model": "voyage-3.5", "input": ["The food was delicious."], "input_type": "query", "truncation": false,
            "output_dimension": 2048, "output_dtype": "float", "encoding_format": "base64"})
    );
    let (_, body) = sent(&voyage, &documents("voyage-law-2", 1));
    assert_eq!(
        body,
        json!({"model": "voyage-law-2", "input": ["The food was delicious."], "input_type": "document",
            "truncation": false, "output_dtype": "float", "encoding_format": "base64"})
    );
}

#[test]
fn a_request_holds_what_its_model_takes() {
    for (model, tokens) in [
        ("voyage-3.5-lite", 1_000_000),
        ("voyage-4", 320_000),
        ("voyage-3-large", 120_000),
        ("voyage-of-a-later-time", 120_000),
    ] {
        assert_eq!(Voyage::new().capabilities(model), Capabilities { items: 1000, tokens: Some(tokens) }, "{model}");
    }
}

#[test]
fn dimensions_are_only_those_that_a_model_has() {
    let voyage = Voyage::new();
    assert_eq!(
        refused(&voyage, &queries("voyage-3.5", 1, 300)),
        "voyage-3.5 has vectors of 256, 512, 1024, 2048 numbers, not 300"
    );
    assert_eq!(
        refused(&voyage, &queries("voyage-law-2", 1, 512)),
        "the vectors of voyage-law-2 have one length only: leave `dimensions` out"
    );
    // What a model of a later time can do is for Voyage to say.
    let (_, body) = sent(&voyage, &queries("voyage-of-a-later-time", 1, 4096));
    assert_eq!(body["output_dimension"], 4096);
}

#[test]
fn tokens_are_read_and_nonsense_is_not() {
    let voyage = Voyage::new();
    let part = documents("voyage-3.5", 2);
    tells(&voyage, &part, &answer(&["\"AAAAPwAAgL8=\"", "[1,2]"]), &[&[0.5, -1.0], &[1.0, 2.0]], Some(10));
    counts(&voyage, &part, &|said| {
        format!(r#"{{"data":[{{"embedding":[1]}},{{"embedding":[2]}}],"usage":{{"total_tokens":{said}}}}}"#)
    });
    refuses_what_is_no_answer(&voyage, "voyage-3.5", 1000, &answer);
}
