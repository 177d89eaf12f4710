//! The access log, and what callers say of their calls: metadata and tags.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use vectoll_tests::{
    manifest::{PROVIDER_KEY, key_value},
    pair::metrics::Metrics,
    wire::{self, lines, stage},
};

#[tokio::test]
async fn each_call_is_a_line_without_what_it_said() -> anyhow::Result<()> {
    let (pair, provider, caller) = stage(&[]).await?;
    let metadata = r#"{"tags":["nightly","eval"],"job":7}"#;
    let headers = [("x-litellm-metadata", metadata), ("x-litellm-user-id", "ann\u{e9} \u{1f980}\"}")];
    let body = json!({"model": "text-embedding-3-small", "input": "a secret thought"});
    let served = caller.post("/v1/embeddings", &body, &headers).await?;
    assert_eq!(served.status, 200);
    caller.with_key("sk-nobodys-own-key").embed("builtin", json!("a")).await?;
    caller.embed("fault-500", json!("a")).await?;
    caller.hang_up("fault-slow-500", json!("a"), Duration::from_millis(100)).await;
    // A caller that writes its key where it does not belong.
    let key = key_value("alice");
    let careless = format!("{{\"key\":\"{key}\",\"of the provider\":\"{PROVIDER_KEY}\"}}");
    let headers = [("x-litellm-metadata", &*careless), ("x-litellm-user-id", &*key)];
    assert_eq!(caller.post("/v1/embeddings", &json!({"model": "builtin", "input": "a"}), &headers).await?.status, 200);
    let large = caller.post("/v1/embeddings", &json!({"model": "builtin", "input": vec!["word"; 300]}), &[]).await?;
    assert_eq!(large.status, 200);

    let lines = lines(&pair, 6).await?;
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
        ("key_metadata", json!({"cost-centre": "north 4711"})),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    assert!(line["duration_ms"].as_f64() >= line["overhead_ms"].as_f64(), "{line}");
    let refused = lines.iter().find(|line| line["status"] == 401).context("no 401")?;
    assert_eq!((&refused["scope"], &refused["reason"]), (&json!("key"), &json!("unknown")), "{refused}");
    assert!(refused.get("key").is_none(), "{refused}");
    let failed = lines.iter().find(|line| line["model"] == "fault-500").context("no line of the fault")?;
    assert_eq!((failed["status"].as_u64(), failed["tokens"].as_u64()), (Some(502), Some(1)), "{failed}");
    assert_eq!(failed["usage"], json!("unsettled"), "{failed}");
    let left =
        lines.iter().find(|line| line["model"] == "fault-slow-500").context("no line of the caller that left")?;
    assert_eq!(
        (left["status"].as_u64(), &left["usage"]),
        (Some(499), &json!("known")),
        "it is charged all the same: {left}"
    );
    assert!(left["duration_ms"].as_f64() >= Some(400.0), "{left}");
    // What the key's owner has written on it is for the log alone.
    let told = |text: &str| text.contains("4711") || text.contains("cost-centre");
    assert!(provider.requests().iter().all(|sent| !told(&format!("{sent:?}"))), "a provider was told");
    let metrics = reqwest::get(format!("{}/metrics", pair.admin_url())).await?.text().await?;
    assert!(!told(&metrics), "a metric tells of it");
    let all = serde_json::to_string(&lines)?;
    assert!(all.contains("[redacted]"), "what a caller writes of its key is taken out");
    for secret in ["a secret thought", "sk-nobodys", &key_value("alice"), PROVIDER_KEY] {
        assert!(!all.contains(secret), "{secret} is in the log");
    }
    Ok(())
}

