//! Arbitrary JSON and arbitrary bytes, on arbitrary paths, with arbitrary headers.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "a test"
)]

use std::cell::Cell;

use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use vectoll_tests::{
    manifest::key_value,
    provider::{Item, vector},
    wire::stage,
};

/// Bodies that are nearly calls, JSON of any kind, and bytes of any kind.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let json = prop_oneof![
        Just(json!(null)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,20}".prop_map(|text| json!(text)),
        Just(json!("text-embedding-3-large")),
        any::<bool>().prop_map(|yes| json!(yes)),
    ]
    .prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|all| json!(all)),
            prop::collection::btree_map("[a-z]{0,6}", inner, 0..4).prop_map(|all| json!(all)),
        ]
    });
    let input = prop_oneof![
        json.clone(),
        "\\PC{1,40}".prop_map(|text| json!(text)),
        prop::collection::vec("\\PC{0,10}", 0..5).prop_map(|all| json!(all)),
        prop::collection::vec(any::<u32>(), 0..5).prop_map(|all| json!(all)),
        prop::collection::vec(prop::collection::vec(0_u32..100_300, 0..4), 0..4).prop_map(|all| json!(all)),
    ];
    let model = prop_oneof![
        3 => Just(json!("builtin")),
        3 => Just(json!("text-embedding-3-large")),
        1 => Just(json!("org/model:v1")),
        // A provider elsewhere: the body goes on, spliced; and one whose answer is translated.
        4 => Just(json!("text-embedding-3-small")),
        2 => Just(json!("fault-other-encoding")),
        1 => json.clone(),
    ];
    // Mostly right ones: of three that are anything, hardly a call would be served.
    let dimensions = prop_oneof![4 => (1..300_u32).prop_map(|number| json!(number)), 1 => json.clone()];
    let format = prop_oneof![4 => prop_oneof![Just(json!("float")), Just(json!("base64")), Just(json!(null))], 1 => json.clone()];
    let user = prop_oneof![4 => ".{0,20}".prop_map(|text| json!(text)), 1 => json.clone()];
    let call = (model, input, prop::option::of(dimensions), prop::option::of(format), prop::option::of(user)).prop_map(
        |(model, input, dimensions, format, user)| {
            let mut call = json!({"model": model, "input": input});
            for (field, value) in [("dimensions", dimensions), ("encoding_format", format), ("user", user)] {
                if let Some(value) = value {
                    call[field] = value;
                }
            }
            call.to_string().into_bytes()
        },
    );
    prop_oneof![
        6 => call.clone(),
        2 => json.prop_map(|json| json.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        // A call that is cut off, or has a byte changed.
        2 => (call, any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(|(mut bytes, at, byte, cut)| {
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] = byte;
            }
            bytes
        }),
    ]
}

