//! What applications get: paths, forms, headers and errors.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a test"
)]

use serde_json::{Value, json};
use vectoll_tests::{
    caller::{Answer, Caller},
    manifest::{PROVIDER_KEY, api_key, builtin, file, key_value, resource, route, team},
    pair::Pair,
    provider::{Options, Provider},
};

async fn stage() -> anyhow::Result<(Pair, Provider, Caller)> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({})), builtin("builtin", &["builtin", "org/model:v1"])];
    all.push(resource("Team", "closed", json!({"suspended": true})));
    all.push(resource("Team", "narrow", json!({"models": ["other-*"]})));
    all.extend(route("openai", &["text-embedding-3-small", "fault-*"], &provider.url()));
    all.extend(api_key("alice", "search", json!({})));
    all.extend(api_key("late", "search", json!({"expiresAt": "2020-01-01T00:00:00Z"})));
    all.extend(api_key("asleep", "search", json!({"suspended": true})));
    all.extend(api_key("shut", "closed", json!({})));
    all.extend(api_key("reader", "search", json!({"models": ["builtin"]})));
    all.extend(api_key("member", "narrow", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, provider, caller))
}

fn is_error(answer: &Answer, status: u16, kind: &str, code: Option<&str>, begin: &str) {
    assert_eq!(answer.status, status, "{:?}", answer.json);
    assert_eq!(answer.json["error"]["type"], kind, "{:?}", answer.json);
    assert_eq!(answer.json["error"]["code"].as_str(), code, "{:?}", answer.json);
    assert!(answer.message().starts_with(begin), "{:?}", answer.json);
    assert!(answer.json["error"].as_object().is_some_and(|error| error.contains_key("param")));
    assert!(answer.header("x-litellm-call-id").is_some() || status == 404 || status == 405 || status == 401);
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn every_path_and_every_key_header_serves() -> anyhow::Result<()> {
    let (_pair, _provider, caller) = stage().await?;
    let expected = caller.embed("builtin", json!("hello world")).await?;
    assert_eq!((expected.status, expected.vector().len()), (200, 256));
    let body = json!({"input": "hello world"});
    for (path, body) in [
        ("/embeddings", json!({"model": "builtin", "input": "hello world"})),
        ("/engines/builtin/embeddings", body.clone()),
        ("/openai/deployments/builtin/embeddings?api-version=2024-10-21", body.clone()),
        ("/engines/org/model:v1/embeddings", body.clone()),
        ("/openai/deployments/org%2Fmodel%3Av1/embeddings", body.clone()),
        // The path names the deployment, whatever model the body says.
        ("/openai/deployments/builtin/embeddings", json!({"model": "nope", "input": "hello world"})),
    ] {
        let answer = caller.post(path, &body, &[]).await?;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.json);
        assert_eq!(answer.vector(), expected.vector(), "{path}");
    }
    let key = key_value("alice");
    for (name, value) in [
        ("authorization", format!("bearer {key}")),
        ("x-api-key", key.clone()),
        ("api-key", key.clone()),
        ("x-litellm-api-key", key.clone()),
        ("x-litellm-api-key", format!("Bearer {key}")),
    ] {
        let answer = caller
            .raw(|http, base| {
                let body = json!({"model": "builtin", "input": "hello world"});
                http.post(format!("{base}/v1/embeddings")).header(name, value).json(&body)
            })
            .await?;
        assert_eq!(answer.status, 200, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn answers_carry_cost_and_identity() -> anyhow::Result<()> {
    let (_pair, _provider, caller) = stage().await?;
    let answer = caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?;
    assert_eq!((answer.status, answer.tokens()), (200, 4));
    assert_eq!(answer.header("x-litellm-response-cost"), Some("0.00000008"));
    assert_eq!(answer.header("x-litellm-key-spend"), Some("0.00000008"));
    assert_eq!(answer.header("x-litellm-model-id"), Some("default/openai/test"));
    assert_eq!(answer.header("x-litellm-attempted-retries"), Some("0"));
    assert!(answer.header("x-litellm-overhead-duration-ms").and_then(|ms| ms.parse::<f64>().ok()).is_some());
    assert_eq!(answer.header("x-ratelimit-limit-tokens"), None, "no limit, no header");
    let second = caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?;
    assert_eq!(second.header("x-litellm-key-spend"), Some("0.00000016"));
    assert_ne!(second.header("x-litellm-call-id"), answer.header("x-litellm-call-id"));
    Ok(())
}

#[tokio::test]
async fn errors_are_openais_objects() -> anyhow::Result<()> {
    let (pair, provider, caller) = stage().await?;
    let invalid = "invalid_request_error";
    for (body, begin) in [
        (json!({"model": "builtin"}), "Invalid input format"),
        (json!({"model": "builtin", "input": null}), "Invalid input format"),
        (json!({"model": "builtin", "input": []}), "Invalid input format"),
        (json!({"model": "builtin", "input": [""]}), "Invalid input format: input[0]: it is empty"),
        (json!({"model": "builtin", "input": ["a", ""]}), "Invalid input format: input[1]: it is empty"),
        (json!({"model": "builtin", "input": ["a", 1]}), "Invalid input format"),
        (json!({"model": "builtin", "input": [1, 2]}), "Invalid input format"),
        (json!({"model": "builtin", "input": vec!["a"; 2049]}), "Invalid input format"),
        (json!({"input": "a"}), "`model` is missing"),
        (json!({"model": 7, "input": "a"}), "`model` must be a string"),
        (json!({"model": "builtin", "input": "a", "dimensions": 512}), "`dimensions` must be at most 256"),
        (json!({"model": "builtin", "input": "a", "dimensions": 0}), "`dimensions` must be"),
        (json!({"model": "builtin", "input": "a", "encoding_format": "hex"}), "`encoding_format` must be"),
        (json!({"model": "builtin", "input": "a", "user": "u".repeat(257)}), "`user` is longer"),
        (json!([1]), "The request's body is not a call"),
        // Servers that ignore case would take these for the fields that were checked.
        (
            json!({"model": "builtin", "input": "a", "Model": "x"}),
            "The request's body is not a call: the field `Model` is written `model`",
        ),
        (
            json!({"model": "builtin", "input": "a", "INPUT": ["b"]}),
            "The request's body is not a call: the field `INPUT` is written `input`",
        ),
        (
            json!({"model": "builtin", "input": "a", "u\u{17f}er": "x"}),
            "The request's body is not a call: the field `u\u{17f}er` is written `user`",
        ),
        (json!({"model": "m".repeat(257), "input": "a"}), "`model` must have 1 to 256 characters"),
    ] {
        is_error(&caller.post("/v1/embeddings", &body, &[]).await?, 400, invalid, None, begin);
    }
    for (text, content_type, status, begin) in [
        ("{", "application/json", 400, "The request's body is not JSON"),
        (
            r#"{"model":"builtin","input":"a","model":"x"}"#,
            "application/json",
            400,
            "The request's body is not a call: the field `model` is given twice",
        ),
        (
            r#"{"model":"builtin","input":"a","x":1,"\u0078":2}"#,
            "application/json",
            400,
            "The request's body is not a call: the field `x` is given twice",
        ),
        (r#"{"model":"builtin","input":"a"}"#, "text/plain", 415, "The request's body must be JSON"),
    ] {
        let answer = caller
            .raw(|http, base| {
                let request = http.post(format!("{base}/v1/embeddings")).bearer_auth(key_value("alice"));
                request.header("content-type", content_type).body(text)
            })
            .await?;
        is_error(&answer, status, invalid, None, begin);
    }
    let metadata = |value| [("x-litellm-metadata", value)];
    let body = json!({"model": "builtin", "input": "a"});
    is_error(
        &caller.post("/v1/embeddings", &body, &metadata("[1]")).await?,
        400,
        invalid,
        None,
        "The header x-litellm-metadata",
    );
    assert_eq!(caller.post("/v1/embeddings", &body, &metadata(r#"{"a":1}"#)).await?.status, 200);

    for (key, code, begin) in [
        ("sk-wrong", "invalid_api_key", "Invalid API key: it is unknown"),
        ("sk-vt-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "invalid_api_key", "Invalid API key: it is mistyped"),
        (&key_value("late"), "expired_api_key", "Invalid API key: this key has expired"),
        (&key_value("asleep"), "invalid_api_key", "Invalid API key: this key is suspended"),
        (&key_value("shut"), "invalid_api_key", "Invalid API key: the team of this key is suspended"),
    ] {
        let answer = caller.with_key(key).embed("builtin", json!("a")).await?;
        is_error(&answer, 401, invalid, Some(code), begin);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let none = caller.raw(|http, base| http.post(format!("{base}/v1/embeddings")).json(&body)).await?;
    is_error(&none, 401, invalid, Some("invalid_api_key"), "Invalid API key: none was sent");

    let allowed = "permission_error";
    let reader = caller.with_key(&key_value("reader")).embed("text-embedding-3-small", json!("a")).await?;
    is_error(&reader, 403, allowed, Some("model_not_allowed"), "The key default/reader may not use");
    let member = caller.with_key(&key_value("member")).embed("builtin", json!("a")).await?;
    is_error(&member, 403, allowed, Some("model_not_allowed"), "The team default/narrow may not use");
    let nowhere = caller.embed("gpt-7", json!("a")).await?;
    is_error(&nowhere, 404, invalid, Some("model_not_found"), "The model `gpt-7` does not exist");
    is_error(&caller.post("/v1/chat", &body, &[]).await?, 404, invalid, None, "Unknown path /v1/chat");
    let get = caller.raw(|http, base| http.get(format!("{base}/v1/embeddings"))).await?;
    is_error(&get, 405, invalid, None, "This path takes POST only");
    assert_eq!(get.header("allow"), Some("POST"));

    assert_eq!(provider.account().requests, 0, "a refused call never reaches a provider");
    assert!(pair.metrics().await?.sum("vectoll_rejections_total", &[("reason", "malformed")]) >= 14.0);
    Ok(())
}

#[tokio::test]
async fn a_providers_errors_are_passed_on_without_its_credential() -> anyhow::Result<()> {
    let (pair, provider, caller) = stage().await?;
    for (model, status, kind) in [
        ("fault-400", 400, "invalid_request_error"),
        ("fault-401", 502, "api_error"),
        ("fault-404", 404, "invalid_request_error"),
        ("fault-429", 429, "rate_limit_error"),
        ("fault-500", 502, "api_error"),
        ("fault-502", 502, "api_error"),
        ("fault-503", 502, "api_error"),
        ("fault-reset", 502, "api_error"),
        ("fault-cut", 502, "api_error"),
        ("fault-garbage", 502, "api_error"),
        ("fault-truncated-json", 502, "api_error"),
        ("fault-redirect", 502, "api_error"),
    ] {
        let answer = caller.embed(model, json!("a")).await?;
        assert_eq!(answer.status, status, "{model}: {:?}", answer.json);
        assert_eq!(answer.json["error"]["type"], kind, "{model}: {:?}", answer.json);
        assert!(!answer.json.to_string().contains("sk-pro"), "{model}: {:?}", answer.json);
        assert_eq!(answer.header("retry-after"), (model == "fault-429").then_some("7"), "{model}");
    }
    let violations = provider.account().violations;
    assert!(violations.is_empty(), "{violations:?}");
    let logs = pair.sidecar_log() + &pair.operator_log();
    for secret in [PROVIDER_KEY, &key_value("alice")] {
        assert!(!logs.contains(secret), "a credential stands in the log");
    }
    Ok(())
}

#[tokio::test]
async fn the_body_goes_through_as_it_came_and_the_headers_do_not() -> anyhow::Result<()> {
    let (_pair, provider, caller) = stage().await?;
    let body =
        r#"{ "input" : "caf\u00e9", "model":"text-embedding-3-small", "encoding_format":null, "extra": {"a":[1,2]} }"#;
    let answer = caller
        .raw(|http, base| {
            http.post(format!("{base}/v1/embeddings"))
                .bearer_auth(key_value("alice"))
                .header("content-type", "application/json")
                .header("cookie", "session=1")
                .header("connection", "authorization")
                .header("x-forwarded-for", "1.2.3.4")
                .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
                .body(body)
        })
        .await?;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    let sent = provider.requests().pop().ok_or_else(|| anyhow::anyhow!("the provider got nothing"))?;
    assert_eq!(std::str::from_utf8(&sent.body)?, body.replace("null", "\"float\""));
    let names: Vec<&str> = sent.headers.keys().map(http::HeaderName::as_str).collect();
    assert!(names.contains(&"traceparent"));
    for name in ["cookie", "x-forwarded-for", "connection", "api-key"] {
        assert!(!names.contains(&name), "{name} was forwarded");
    }
    assert_eq!(
        sent.headers.get("authorization").and_then(|v| v.to_str().ok()),
        Some(&*format!("Bearer {PROVIDER_KEY}"))
    );
    // By the path: the model is put into the body.
    caller.post("/engines/text-embedding-3-small/embeddings", &json!({"input": "a"}), &[]).await?;
    let sent = provider.requests().pop().ok_or_else(|| anyhow::anyhow!("the provider got nothing"))?;
    assert_eq!(std::str::from_utf8(&sent.body)?, r#"{"model":"text-embedding-3-small","input":"a"}"#);
    assert_eq!(provider.account().violations, Vec::<String>::new());
    assert!(provider.connections() <= 2, "connections are kept: {}", provider.connections());
    Ok(())
}

#[tokio::test]
async fn headers_that_a_route_sets_reach_its_provider_and_take_the_place_of_none() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({}))];
    let mut of_route = route("openai", &["text-embedding-3-small"], &provider.url());
    of_route[0]["spec"]["backends"][0]["headers"] = json!([{"name": "X-Title", "value": "a title, of words"}, {"name": "helicone-property-team", "value": "search"}]);
    all.extend(of_route);
    all.extend(api_key("alice", "search", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let body = json!({"model": "text-embedding-3-small", "input": "a"});
    assert_eq!(caller.post("/v1/embeddings", &body, &[("x-title", "the caller's")]).await?.status, 200);
    let sent = provider.requests().pop().ok_or_else(|| anyhow::anyhow!("the provider got nothing"))?;
    let values = |name: &str| -> Vec<String> {
        sent.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    };
    assert_eq!(values("x-title"), ["a title, of words"]);
    assert_eq!(values("helicone-property-team"), ["search"]);
    assert_eq!(values("content-type"), ["application/json"]);
    assert_eq!(values("authorization"), [format!("Bearer {PROVIDER_KEY}")]);
    assert_eq!(provider.account().violations, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn models_and_health_are_told() -> anyhow::Result<()> {
    let (pair, _provider, caller) = stage().await?;
    let names = async |key: &str| -> anyhow::Result<Vec<String>> {
        let key = key_value(key);
        let answer = caller.raw(|http, base| http.get(format!("{base}/v1/models")).bearer_auth(key)).await?;
        let all = answer.json["data"].as_array().cloned().unwrap_or_default();
        Ok(all.iter().filter_map(|model| model["id"].as_str().map(str::to_owned)).collect())
    };
    assert_eq!(names("alice").await?, ["builtin", "org/model:v1", "text-embedding-3-small"]);
    assert_eq!(names("reader").await?, ["builtin"]);
    assert_eq!(names("late").await?, Vec::<String>::new());
    for path in ["/health/liveliness", "/health/readiness"] {
        assert_eq!(caller.raw(|http, base| http.get(format!("{base}{path}"))).await?.status, 200, "{path}");
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(pair.admin_status(path).await?, 200, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn an_empty_string_is_an_input_if_it_is_all_of_it() -> anyhow::Result<()> {
    let (_pair, provider, caller) = stage().await?;
    assert_eq!(caller.embed("builtin", json!("")).await?.vector().len(), 256);
    let answer = caller.embed("text-embedding-3-small", json!("")).await?;
    assert_eq!((answer.status, answer.vector().len()), (200, 1536), "{}", answer.message());
    assert!(provider.account().violations.is_empty(), "{:?}", provider.account().violations);
    Ok(())
}

#[tokio::test]
async fn what_is_litellms_own_or_null_stays_here() -> anyhow::Result<()> {
    let (_pair, provider, caller) = stage().await?;
    let body = r#"{"metadata": {"trace": [1]}, "user":null, "model":"text-embedding-3-small","tags":["a"], "input":"caf\u00e9" ,
        "cache": {"no-cache": true}, "dimensions" : null, "encoding_format":null, "num_retries":3, "extra":{"a":null},"litellm_metadata":{}}"#;
    let answer = caller
        .raw(|http, base| {
            let request = http.post(format!("{base}/v1/embeddings")).bearer_auth(key_value("alice"));
            request.header("content-type", "application/json").body(body)
        })
        .await?;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    let sent = provider.requests().pop().ok_or_else(|| anyhow::anyhow!("the provider got nothing"))?;
    let expected =
        r#"{ "model":"text-embedding-3-small", "input":"caf\u00e9", "encoding_format":"float", "extra":{"a":null}}"#;
    assert_eq!(std::str::from_utf8(&sent.body)?, expected);
    Ok(())
}

#[tokio::test]
async fn both_encodings_and_dimensions_hold_the_same_vectors() -> anyhow::Result<()> {
    let (_pair, _provider, caller) = stage().await?;
    let ask = async |extra: Value| -> anyhow::Result<Answer> {
        let mut body = json!({"model": "builtin", "input": ["one text", "and another"]});
        if let (Some(body), Value::Object(extra)) = (body.as_object_mut(), extra) {
            body.extend(extra);
        }
        caller.post("/v1/embeddings", &body, &[]).await
    };
    let whole = ask(json!({})).await?;
    assert_eq!(whole.json["data"].as_array().map(Vec::len), Some(2));
    let cut = ask(json!({"dimensions": 128})).await?.vector();
    assert_eq!(cut.len(), 128);
    let norm = |vector: &[f64]| vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!((norm(&cut) - 1.0).abs() < 1e-5 && (norm(&whole.vector()) - 1.0).abs() < 1e-5);
    let head = norm(&whole.vector()[..128]);
    for (a, b) in cut.iter().zip(whole.vector()) {
        assert!((a - b / head).abs() < 1e-5, "the beginning of the whole vector, made a unit vector again");
    }
    let coded = ask(json!({"encoding_format": "base64"})).await?;
    let text = coded.json["data"][0]["embedding"].as_str().unwrap_or_default().to_owned();
    let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text)?;
    assert_eq!(bytes.len(), 256 * 4);
    for (four, number) in bytes.chunks_exact(4).zip(whole.vector()) {
        let decoded = f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        assert!((f64::from(decoded) - number).abs() < 1e-7);
    }
    Ok(())
}