#[tokio::test]
async fn the_spend_of_tags_that_a_team_or_a_route_counts_is_told() -> anyhow::Result<()> {
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
    // What one route counts, others do not.
    for model in ["cut", "builtin"] {
        assert_eq!(call(model, r#"{"tags":["by-route"]}"#).await?.status, 200);
    }
    // What is refused is charged nowhere.
    assert_eq!(call("nowhere", r#"{"tags":["unused"]}"#).await?.status, 404);
    for _ in 0..2 {
        let metrics = pair.metrics().await?;
        let spent =
            |tag: &str| metrics.value("vectoll_tag_spend_usd_total", &[("team", "default/search"), ("tag", tag)]);
        // Four tokens a call, at 0.02 USD a million.
        assert_eq!(spent("nightly"), Some(0.000_000_16));
        assert_eq!(spent("eval"), Some(0.000_000_08));
        assert_eq!(spent("by-route"), Some(0.000_000_08));
        assert_eq!((spent("mine"), spent("unused")), (None, None), "only what the team counts, and only what there is");
        let of_key = |key: &str| metrics.sum("vectoll_key_tag_spend_usd_total", &[("key", key), ("tag", "nightly")]);
        assert_eq!((of_key("default/alice"), of_key("default/reader")), (0.000_000_16, 0.0), "by key, too");
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

#[tokio::test]
async fn a_call_that_is_refused_early_has_a_line_with_what_is_known_of_it() -> anyhow::Result<()> {
    let (pair, _provider, caller) = stage(&["--max-body-bytes=1000", "--body-timeout-seconds=1"]).await?;
    let metadata = r#"{"tags":["nightly"]}"#;
    let known = [("x-litellm-metadata", metadata), ("x-litellm-user-id", "ann")];
    let path = "/engines/org%2Fmodel:v1/embeddings";
    let long = json!({"input": "a".repeat(2000)});
    let mut refused = Vec::new();
    for (status, body, header) in [
        (400, &json!({"input": []}), ("accept", "*/*")),
        (413, &long, ("accept", "*/*")),
        (415, &json!({"input": "a"}), ("content-encoding", "gzip")),
    ] {
        let answer = caller.post(path, body, &[known[0], known[1], header]).await?;
        assert_eq!(answer.status, status, "{:?}", answer.json);
        refused.push(answer);
    }
    let page = caller.post(path, &json!({"input": "a"}), &[("origin", "https://evil.example")]).await?;
    assert_eq!(page.status, 403);
    let slow = wire::request(
        &format!("Content-Length: 9\r\nx-litellm-metadata: {metadata}\r\nx-litellm-user-id: ann\r\n"),
        "{",
    );
    let slow = wire::exchange(&pair, slow.replace("/v1/embeddings", path).as_bytes())?;
    assert_eq!(wire::status(&slow), 408, "{slow}");

    let lines = lines(&pair, 5).await?;
    assert_eq!(lines.len(), 5, "{lines:?}");
    for line in &lines {
        if line["reason"] == "origin_not_allowed" {
            assert_eq!((&line["status"], line["call_id"].as_str()), (&json!(403), page.header("x-litellm-call-id")));
            continue;
        }
        for (field, value) in [
            ("model", json!("org/model:v1")),
            ("user", json!("ann")),
            ("key", json!("default/alice")),
            ("tags", json!(["nightly"])),
        ] {
            assert_eq!(line[field], value, "{field}: {line}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn metadata_of_16_kib_comes_through_and_what_others_cannot_read_does_not() -> anyhow::Result<()> {
    let (pair, _provider, caller) = stage(&[]).await?;
    let longest = format!("{{\"a\":\"{}\"}}", "b".repeat(16 * 1024 - 8));
    assert_eq!(longest.len(), 16 * 1024);
    let h2c = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build()?;
    for http in [reqwest::Client::builder().no_proxy().build()?, h2c] {
        let send = async |metadata: &str| {
            let request = http.post(format!("{}/v1/embeddings", pair.base_url())).bearer_auth(key_value("alice"));
            anyhow::Ok(request.header("x-litellm-metadata", metadata).body(wire::CALL).send().await?.status().as_u16())
        };
        assert_eq!(send(&longest).await?, 200);
        assert_eq!(send(&longest.replace('}', " }")).await?, 400);
    }
    let body = json!({"model": "builtin", "input": "a"});
    for unreadable in [r#"{"a":"\ud800"}"#.to_owned(), format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000))] {
        let answer = caller.post("/v1/embeddings", &body, &[("x-litellm-metadata", &unreadable)]).await?;
        assert_eq!(answer.status, 400);
        assert!(answer.message().contains("x-litellm-metadata"), "{:?}", answer.json);
    }
    // All of them can be read: that is checked there.
    assert_eq!(lines(&pair, 6).await?.len(), 6);
    Ok(())
}

#[tokio::test]
async fn an_empty_header_names_no_user() -> anyhow::Result<()> {
    let (pair, _provider, caller) = stage(&[]).await?;
    let body = json!({"model": "builtin", "input": "a", "user": "ben"});
    assert_eq!(caller.post("/v1/embeddings", &body, &[("x-litellm-user-id", "")]).await?.status, 200);
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.sum("vectoll_user_requests_total", &[("user", "ben")]), 1.0);
    Ok(())
}

/// Off, `/metrics` names no end user, and all else is counted as before.
#[tokio::test]
async fn metrics_leave_end_users_out_where_they_are_to() -> anyhow::Result<()> {
    for (arguments, found) in [(&[][..], 1.0), (&["--user-metrics=off"], 0.0)] {
        let (pair, _provider, caller) = stage(arguments).await?;
        let body = json!({"model": "builtin", "input": "a", "user": "somebody-by-name"});
        assert_eq!(caller.post("/v1/embeddings", &body, &[]).await?.status, 200);
        let text = reqwest::get(format!("{}/metrics", pair.admin_url())).await?.text().await?;
        let metrics = Metrics::parse(&text)?;
        let by_key = metrics.sum("vectoll_key_requests_total", &[("key", "default/alice")]);
        assert_eq!(by_key, 1.0, "{arguments:?}");
        assert_eq!(metrics.sum("vectoll_user_requests_total", &[]), found, "{arguments:?}");
        assert_eq!(text.contains("somebody-by-name"), found > 0.0, "{arguments:?}");
    }
    Ok(())
}
