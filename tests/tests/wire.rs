//! The wire beyond the usual: paths, methods, hosts, framing, token arrays, the access log, and arbitrary bytes.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::Context;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, builtin, file, key_value, route, team},
    pair::{Pair, Setup},
    provider::{Options, Provider},
};

async fn stage(arguments: &[&str]) -> anyhow::Result<(Pair, Provider, Caller)> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![
        team("search", json!({"tags": ["nightly", "eval", "unused"]})),
        builtin("builtin", &["builtin", "org/model:v1", "text-embedding-3-large"]),
    ];
    all.extend(route("openai", &["text-embedding-3-small", "wild-*", "fault-*"], &provider.url()));
    all.extend(api_key("alice", "search", json!({})));
    all.extend(api_key("reader", "search", json!({"models": ["builtin"]})));
    let setup = Setup { sidecar_arguments: arguments.iter().map(|&one| one.to_owned()).collect(), ..Setup::built()? };
    let pair = Pair::start_with(setup, &[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, provider, caller))
}

/// Sends bytes on a connection of their own, and reads until the other side closes it.
fn exchange(pair: &Pair, bytes: &[u8]) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(pair.base_url().trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
}

/// A call as HTTP/1.1 text, closing the connection.
fn request(headers: &str, body: &str) -> String {
    format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Connection: close\r\n{headers}\r\n{body}",
        key_value("alice")
    )
}

const CALL: &str = r#"{"model":"builtin","input":"hello"}"#;

