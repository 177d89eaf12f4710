use serde_json::json;

use super::{documents, open_ai, queries, refused, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{Capabilities, Dialect, Part, databricks::Databricks};
use vectoll_api::request::InputType;

const MODEL: &str = "databricks-bge-large-en";
const INSTRUCTION: &str = "Represent this sentence for searching relevant passages:";

#[test]
fn the_model_is_an_endpoint_and_only_queries_are_instructed() {
    let databricks = Databricks::new(Some(INSTRUCTION.to_owned()));
    assert_eq!(databricks.capabilities(MODEL), Capabilities { items: 150, tokens: None });
    let query = Part { input_type: InputType::Query, ..documents(MODEL, 1) };
    let (path, body) = sent(&databricks, &query);
    assert_eq!(path, "/serving-endpoints/databricks-bge-large-en/invocations");
    assert_eq!(body, json!({"input": ["The food was delicious."], "instruction": INSTRUCTION}));
    for (databricks, part) in [(databricks, documents(MODEL, 1)), (Databricks::new(None), query)] {
        let (_, body) = sent(&databricks, &part);
        assert_eq!(body, json!({"input": ["The food was delicious."]}));
    }
}

#[test]
fn there_are_no_dimensions() {
    assert_eq!(
        refused(&Databricks::new(None), &queries(MODEL, 1, 512)),
        "the vectors of databricks-bge-large-en have one length only: leave `dimensions` out"
    );
}

#[test]
fn answers_are_openais() {
    let databricks = Databricks::new(None);
    tells(&databricks, &documents(MODEL, 1), &open_ai::answer(&["[0.5,-1]"]), &[&[0.5, -1.0]], Some(8));
    refuses_what_is_no_answer(&databricks, MODEL, 150, &open_ai::answer);
}
