use serde_json::json;

use super::{counts, documents, queries, read, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{AnswerDefect, Capabilities, Dialect, Unusable, vertex_ai::VertexAi};

const MODELS: &str = "/v1/projects/my-project/locations/us-central1/publishers";

pub(super) fn answer(vectors: &[&str]) -> String {
    let predictions: Vec<String> = vectors
        .iter()
        .map(|vector| {
            format!(r#"{{"embeddings":{{"statistics":{{"truncated":false,"token_count":6.0}},"values":{vector}}}}}"#)
        })
        .collect();
    format!(r#"{{"predictions":[{}],"metadata":{{"billableCharacterCount":33}}}}"#, predictions.join(","))
}

pub(super) fn embedded(vectors: &[&str]) -> String {
    let vector = vectors.first().unwrap();
    format!(
        r#"{{"embedding":{{"values":{vector}}},"usageMetadata":{{"promptTokenCount":6,"totalTokenCount":6}},"truncated":false}}"#
    )
}

pub(super) fn vertex_ai() -> VertexAi {
    VertexAi::new("my-project", "us-central1")
}

#[test]
fn texts_are_instances_with_their_task_and_never_cut() {
    let vertex = vertex_ai();
    assert_eq!(vertex.capabilities("text-embedding-005"), Capabilities { items: 250, tokens: Some(20_000) });
    let (path, body) = sent(&vertex, &queries("text-embedding-005", 2, 256));
    assert_eq!(path, format!("{MODELS}/google/models/text-embedding-005:predict"));
    assert_eq!(
        body,
        json!({"instances": [
                {"content": "The food was delicious.", "task_type": "RETRIEVAL_QUERY"},
                {"content": "Ünïcode \"quoted\"\n", "task_type": "RETRIEVAL_QUERY"}],
            "parameters": {"autoTruncate": false, "outputDimensionality": 256}})
    );
    let (path, body) = sent(&vertex, &documents("textembedding-gecko@003", 1));
    assert_eq!(path, format!("{MODELS}/google/models/textembedding-gecko@003:predict"));
    assert_eq!(
        body,
        json!({"instances": [{"content": "The food was delicious.", "task_type": "RETRIEVAL_DOCUMENT"}],
            "parameters": {"autoTruncate": false}})
    );
}

#[test]
fn the_first_gemini_model_takes_one_instance_and_later_ones_a_content() {
    let vertex = vertex_ai();
    assert_eq!(vertex.capabilities("gemini-embedding-001").items, 1);
    assert_eq!(vertex.capabilities("gemini-embedding-2").items, 1);
    let (path, _) = sent(&vertex, &documents("gemini-embedding-001", 1));
    assert_eq!(path, format!("{MODELS}/google/models/gemini-embedding-001:predict"));
    let content = json!({"parts": [{"text": "The food was delicious."}]});
    let (path, body) = sent(&vertex, &queries("gemini-embedding-2", 1, 768));
    assert_eq!(path, format!("{MODELS}/google/models/gemini-embedding-2:embedContent"));
    assert_eq!(
        body,
        json!({"content": content, "embedContentConfig": {"autoTruncate": false, "outputDimensionality": 768}})
    );
    for model in [
        "intfloat/multilingual-e5-large-instruct-maas",
        "publishers/intfloat/models/multilingual-e5-large-instruct-maas",
    ] {
        let (path, body) = sent(&vertex, &documents(model, 1));
        assert_eq!(path, format!("{MODELS}/intfloat/models/multilingual-e5-large-instruct-maas:embedContent"));
        assert_eq!(body, json!({"content": content, "embedContentConfig": {"autoTruncate": false}}));
    }
}

#[test]
fn token_counts_are_summed_if_each_is_said() {
    let vertex = vertex_ai();
    let part = documents("text-embedding-005", 2);
    tells(&vertex, &part, &answer(&["[0.5,-1]", "[1,2]"]), &[&[0.5, -1.0], &[1.0, 2.0]], Some(12));
    let with = |first: &str, second: &str| {
        format!(
            r#"{{"predictions":[{{"embeddings":{{"values":[1]{first}}}}},{{"embeddings":{{"values":[2]{second}}}}}]}}"#
        )
    };
    let said = r#","statistics":{"token_count":3}"#;
    tells(&vertex, &part, &with(said, said), &[&[1.0], &[2.0]], Some(6));
    for none in ["", r#","statistics":null"#, r#","statistics":{}"#, r#","statistics":{"token_count":-1}"#] {
        tells(&vertex, &part, &with(said, none), &[&[1.0], &[2.0]], None);
    }
    let absurd = r#","statistics":{"token_count":18446744073709551615}"#;
    tells(&vertex, &part, &with(absurd, absurd), &[&[1.0], &[2.0]], None);
    let part = documents("gemini-embedding-2", 1);
    tells(&vertex, &part, &embedded(&["[0.5,-1]"]), &[&[0.5, -1.0]], Some(6));
    counts(&vertex, &part, &|said| {
        format!(r#"{{"embedding":{{"values":[1]}},"usageMetadata":{{"promptTokenCount":{said}}}}}"#)
    });
}

#[test]
fn what_was_cut_is_no_answer() {
    let vertex = vertex_ai();
    for (model, body) in [("text-embedding-005", answer(&["[1]"])), ("gemini-embedding-2", embedded(&["[1]"]))] {
        let body = body.replace("\"truncated\":false", "\"truncated\":true");
        assert_eq!(
            read(&vertex, &documents(model, 1), &body),
            Err(Unusable { defect: AnswerDefect::Truncated, tokens: Some(6) })
        );
    }
}

#[test]
fn shorter_vectors_of_the_first_gemini_model_are_made_unit_vectors() {
    let vertex = vertex_ai();
    tells(&vertex, &documents("gemini-embedding-001", 1), &answer(&["[3,-4]"]), &[&[0.6, -0.8]], Some(6));
    tells(&vertex, &documents("text-embedding-005", 1), &answer(&["[3,-4]"]), &[&[3.0, -4.0]], Some(6));
    tells(&vertex, &documents("gemini-embedding-2", 1), &embedded(&["[3,-4]"]), &[&[3.0, -4.0]], Some(6));
}

#[test]
fn what_is_no_answer_is_refused() {
    refuses_what_is_no_answer(&vertex_ai(), "text-embedding-005", 250, &answer);
    refuses_what_is_no_answer(&vertex_ai(), "gemini-embedding-2", 1, &embedded);
}
