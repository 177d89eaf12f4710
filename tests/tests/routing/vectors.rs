//! Answers whose vectors are not what was asked for, in the very form that was asked for: the caller gets the next backend's, or the
//! same ones put right. Each row is an answer that was seen; who reported it stands beside it.

#![allow(clippy::indexing_slicing, reason = "a test")]

use serde_json::{Value, json};
use vectoll_tests::{
    manifest::PROVIDER_KEY,
    provider::{Options, Provider},
};

use super::{
    answers::{JSON, Scripted, http, scripted},
    world::{GOOD, backend, count, route, start},
};

/// The model at the first backend, and the `data` that it answers two inputs with.
const WRONG: [(&str, &str); 13] = [
    ("comma", r#"[{"embedding":[1.0,2.0,]},{"embedding":[1.0,2.0]}]"#),
    // text-embeddings-inference 644, gbrain 328
    ("nan", r#"[{"embedding":[NaN,2.0]},{"embedding":[1.0,2.0]}]"#),
    ("null", r#"[{"embedding":null},{"embedding":[1.0,2.0]}]"#),
    ("nulls", r#"[{"embedding":[null,null]},{"embedding":[1.0,2.0]}]"#),
    ("empty", r#"[{"embedding":[]},{"embedding":[]}]"#),
    ("huge", r#"[{"embedding":[1e999,2.0]},{"embedding":[1.0,2.0]}]"#),
    ("words", r#"[{"embedding":["a",2.0]},{"embedding":[1.0,2.0]}]"#),
    ("uneven", r#"[{"embedding":[1.0,2.0]},{"embedding":[1.0]}]"#),
    ("twice", r#"[{"index":0,"embedding":[1.0,2.0]},{"index":0,"embedding":[1.0,2.0]}]"#),
    ("other-index", r#"[{"index":1,"embedding":[1.0,2.0]},{"index":2,"embedding":[1.0,2.0]}]"#),
    ("one-is-missing", r#"[{"index":0},{"index":1,"embedding":[1.0,2.0]}]"#),
    ("one-is-base64", r#"[{"embedding":[1.0,2.0]},{"embedding":"AACAPwAAAEA="}]"#),
    ("too-many", r#"[{"embedding":[1.0]},{"embedding":[1.0]},{"embedding":[1.0]}]"#),
];

/// The same where base64 was asked for.
const WRONG_BASE64: [(&str, &str); 3] = [
    ("digits", r#"[{"embedding":"AAC!PwAAAEA="},{"embedding":"AACAPwAAAEA="}]"#),
    ("infinite", r#"[{"embedding":"AACAfwAAAEA="},{"embedding":"AACAPwAAAEA="}]"#),
    ("uneven-base64", r#"[{"embedding":"AACAPw=="},{"embedding":"AACAPwAAAEA="}]"#),
];

/// What is right in another order, or does not say all: `data`, as numbers.
const RIGHT: [(&str, &str); 3] = [
    // pydantic-ai 7284
    ("turned", r#"[{"index":1,"embedding":[3.0,4.0]},{"index":0,"embedding":[1.0,2.0]}]"#),
    // spring-ai 7019: Gemini's first object
    ("no-first-index", r#"[{"embedding":[1.0,2.0]},{"index":1,"embedding":[3.0,4.0]}]"#),
    ("no-index", r#"[{"embedding":[1.0,2.0]},{"embedding":[3.0,4.0]}]"#),
];

/// 20,000 numbers, the last of which is this one.
fn long_vector(last: &str) -> String {
    format!("[{}{last}]", "0.0123456789,".repeat(20_000))
}

fn answer(call: &Value) -> Vec<u8> {
    let model = call["model"].as_str().unwrap_or_default();
    if let Some(last) = model.strip_prefix("long-") {
        let (first, second) = (long_vector("0.5"), long_vector(last));
        let data = format!(r#"[{{"embedding":{first}}},{{"embedding":{second}}}]"#);
        let usage = r#""usage":{"prompt_tokens":4,"total_tokens":4}"#;
        return http(200, &[JSON], format!(r#"{{"data":{data},"model":"m",{usage}}}"#).as_bytes());
    }
    if let Some(kib) = model.strip_prefix("besides-").and_then(|kib| kib.parse::<usize>().ok()) {
        let (besides, data) = ("x".repeat(kib * 1024), r#"[{"embedding":[1.0,2.0]},{"embedding":[3.0,4.0]}]"#);
        let usage = r#""usage":{"prompt_tokens":4,"total_tokens":4}"#;
        return http(200, &[JSON], format!(r#"{{"besides":"{besides}","data":{data},{usage}}}"#).as_bytes());
    }
    let all = WRONG.iter().chain(&WRONG_BASE64).chain(&RIGHT);
    let data = all.copied().find(|(name, _)| *name == model).map_or("[]", |(_, data)| data);
    let whole =
        format!(r#"{{"object":"list","data":{data},"model":"m","usage":{{"prompt_tokens":4,"total_tokens":4}}}}"#);
    http(200, &[JSON], whole.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vectors_that_are_none_are_the_backends_fault_and_the_next_one_serves() -> anyhow::Result<()> {
    let first = Scripted::start(answer).await?;
    let second = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut routes = Vec::new();
    for (model, _) in WRONG.iter().chain(&WRONG_BASE64) {
        let spare = || backend("second", &second, GOOD, json!({"priority": 1}));
        let more = json!({"cooldown": {"failures": 0}, "cache": {}});
        routes.push(route(
            &format!("cached-{model}"),
            vec![scripted("first", &first, model, json!({})), spare()],
            more,
        ));
        let more = json!({"cooldown": {"failures": 0}});
        routes.push(route(model, vec![scripted("first", &first, model, json!({})), spare()], more));
        let spare = vec![scripted("first", &first, model, json!({}))];
        routes.push(route(&format!("only-{model}"), spare, json!({"cooldown": {"failures": 0}})));
    }
    let (pair, caller) = start(routes).await?;
    let inputs = json!(["one two", "three four"]);
    let formats = WRONG.iter().map(|row| (row, "float")).chain(WRONG_BASE64.iter().map(|row| (row, "base64")));
    for ((model, _), format) in formats {
        for model in [(*model).to_owned(), format!("cached-{model}")] {
            let body = json!({"model": model, "input": inputs, "encoding_format": format});
            let answer = caller.post("/v1/embeddings", &body, &[]).await?;
            assert_eq!(answer.status, 200, "{model}: {}", answer.message());
            assert_eq!(answer.json["data"].as_array().map(Vec::len), Some(2), "{model}");
            assert_eq!(answer.header("x-litellm-attempted-fallbacks"), Some("1"), "{model}");
        }
        let body = json!({"model": format!("only-{model}"), "input": inputs, "encoding_format": format});
        let alone = caller.post("/v1/embeddings", &body, &[]).await?;
        assert_eq!(alone.status, 502, "{model}: {}", alone.json);
        assert!(alone.message().contains(&format!("default/only-{model}/first")), "{model}: {}", alone.message());
        // The answer says what it costs, whatever its vectors are.
        assert_eq!(alone.header("x-litellm-response-cost"), Some("0.00000008"), "{model}");
    }
    let metrics = pair.at_rest().await?;
    let rows = WRONG.len() as u64 + WRONG_BASE64.len() as u64;
    assert_eq!(count(&metrics, "vectoll_backend_attempts_total", &[("result", "failed")]), rows * 3);
    assert_eq!(count(&metrics, "vectoll_key_tokens_total", &[]), second.account().charged_tokens + rows * 3 * 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_order_is_put_right_and_an_object_without_an_index_counts_by_its_place() -> anyhow::Result<()> {
    let first = Scripted::start(answer).await?;
    let mut routes = Vec::new();
    for (model, _) in RIGHT {
        routes.push(route(model, vec![scripted("first", &first, model, json!({}))], json!({})));
        routes.push(route(
            &format!("cached-{model}"),
            vec![scripted("first", &first, model, json!({}))],
            json!({"cache": {}}),
        ));
        let batch = json!({"batch": {"maxItems": 2}});
        routes.push(route(&format!("split-{model}"), vec![scripted("first", &first, model, batch)], json!({})));
    }
    let (_pair, caller) = start(routes).await?;
    for (model, _) in RIGHT {
        for (model, inputs) in [
            (model.to_owned(), vec!["one", "two"]),
            (format!("cached-{model}"), vec!["one", "two"]),
            (format!("split-{model}"), vec!["one", "two", "three", "four"]),
        ] {
            for (format, expected) in [
                ("float", [json!([1.0, 2.0]), json!([3.0, 4.0])]),
                ("base64", [json!("AACAPwAAAEA="), json!("AABAQAAAgEA=")]),
            ] {
                let body = json!({"model": model, "input": inputs, "encoding_format": format});
                let answer = caller.post("/v1/embeddings", &body, &[]).await?;
                assert_eq!(answer.status, 200, "{model} {format}: {}", answer.message());
                let found: Vec<Value> = answer.json["data"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|object| {
                        let numbers = object["embedding"].as_array();
                        // As numbers, however they are written.
                        numbers.map_or_else(
                            || object["embedding"].clone(),
                            |numbers| numbers.iter().map(|number| json!(number.as_f64())).collect(),
                        )
                    })
                    .collect();
                let expected: Vec<Value> = expected.iter().cycle().take(inputs.len()).cloned().collect();
                assert_eq!(found, expected, "{model} {format}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_beside_the_vectors_may_be_as_long_in_either_encoding() -> anyhow::Result<()> {
    let first = Scripted::start(answer).await?;
    // Between the bound and the next piece of an answer the pieces decide: what is over all of it is refused however it comes.
    let models = [("besides-900", 200), ("besides-1900", 502)];
    let more = || json!({"cooldown": {"failures": 0}});
    let routes = models.map(|(model, _)| route(model, vec![scripted("first", &first, model, json!({}))], more()));
    let (_pair, caller) = start(routes.into()).await?;
    for (model, status) in models {
        for (format, vector) in [("float", json!([1.0, 2.0])), ("base64", json!("AACAPwAAAEA="))] {
            let body = json!({"model": model, "input": ["one", "two"], "encoding_format": format});
            let answer = caller.post("/v1/embeddings", &body, &[]).await?;
            assert_eq!(answer.status, status, "{model} {format}: {}", answer.message());
            if status == 200 {
                assert_eq!(answer.json["data"][0]["embedding"], vector, "{model} {format}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_that_is_put_together_here_fails_over_as_well() -> anyhow::Result<()> {
    let first = Scripted::start(answer).await?;
    let second = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut routes = Vec::new();
    for (model, more) in [("cached", json!({})), ("split", json!({"batch": {"maxItems": 2}}))] {
        for last in ["null", "0.5"] {
            let backends = vec![
                scripted("first", &first, &format!("long-{last}"), more.clone()),
                backend("second", &second, GOOD, json!({"priority": 1})),
            ];
            let cache = if model == "cached" { json!({"cache": {"maxBytes": 4_194_304}}) } else { json!({}) };
            routes.push(route(&format!("{model}-{last}").replace("0.5", "well"), backends, cache));
        }
    }
    let (_pair, caller) = start(routes).await?;
    for (model, fallbacks, numbers) in [("null", "1", 1_536), ("well", "0", 20_001)] {
        for (kind, texts) in [("cached", vec!["a", "b"]), ("split", vec!["a", "b", "c", "d"])] {
            for format in ["float", "base64"] {
                let inputs: Vec<String> = texts.iter().map(|text| format!("{text} {format}")).collect();
                let model = format!("{kind}-{model}");
                let body = json!({"model": model, "input": inputs, "encoding_format": format});
                let answer = caller.post("/v1/embeddings", &body, &[]).await?;
                assert_eq!(answer.status, 200, "{model} {format}: {}", answer.message());
                assert_eq!(answer.header("x-litellm-attempted-fallbacks"), Some(fallbacks), "{model} {format}");
                if let Some(vector) = answer.json["data"][1]["embedding"].as_array() {
                    assert_eq!(vector.len(), numbers, "{model}");
                }
            }
        }
    }
    Ok(())
}
