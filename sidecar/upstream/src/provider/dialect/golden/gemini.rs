use serde_json::json;

use super::{counts, documents, queries, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{Capabilities, Dialect, gemini::Gemini};

pub(super) fn answer(vectors: &[&str]) -> String {
    let embeddings: Vec<String> = vectors.iter().map(|vector| format!("{{\"values\": {vector}}}")).collect();
    format!(r#"{{"embeddings": [{}]}}"#, embeddings.join(","))
}

#[test]
fn each_text_is_a_request_of_its_own() {
    let gemini = Gemini::new();
    assert_eq!(gemini.capabilities("gemini-embedding-001"), Capabilities { items: 100, tokens: None });
    for model in ["gemini-embedding-001", "models/gemini-embedding-001"] {
        let (path, body) = sent(&gemini, &queries(model, 2, 768));
        assert_eq!(path, "/v1beta/models/gemini-embedding-001:batchEmbedContents");
        let request = |text: &str| {
            json!({"model": "models/gemini-embedding-001", "content": {"parts": [{"text": text}]},
                "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 768})
        };
        assert_eq!(body, json!({"requests": [request("The food was delicious."), request("Ünïcode \"quoted\"\n")]}));
    }
    let (_, body) = sent(&gemini, &documents("gemini-embedding-001", 1));
    assert_eq!(body["requests"][0]["taskType"], "RETRIEVAL_DOCUMENT");
    assert_eq!(body["requests"][0].get("outputDimensionality"), None);
    let (path, body) = sent(&gemini, &documents("gemini-embedding-2", 1));
    assert_eq!(path, "/v1beta/models/gemini-embedding-2:batchEmbedContents");
    assert_eq!(
        body,
        json!({"requests": [
            {"model": "models/gemini-embedding-2", "content": {"parts": [{"text": "The food was delicious."}]}}]})
    );
}

#[test]
fn tokens_are_read_where_they_are_said() {
    let gemini = Gemini::new();
    let part = documents("gemini-embedding-2", 2);
    tells(&gemini, &part, &answer(&["[-0.002, 0.5]", "[1,2]"]), &[&[-0.002, 0.5], &[1.0, 2.0]], None);
    counts(&gemini, &part, &|said| {
        format!(
            r#"{{"embeddings":[{{"values":[1]}},{{"values":[2]}}],"usageMetadata":{{"promptTokenCount":{said},
            "promptTokenDetails":[{{"modality":"TEXT","tokenCount":8}}]}}}}"#
        )
    });
}

#[test]
fn what_is_no_answer_is_refused() {
    refuses_what_is_no_answer(&Gemini::new(), "gemini-embedding-2", 100, &answer);
}

#[test]
fn shorter_vectors_of_the_first_model_are_made_unit_vectors() {
    let gemini = Gemini::new();
    let body = answer(&["[3,-4]", "[0,-0.0]"]);
    for model in ["gemini-embedding-001", "models/gemini-embedding-001"] {
        tells(&gemini, &documents(model, 2), &body, &[&[0.6, -0.8], &[0.0, -0.0]], None);
    }
    tells(&gemini, &documents("gemini-embedding-2", 2), &body, &[&[3.0, -4.0], &[0.0, -0.0]], None);
    // Tiny and huge ones, whose squares no 32-bit float holds.
    let scaled = |power| format!("{:?}", [3.0 * 2_f32.powi(power), 4.0 * 2_f32.powi(power)]);
    let extreme = answer(&[&scaled(-100), &scaled(100)]);
    tells(&gemini, &documents("gemini-embedding-001", 2), &extreme, &[&[0.6, 0.8], &[0.6, 0.8]], None);
    let full = vec![0.5_f32; 3072];
    let body = answer(&[&serde_json::to_string(&full).unwrap()]);
    tells(&gemini, &documents("gemini-embedding-001", 1), &body, &[&full], None);
}