#[tokio::test]
async fn one_model_is_told_to_those_who_may_use_it() -> anyhow::Result<()> {
    let (_pair, _provider, caller) = stage(&[]).await?;
    let get = async |path: &str, key: &str| {
        caller.raw(|http, base| http.get(format!("{base}{path}")).bearer_auth(key_value(key))).await
    };
    for (path, id) in [
        ("/v1/models/builtin", "builtin"),
        ("/models/org/model:v1", "org/model:v1"),
        ("/v1/models/org%2Fmodel%3Av1", "org/model:v1"),
        ("/openai/v1/models/wild-7", "wild-7"),
    ] {
        let answer = get(path, "alice").await?;
        assert_eq!((answer.status, answer.json["id"].as_str()), (200, Some(id)), "{path}: {:?}", answer.json);
        assert_eq!(answer.json["object"], "model");
    }
    let nowhere = get("/v1/models/gpt-7", "alice").await?;
    assert_eq!((nowhere.status, nowhere.code()), (404, "model_not_found"));
    let forbidden = get("/v1/models/text-embedding-3-small", "reader").await?;
    assert_eq!((forbidden.status, forbidden.code()), (403, "model_not_allowed"));
    let listed = get("/v1/models", "reader").await?;
    let ids: Vec<&str> =
        listed.json["data"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
    assert_eq!(ids, ["builtin"]);
    Ok(())
}

#[tokio::test]
async fn methods_are_what_they_should_be() -> anyhow::Result<()> {
    let (_pair, _provider, caller) = stage(&[]).await?;
    let ask = async |method: &str, path: &str| {
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        caller.raw(|http, base| http.request(method, format!("{base}{path}")).bearer_auth(key_value("alice"))).await
    };
    for (method, path, status, allow) in [
        ("OPTIONS", "/v1/embeddings", 204, Some("POST")),
        ("HEAD", "/v1/embeddings", 405, Some("POST")),
        ("PUT", "/engines/builtin/embeddings", 405, Some("POST")),
        ("OPTIONS", "/v1/models", 204, Some("GET, HEAD")),
        ("HEAD", "/v1/models", 200, None),
        ("DELETE", "/v1/models/builtin", 405, Some("GET, HEAD")),
        ("HEAD", "/health/readiness", 200, None),
    ] {
        let answer = ask(method, path).await?;
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{method} {path}");
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{method} {path}");
    }
    Ok(())
}

#[tokio::test]
async fn web_pages_and_foreign_names_are_kept_out_unless_allowed() -> anyhow::Result<()> {
    let (pair, _provider, caller) =
        stage(&["--allowed-hosts=vectoll,gate", "--allowed-origins=https://tools.example"]).await?;
    let send = async |headers: &[(&str, &str)]| {
        caller.post("/v1/embeddings", &json!({"model": "builtin", "input": "a"}), headers).await
    };
    for (headers, status, code) in [
        (&[("host", "localhost:4000")][..], 200, ""),
        (&[("host", "gate:4000")], 200, ""),
        (&[("host", "evil.example")], 403, "host_not_allowed"),
        (&[("origin", "https://tools.example")], 200, ""),
        (&[("origin", "https://evil.example")], 403, "origin_not_allowed"),
        (&[("origin", "null")], 403, "origin_not_allowed"),
    ] {
        let answer = send(headers).await?;
        assert_eq!((answer.status, answer.code()), (status, code), "{headers:?}: {:?}", answer.json);
    }
    // Also what needs no key.
    let health =
        caller.raw(|http, base| http.get(format!("{base}/health/readiness")).header("host", "evil.example")).await?;
    assert_eq!(health.status, 403);
    assert_eq!(pair.metrics().await?.sum("vectoll_rejections_total", &[("reason", "host_not_allowed")]), 2.0);
    Ok(())
}

#[tokio::test]
async fn bodies_come_in_every_framing_and_compressed_ones_are_refused() -> anyhow::Result<()> {
    let (pair, _provider, caller) = stage(&[]).await?;
    let length = format!("Content-Length: {}\r\n", CALL.len());
    assert_eq!(status(&exchange(&pair, request(&length, CALL).as_bytes())?), 200);
    let chunked = format!("{:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", 5, &CALL[..5], CALL.len() - 5, &CALL[5..]);
    assert_eq!(status(&exchange(&pair, request("Transfer-Encoding: chunked\r\n", &chunked).as_bytes())?), 200);
    // Who asks whether to go on is told so, and then answered.
    let told = exchange(&pair, request(&format!("{length}Expect: 100-continue\r\n"), CALL).as_bytes())?;
    assert!(told.starts_with("HTTP/1.1 100") && told.contains("HTTP/1.1 200"), "{told}");
    // Two calls on one connection, the second before the answer to the first.
    let first = request(&length, CALL).replace("Connection: close\r\n", "");
    let both = exchange(&pair, format!("{first}{}", request(&length, CALL)).as_bytes())?;
    assert_eq!(both.matches("HTTP/1.1 200").count(), 2, "{both}");
    // HTTP/1.0 knows no Host.
    let old = format!("POST /embeddings HTTP/1.0\r\nx-api-key: {}\r\n{length}\r\n{CALL}", key_value("alice"));
    assert_eq!(status(&exchange(&pair, old.as_bytes())?), 200);

    let h2c = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build()?;
    let answer = h2c
        .post(format!("{}/v1/embeddings", pair.base_url()))
        .bearer_auth(key_value("alice"))
        .body(CALL)
        .send()
        .await?;
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));

    for (coding, status) in [("gzip", 415), ("deflate, gzip", 415), ("br", 415), ("identity", 200)] {
        let answer = caller
            .post("/v1/embeddings", &json!({"model": "builtin", "input": "a"}), &[("content-encoding", coding)])
            .await?;
        assert_eq!(answer.status, status, "{coding}");
        assert!(status == 200 || answer.message().starts_with("Compressed bodies are not read"), "{:?}", answer.json);
    }
    // What contradicts itself is no request: nobody guesses where the next one begins.
    let smuggled =
        request(&format!("{length}Transfer-Encoding: chunked\r\n"), "0\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n");
    let answer = exchange(&pair, smuggled.as_bytes())?;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    Ok(())
}

