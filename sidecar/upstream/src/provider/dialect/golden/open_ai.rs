use serde_json::json;

use super::{counts, defect, documents, queries, refused, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{AnswerDefect, Capabilities, Dialect, open_ai::OpenAi};

const MODEL: &str = "text-embedding-3-small";

pub(super) fn answer(vectors: &[&str]) -> String {
    let data: Vec<String> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| format!(r#"{{"object":"embedding","index":{index},"embedding":{vector}}}"#))
        .collect();
    let data = data.join(",");
    format!(r#"{{"object":"list","data":[{data}],"model":"{MODEL}","usage":{{"prompt_tokens":8,"total_tokens":8}}}}"#)
}

#[test]
fn openai_is_asked_for_base64_and_others_for_nothing_they_may_not_know() {
    let openai = OpenAi::new("/embeddings");
    assert_eq!(openai.capabilities(MODEL), Capabilities { items: 2048, tokens: Some(300_000) });
    let (path, body) = sent(&openai, &queries(MODEL, 2, 256));
    assert_eq!(path, "/embeddings");
    let texts = json!(["The food was delicious.", "Ünïcode \"quoted\"\n"]);
    assert_eq!(body, json!({"model": MODEL, "input": texts, "dimensions": 256, "encoding_format": "base64"}));
    let vllm = OpenAi::compatible("vllm", "/v1/embeddings", 64);
    assert_eq!(vllm.capabilities(MODEL), Capabilities { items: 64, tokens: None });
    let (path, body) = sent(&vllm, &documents(MODEL, 2));
    assert_eq!((path.as_str(), body), ("/v1/embeddings", json!({"model": MODEL, "input": texts})));
}

#[test]
fn the_first_model_has_one_length() {
    let openai = OpenAi::new("/embeddings");
    assert_eq!(
        refused(&openai, &queries("text-embedding-ada-002", 1, 256)),
        "text-embedding-ada-002 has vectors of 1536 numbers, not 256"
    );
    let (_, body) = sent(&openai, &queries("text-embedding-ada-002", 1, 1536));
    assert_eq!(
        body,
        json!({"model": "text-embedding-ada-002", "input": ["The food was delicious."], "encoding_format": "base64"})
    );
}

#[test]
fn floats_and_base64_are_read_alike() {
    let openai = OpenAi::new("/embeddings");
    let part = documents(MODEL, 2);
    tells(&openai, &part, &answer(&["[0.5, -1.0]", "[0, 1e-3]"]), &[&[0.5, -1.0], &[0.0, 0.001]], Some(8));
    // 0.5 and -1 as little-endian floats, with padding and without.
    tells(&openai, &part, &answer(&["\"AAAAPwAAgL8=\"", "\"AAAAPwAAgL8\""]), &[&[0.5, -1.0], &[0.5, -1.0]], Some(8));
}

#[test]
fn the_index_decides_the_order() {
    let openai = OpenAi::new("/embeddings");
    let part = documents(MODEL, 3);
    let body = |indices: [&str; 3]| {
        let [a, b, c] = indices;
        format!(r#"{{"data":[{{{a}"embedding":[1]}},{{{b}"embedding":[2]}},{{{c}"embedding":[3]}}]}}"#)
    };
    tells(&openai, &part, &body(["\"index\":2,", "\"index\":0,", "\"index\":1.0,"]), &[&[2.0], &[3.0], &[1.0]], None);
    tells(&openai, &part, &body(["", "", "\"index\":null,"]), &[&[1.0], &[2.0], &[3.0]], None);
    // As Gemini leaves out a zero.
    tells(&openai, &part, &body(["", "\"index\":2,", "\"index\":1,"]), &[&[1.0], &[3.0], &[2.0]], None);
    for wrong in [
        ["\"index\":0,", "\"index\":1,", "\"index\":1,"],
        ["\"index\":1,", "\"index\":2,", "\"index\":3,"],
        ["\"index\":2,", "\"index\":1,", ""],
        ["\"index\":0,", "\"index\":1,", "\"index\":\"2\","],
        ["\"index\":0,", "\"index\":1,", "\"index\":-2,"],
        ["\"index\":0,", "\"index\":1,", "\"index\":2.5,"],
    ] {
        assert_eq!(defect(&openai, &part, &body(wrong)), AnswerDefect::Order, "{wrong:?}");
    }
}

#[test]
fn what_is_no_answer_is_refused() {
    refuses_what_is_no_answer(&OpenAi::new("/embeddings"), MODEL, 2048, &answer);
}

#[test]
fn the_prompts_tokens_count_and_else_the_total() {
    let openai = OpenAi::new("/embeddings");
    let part = documents(MODEL, 1);
    let with = |usage: &str| format!(r#"{{"data":[{{"embedding":[1],"index":0}}],"usage":{usage}}}"#);
    counts(&openai, &part, &|said| with(&format!(r#"{{"prompt_tokens":{said}}}"#)));
    counts(&openai, &part, &|said| with(&format!(r#"{{"prompt_tokens":0,"total_tokens":{said}}}"#)));
    tells(&openai, &part, &with(r#"{"prompt_tokens":3,"total_tokens":9}"#), &[&[1.0]], Some(3));
    tells(&openai, &part, &with("null"), &[&[1.0]], None);
}