/// What else a request has: the end of its path, and headers that mean something or do not.
fn surroundings() -> impl Strategy<Value = (String, Vec<(&'static str, Vec<u8>)>)> {
    let model = prop_oneof![
        Just("text-embedding-3-small".to_owned()),
        Just("org%2Fmodel:v1".to_owned()),
        Just("org/model:v1".to_owned()),
        "[a-z%0-9./~-]{1,12}",
    ];
    let path = prop_oneof![
        8 => Just("/v1/embeddings".to_owned()),
        1 => Just("/openai/v1/embeddings?api-version=x".to_owned()),
        1 => model.clone().prop_map(|model| format!("/engines/{model}/embeddings")),
        1 => model.prop_map(|model| format!("/openai/deployments/{model}/embeddings")),
        1 => "/[a-z%0-9./]{0,16}",
    ];
    // What a header can hold: no control characters but the tab.
    let bytes = || prop::collection::vec(prop_oneof![Just(b'\t'), 32..=126_u8, 128..=255_u8], 0..40);
    let metadata = prop_oneof![bytes(), Just(br#"{"tags":["nightly"]}"#.to_vec()), Just(br#"{"a":[{}]}"#.to_vec())];
    let header = prop_oneof![
        metadata.prop_map(|value| ("x-litellm-metadata", value)),
        bytes().prop_map(|value| ("x-litellm-user-id", value)),
        bytes().prop_map(|value| ("traceparent", value)),
        bytes().prop_map(|value| ("content-type", value)),
        bytes().prop_map(|value| ("x-request-id", value)),
    ];
    (path, prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(header, 1..3)])
}

/// A vector as it was sent, in either form.
fn numbers(vector: &Value) -> Option<Vec<f32>> {
    if let Some(text) = vector.as_str() {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        return Some(bytes.as_chunks::<4>().0.iter().copied().map(f32::from_le_bytes).collect());
    }
    vector.as_array()?.iter().map(|number| number.as_f64().map(|number| number as f32)).collect()
}

/// The inputs of a call that was served.
fn items(input: &Value) -> Option<Vec<Item>> {
    let tokens = |array: &Value| -> Option<Vec<u32>> {
        array.as_array()?.iter().map(|token| token.as_f64().map(|token| token as u32)).collect()
    };
    Some(match input {
        Value::String(text) => vec![Item::Text(text.clone())],
        Value::Array(all) if all.first()?.is_number() => vec![Item::Tokens(tokens(input)?)],
        Value::Array(all) => all
            .iter()
            .map(|one| match one {
                Value::String(text) => Some(Item::Text(text.clone())),
                other => tokens(other).map(Item::Tokens),
            })
            .collect::<Option<_>>()?,
        _ => return None,
    })
}

/// What is right about an answer with vectors.
fn check(sent: &Value, answer: &Value, from_provider: bool) -> Result<(), TestCaseError> {
    let items = items(&sent["input"]).ok_or_else(|| TestCaseError::fail(format!("{sent} was served")))?;
    let data = answer["data"].as_array().cloned().unwrap_or_default();
    prop_assert_eq!(data.len(), items.len(), "{} {}", sent, answer);
    let dimensions = sent["dimensions"].as_f64().map(|number| number as usize);
    for (at, (item, of)) in data.iter().zip(&items).enumerate() {
        prop_assert_eq!(item["index"].as_u64(), Some(at as u64));
        prop_assert_eq!(item["embedding"].is_string(), sent["encoding_format"] == "base64", "{}", sent);
        let found = numbers(&item["embedding"]).ok_or_else(|| TestCaseError::fail(format!("{item} is no vector")))?;
        if from_provider {
            prop_assert_eq!(found, vector::of(of, dimensions.unwrap_or(vector::FULL_DIMENSIONS)), "{}", sent);
        } else {
            prop_assert_eq!(found.len(), dimensions.unwrap_or(256), "{}", sent);
            let norm: f32 = found.iter().map(|number| number * number).sum();
            prop_assert!(norm == 0.0 || (norm - 1.0).abs() < 1e-4, "{}: {}", sent, norm);
        }
    }
    Ok(())
}

/// How many requests there are, and how many of them must have been right at least: or nothing was tested. Some 165 are, give or take 13.
const CASES: u32 = 1_500;
const SERVED: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_sent_the_answer_is_right_or_says_what_is_wrong() -> anyhow::Result<()> {
    let (mut pair, provider, caller) = stage(&[]).await?;
    let handle = tokio::runtime::Handle::current();
    let asked = caller.clone();
    let (served, passed_on) = tokio::task::spawn_blocking(move || {
        let (served, passed_on) = (Cell::new(0), Cell::new(0));
        let mut runner =
            TestRunner::new(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() });
        let run = runner.run(&(surroundings(), bodies()), |((path, headers), body)| {
            let answer = handle
                .block_on(asked.raw(|http, base| {
                    let request = http.post(format!("{base}{path}")).bearer_auth(key_value("alice")).body(body.clone());
                    headers.iter().fold(request, |request, (name, value)| request.header(*name, value.as_slice()))
                }))
                .map_err(|error| TestCaseError::fail(format!("{path}: {error:#}")))?;
            let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
            match answer.status {
                200 => {
                    let from_provider = answer.header("x-litellm-model-id") == Some("default/openai/test");
                    served.set(served.get() + 1);
                    passed_on.set(passed_on.get() + usize::from(from_provider));
                    check(&sent, &answer.json, from_provider)?;
                }
                400 | 404 | 415 => {
                    let error = &answer.json["error"];
                    prop_assert_eq!(&error["type"], "invalid_request_error", "{} {}", &sent, &answer.json);
                    prop_assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
                }
                status => prop_assert!(
                    false,
                    "{} for {} {:?} {}: {}",
                    status,
                    path,
                    headers,
                    String::from_utf8_lossy(&body),
                    &answer.json
                ),
            }
            Ok(())
        });
        run.map(|()| (served.get(), passed_on.get()))
    })
    .await??;
    println!("{served} of {CASES} were served, {passed_on} of them by the provider");
    assert!(served >= SERVED && passed_on >= SERVED / 5, "{served} {passed_on}");
    // It is still the same process, and owes nothing.
    assert_eq!(caller.embed("builtin", json!("a")).await?.status, 200);
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.value("vectoll_reserved_tokens", &[]), Some(0.0));
    let charged = metrics.sum("vectoll_model_tokens_total", &[("backend", "default/openai/test")]);
    // Where the provider says 400, and not whether that costs, the call is unsettled.
    let unsettled = metrics.sum("vectoll_unsettled_tokens_total", &[]);
    assert_eq!(charged - unsettled, provider.account().charged_tokens as f64);
    pair.terminate_sidecar().await?;
    assert!(!pair.sidecar_log().contains("panicked"), "{}", pair.sidecar_log());
    Ok(())
}