#[tokio::test]
async fn token_arrays_become_text_where_their_encoding_is_known() -> anyhow::Result<()> {
    let (pair, provider, caller) = stage(&[]).await?;
    // "tiktoken is great!" in cl100k_base, by OpenAI's cookbook.
    let tokens = json!([83, 1609, 5963, 374, 2294, 0]);
    let text = caller.embed("text-embedding-3-large", json!("tiktoken is great!")).await?;
    for input in [tokens.clone(), json!([tokens])] {
        let answer = caller.embed("text-embedding-3-large", input).await?;
        assert_eq!((answer.status, answer.vector()), (200, text.vector()), "{:?}", answer.json);
        assert_eq!(answer.tokens(), 6, "who counts in tokens is charged for those");
    }
    let two = caller.embed("text-embedding-3-large", json!([[83, 1609], [374]])).await?;
    assert_eq!(two.json["data"].as_array().map(Vec::len), Some(2));
    let spent = |name: &'static str| {
        let pair = &pair;
        async move { anyhow::Ok(pair.metrics().await?.sum(name, &[])) }
    };
    let before = spent("vectoll_key_tokens_total").await?;
    for (model, input, words) in [
        ("builtin", json!([1, 2]), "nobody knows which encoding"),
        ("text-embedding-3-large", json!([100_257]), "tokens that are no text"),
        ("text-embedding-3-large", json!([4_000_000_000_u32]), "tokens that are no text"),
    ] {
        let answer = caller.embed(model, input).await?;
        assert_eq!(answer.status, 400, "{:?}", answer.json);
        assert!(
            answer.message().starts_with("Invalid input format") && answer.message().contains(words),
            "{:?}",
            answer.json
        );
    }
    assert_eq!(spent("vectoll_key_tokens_total").await?, before, "what was refused costs nothing");
    assert_eq!(spent("vectoll_reserved_tokens").await?, 0.0);
    // A provider that takes tokens gets them as they came.
    assert_eq!(caller.embed("text-embedding-3-small", tokens).await?.status, 200);
    assert_eq!(provider.account().requests, 1);
    Ok(())
}

#[tokio::test]
async fn vectors_come_in_the_encoding_that_was_asked_for_whatever_the_provider_does() -> anyhow::Result<()> {
    let (pair, provider, caller) = stage(&[]).await?;
    let texts = |number: usize| (0..number).map(|at| format!("text {at}")).collect::<Vec<_>>();
    for number in [1, 3, 300] {
        for format in ["float", "base64"] {
            let body = |model: &str| json!({"model": model, "input": texts(number), "encoding_format": format});
            let right = caller.post("/v1/embeddings", &body("text-embedding-3-small"), &[]).await?;
            let translated = caller.post("/v1/embeddings", &body("fault-other-encoding"), &[]).await?;
            assert_eq!((right.status, translated.status), (200, 200), "{:?}", translated.json);
            let vectors = |answer: &Value| -> Vec<Value> {
                answer["data"].as_array().into_iter().flatten().map(|item| item["embedding"].clone()).collect()
            };
            let bits = |vector: &Value| -> Vec<u32> {
                vector
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_f64)
                    .map(|one| (one as f32).to_bits())
                    .collect()
            };
            let (right, found) = (vectors(&right.json), vectors(&translated.json));
            assert_eq!(found.len(), number);
            if format == "base64" {
                assert!(right == found, "{number} {format}");
            } else {
                assert!(right.iter().map(bits).eq(found.iter().map(bits)), "{number} {format}");
                assert_eq!(found.first().map(|vector| bits(vector).len()), Some(1536));
            }
            assert_eq!(translated.json["usage"]["prompt_tokens"], translated.tokens());
            assert!(translated.header("x-litellm-response-cost").is_some(), "it is known before the headers go out");
        }
    }
    assert_eq!(pair.metrics().await?.sum("vectoll_key_tokens_total", &[]), provider.account().charged_tokens as f64);
    Ok(())
}

