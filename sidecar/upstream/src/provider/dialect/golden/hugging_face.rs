use http::{HeaderMap, HeaderValue};
use serde_json::json;

use super::{documents, queries, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{
    AnswerDefect, Capabilities, Dialect, ParsedAnswer, Unusable,
    hugging_face::{HuggingFace, ITEMS},
};

const MODEL: &str = "BAAI/bge-m3";

/// What the route `embed` answers.
pub(super) fn embedded(vectors: &[&str]) -> String {
    format!("[{}]", vectors.join(","))
}

#[test]
fn the_servers_own_route_never_cuts() {
    let tei = HuggingFace::new(ITEMS);
    assert_eq!(tei.capabilities(MODEL), Capabilities { items: 32, tokens: None });
    let (path, body) = sent(&tei, &queries(MODEL, 1, 256));
    assert_eq!(path, "/embed");
    assert_eq!(body, json!({"inputs": ["The food was delicious."], "truncate": false, "dimensions": 256}));
    let (_, body) = sent(&tei, &documents(MODEL, 1));
    assert_eq!(body, json!({"inputs": ["The food was delicious."], "truncate": false}));
}

#[test]
fn tokens_stand_in_a_header() {
    let tei = HuggingFace::new(ITEMS);
    let part = documents(MODEL, 2);
    for (said, tokens) in [("12", Some(12)), ("0", None), ("-1", None), ("many", None), ("4294967296", None)] {
        let headers: HeaderMap =
            [("x-compute-tokens".parse().unwrap(), HeaderValue::from_static(said))].into_iter().collect();
        let told = tei.answer(&part, &headers, b"[[0.5],[-1.0]]");
        assert_eq!(told, Ok(ParsedAnswer { vectors: vec![vec![0.5], vec![-1.0]], tokens }), "{said}");
        for (body, defect) in [
            ("[[0.5]]", AnswerDefect::Number),
            ("[[0.5],[null]]", AnswerDefect::Vector),
            ("<html>", AnswerDefect::Shape),
        ] {
            let unusable = tei.answer(&part, &headers, body.as_bytes());
            assert_eq!(unusable, Err(Unusable { defect, tokens }), "{said}: {body}");
        }
    }
    tells(&tei, &part, "[[0.5],[-1.0]]", &[&[0.5], &[-1.0]], None);
    refuses_what_is_no_answer(&tei, MODEL, ITEMS, &embedded);
}