/// The lines of the access log so far.
async fn lines(pair: &Pair, expected: usize) -> anyhow::Result<Vec<Value>> {
    pair.wait_for("the access log", Duration::from_secs(10), async || {
        let log = pair.sidecar_log();
        let lines: Vec<Value> = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["log"] == "access")
            .collect();
        Ok((lines.len() >= expected).then_some(lines))
    })
    .await
}

#[tokio::test]
async fn each_call_is_a_line_without_what_it_said() -> anyhow::Result<()> {
    let (pair, _provider, caller) = stage(&[]).await?;
    let metadata = r#"{"tags":["nightly","eval"],"job":7}"#;
    let headers = [("x-litellm-metadata", metadata), ("x-litellm-user-id", "ann\u{e9} \u{1f980}\"}")];
    let body = json!({"model": "text-embedding-3-small", "input": "a secret thought"});
    let served = caller.post("/v1/embeddings", &body, &headers).await?;
    assert_eq!(served.status, 200);
    caller.with_key("sk-nobodys-own-key").embed("builtin", json!("a")).await?;
    caller.embed("fault-500", json!("a")).await?;
    caller.hang_up("fault-slow-500", json!("a"), Duration::from_millis(100)).await;
    let large = caller.post("/v1/embeddings", &json!({"model": "builtin", "input": vec!["word"; 300]}), &[]).await?;
    assert_eq!(large.status, 200);

    let lines = lines(&pair, 5).await?;
    let of = |id: &str| {
        lines.iter().find(|line| line["call_id"] == id).with_context(|| format!("no line of {id}: {lines:?}"))
    };
    let line = of(served.header("x-litellm-call-id").context("no call ID")?)?;
    for (field, value) in [
        ("status", json!(200)),
        ("key", json!("default/alice")),
        ("team", json!("default/search")),
        ("user", json!("ann\u{e9} \u{1f980}\"}")),
        ("model", json!("text-embedding-3-small")),
        ("route", json!("default/openai")),
        ("tokens", json!(served.tokens())),
        ("cost_usd", json!(served.header("x-litellm-response-cost").context("no cost")?)),
        ("usage", json!("known")),
        ("retries", json!(0)),
        ("tags", json!(["nightly", "eval"])),
        ("metadata", json!({"tags": ["nightly", "eval"], "job": 7})),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    assert!(line["duration_ms"].as_f64() >= line["overhead_ms"].as_f64(), "{line}");
    let refused = lines.iter().find(|line| line["status"] == 401).context("no 401")?;
    assert_eq!((&refused["scope"], &refused["reason"]), (&json!("key"), &json!("unknown")), "{refused}");
    assert!(refused.get("key").is_none(), "{refused}");
    let failed = lines.iter().find(|line| line["model"] == "fault-500").context("no line of the fault")?;
    assert_eq!((failed["status"].as_u64(), failed["tokens"].as_u64()), (Some(502), Some(0)), "{failed}");
    let left =
        lines.iter().find(|line| line["model"] == "fault-slow-500").context("no line of the caller that left")?;
    assert_eq!(
        (left["status"].as_u64(), &left["usage"]),
        (Some(499), &json!("known")),
        "it is charged all the same: {left}"
    );
    assert!(left["duration_ms"].as_f64() >= Some(400.0), "{left}");
    let all = serde_json::to_string(&lines)?;
    for secret in ["a secret thought", "sk-nobodys", &key_value("alice"), PROVIDER_KEY] {
        assert!(!all.contains(secret), "{secret} is in the log");
    }
    Ok(())
}

#[tokio::test]
async fn the_spend_of_tags_that_a_team_counts_is_told() -> anyhow::Result<()> {
    let (mut pair, _provider, caller) = stage(&[]).await?;
    let call = async |model: &str, metadata: &str| {
        let body = json!({"model": model, "input": "The quick brown fox"});
        caller.post("/v1/embeddings", &body, &[("x-litellm-metadata", metadata)]).await
    };
    for metadata in
        [r#"{"tags":["nightly"]}"#, r#"{"tags":["nightly","eval","nightly","mine"]}"#, r#"{"tags":["mine"]}"#, "{}"]
    {
        assert_eq!(call("text-embedding-3-small", metadata).await?.status, 200);
    }
    // What is refused is charged nowhere.
    assert_eq!(call("fault-400", r#"{"tags":["unused"]}"#).await?.status, 400);
    for _ in 0..2 {
        let metrics = pair.metrics().await?;
        let spent =
            |tag: &str| metrics.value("vectoll_tag_spend_usd_total", &[("team", "default/search"), ("tag", tag)]);
        // Four tokens a call, at 0.02 USD a million.
        assert_eq!(spent("nightly"), Some(0.000_000_16));
        assert_eq!(spent("eval"), Some(0.000_000_08));
        assert_eq!((spent("mine"), spent("unused")), (None, None), "only what the team counts, and only what there is");
        // And again after a restart.
        pair.terminate_sidecar().await?;
        pair.restart_sidecar().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_access_log_can_be_off() -> anyhow::Result<()> {
    let (mut pair, _provider, caller) = stage(&["--access-log=off"]).await?;
    assert_eq!(caller.embed("builtin", json!("a")).await?.status, 200);
    pair.terminate_sidecar().await?;
    assert!(!pair.sidecar_log().contains("\"log\":\"access\""), "{}", pair.sidecar_log());
    Ok(())
}

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
        1 => json.clone(),
    ];
    let call =
        (model, input, prop::option::of(json.clone()), prop::option::of(json.clone()), prop::option::of(json.clone()))
            .prop_map(|(model, input, dimensions, format, user)| {
                let mut call = json!({"model": model, "input": input});
                for (field, value) in [("dimensions", dimensions), ("encoding_format", format), ("user", user)] {
                    if let Some(value) = value {
                        call[field] = value;
                    }
                }
                call.to_string().into_bytes()
            });
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_sent_the_answer_is_right_or_says_what_is_wrong() -> anyhow::Result<()> {
    let (mut pair, _provider, caller) = stage(&[]).await?;
    let handle = tokio::runtime::Handle::current();
    let asked = caller.clone();
    tokio::task::spawn_blocking(move || {
        let mut runner =
            TestRunner::new(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() });
        runner.run(&bodies(), |body| {
            let answer = handle
                .block_on(asked.raw(|http, base| {
                    http.post(format!("{base}/v1/embeddings")).bearer_auth(key_value("alice")).body(body.clone())
                }))
                .map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
            let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
            match answer.status {
                200 => {
                    let several = sent["input"].as_array().filter(|all| !all.first().is_some_and(Value::is_number));
                    let inputs = several.map_or(1, Vec::len);
                    let vectors = answer.json["data"].as_array().cloned().unwrap_or_default();
                    prop_assert_eq!(vectors.len(), inputs, "{} {}", &sent, &answer.json);
                    for (at, vector) in vectors.iter().enumerate() {
                        prop_assert_eq!(vector["index"].as_u64(), Some(at as u64));
                    }
                }
                400 | 404 => {
                    let error = &answer.json["error"];
                    prop_assert_eq!(&error["type"], "invalid_request_error", "{} {}", &sent, &answer.json);
                    prop_assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
                }
                status => prop_assert!(false, "{} for {}: {}", status, String::from_utf8_lossy(&body), &answer.json),
            }
            Ok(())
        })
    })
    .await??;
    // It is still the same process, and owes nothing.
    assert_eq!(caller.embed("builtin", json!("a")).await?.status, 200);
    assert_eq!(pair.metrics().await?.value("vectoll_reserved_tokens", &[]), Some(0.0));
    pair.terminate_sidecar().await?;
    assert!(!pair.sidecar_log().contains("panicked"), "{}", pair.sidecar_log());
    Ok(())
}
