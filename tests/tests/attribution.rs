//! What LiteLLM's callers say of their calls: headers and fields, which of them counts, and what reaches no provider.

#![allow(clippy::indexing_slicing, clippy::float_cmp, reason = "a test")]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vectoll_config::PicoUsd;
use vectoll_tests::{
    caller::Caller,
    fleet::Fleet,
    manifest::{PROVIDER_KEY, api_key, file, key_value, on_top, route, team},
    pair::{Setup, binaries::binary, poll},
    provider::{Options, Provider},
    store::Store,
    wire::{lines, stage},
};

const MODEL: &str = "text-embedding-3-small";

/// Fields of a call, its headers, and what is logged: user, tags, metadata.
type Case<'a> = (Value, &'a [(&'a str, &'a str)], &'a str, Value, Value);

#[tokio::test]
async fn what_is_said_of_a_call_counts_in_litellms_order_and_reaches_no_provider() -> anyhow::Result<()> {
    let (pair, provider, caller) = stage(&[]).await?;
    let body = |more: Value| on_top(json!({"model": MODEL, "input": "The quick brown fox"}), more);
    let metadata = json!({"tags": ["of-metadata"], "user_id": "of-metadata", "job": 7});
    let litellm = json!({"tags": ["of-litellm"], "user": "of-litellm", "job": 8, "more": true});
    let cases: [Case; 8] = [
        (json!({"metadata": metadata}), &[], "of-metadata", json!(["of-metadata"]), metadata.clone()),
        (
            json!({"metadata": metadata, "litellm_metadata": litellm}),
            &[],
            "of-litellm",
            json!(["of-metadata"]),
            json!({"tags": ["of-metadata"], "user_id": "of-metadata", "job": 7, "user": "of-litellm", "more": true}),
        ),
        (
            json!({"litellm_metadata": litellm.to_string(), "user": "of-body"}),
            &[("x-litellm-tags", "a, b")],
            "of-body",
            json!(["a", "b"]),
            litellm.clone(),
        ),
        (
            json!({"tags": ["nightly"], "metadata": metadata, "user": "of-body"}),
            &[("x-litellm-tags", "a,b"), ("x-litellm-user-id", "third")],
            "third",
            json!(["nightly"]),
            metadata.clone(),
        ),
        (
            json!({"user": "of-body"}),
            &[("x-litellm-end-user-id", "second"), ("x-litellm-user-id", "third")],
            "second",
            Value::Null,
            Value::Null,
        ),
        (
            json!({}),
            &[("x-litellm-customer-id", "first"), ("x-litellm-end-user-id", "second"), ("x-litellm-user-id", "third")],
            "first",
            Value::Null,
            Value::Null,
        ),
        (
            json!({"metadata": {"spend_logs_metadata": {"a": 1}, "b": 2}}),
            &[("x-litellm-spend-logs-metadata", r#"{"project":"p"}"#), ("x-litellm-customer-id", " ")],
            "alice",
            Value::Null,
            json!({"spend_logs_metadata": {"project": "p"}, "b": 2}),
        ),
        (
            json!({"tags": ["nightly"], "cache": {"no-cache": true}, "num_retries": 1}),
            &[],
            "alice",
            json!(["nightly"]),
            Value::Null,
        ),
    ];
    let number = cases.len();
    let mut expected = Vec::new();
    for (more, headers, user, tags, metadata) in cases {
        let answer = caller.post("/v1/embeddings", &body(more.clone()), headers).await?;
        assert_eq!(answer.status, 200, "{more}: {:?}", answer.json);
        let id = answer.header("x-litellm-call-id").context("no call ID")?.to_owned();
        expected.push((id, user, tags, metadata));
    }
    let lines = lines(&pair, number).await?;
    for (id, user, tags, metadata) in expected {
        let line = lines.iter().find(|line| line["call_id"] == *id).context("no line")?;
        assert_eq!((&line["user"], &line["tags"], &line["metadata"]), (&json!(user), &tags, &metadata), "{line}");
    }
    for sent in provider.requests() {
        let sent = format!("{sent:?}");
        for word in ["tags", "metadata", "num_retries", "x-litellm", "no-cache"] {
            assert!(!sent.contains(word), "{word} was sent: {sent}");
        }
    }
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.sum("vectoll_user_requests_total", &[("user", "of-litellm")]), 1.0);
    Ok(())
}

#[tokio::test]
async fn what_is_not_of_its_form_is_refused_by_its_name_before_anything_is_sent() -> anyhow::Result<()> {
    let (pair, provider, caller) = stage(&[]).await?;
    for (name, value) in [
        ("x-litellm-tags", "a,".repeat(33)),
        ("x-litellm-spend-logs-metadata", "project=p".to_owned()),
        ("x-litellm-timeout", "1m".to_owned()),
        ("x-litellm-timeout", "0".to_owned()),
        ("x-litellm-num-retries", "-1".to_owned()),
        ("x-litellm-end-user-id", "u".repeat(257)),
    ] {
        let answer = caller.post("/v1/embeddings", &json!({"model": MODEL, "input": "a"}), &[(name, &*value)]).await?;
        assert_eq!(answer.status, 400, "{name}: {:?}", answer.json);
        let expected = if name.ends_with("user-id") { "`user`" } else { name };
        assert!(answer.message().contains(expected), "{name}: {:?}", answer.json);
    }
    for (field, value) in [
        ("metadata", json!([1])),
        ("metadata", json!("project=p")),
        ("litellm_metadata", json!({"tags": "nightly"})),
        ("metadata", json!({"user_id": {}})),
        ("tags", json!("nightly")),
        ("num_retries", json!("3")),
    ] {
        let body = json!({"model": MODEL, "input": "a", field: value});
        let answer = caller.post("/v1/embeddings", &body, &[]).await?;
        assert_eq!((answer.status, answer.json["error"]["param"].as_str()), (400, Some(field)), "{:?}", answer.json);
        assert!(answer.message().contains(&format!("`{field}`")), "{:?}", answer.json);
    }
    assert_eq!(provider.account().requests, 0);
    assert_eq!(pair.metrics().await?.sum("vectoll_key_requests_total", &[]), 0.0);
    Ok(())
}

#[tokio::test]
async fn a_caller_that_waits_no_longer_pays_what_is_charged_and_blames_nobody() -> anyhow::Result<()> {
    let (pair, provider, caller) = stage(&[]).await?;
    let body = json!({"model": "fault-slow-1500", "input": "The quick brown fox"});
    for _ in 0..4 {
        let began = Instant::now();
        let late = caller.post("/v1/embeddings", &body, &[("x-litellm-timeout", "0.2")]).await?;
        assert_eq!((late.status, late.code()), (504, "upstream_timeout"), "{:?}", late.json);
        assert!(late.message().contains("0.2 s of its header x-litellm-timeout"), "{}", late.message());
        assert!(began.elapsed() < Duration::from_millis(1200), "it waited for the provider");
    }
    // What the route allows is not made longer.
    let served = caller.post("/v1/embeddings", &body, &[("x-litellm-timeout", "5000")]).await?;
    assert_eq!(served.status, 200, "{:?}", served.json);
    let charged = || async {
        let metrics = pair.metrics().await?;
        Ok((metrics.value("vectoll_reservations", &[]) == Some(0.0)).then_some(metrics))
    };
    let metrics = pair.wait_for("all calls to end", Duration::from_secs(10), charged).await?;
    assert_eq!(metrics.sum("vectoll_key_tokens_total", &[("key", "default/alice")]), 20.0);
    assert_eq!(provider.account().charged_tokens, 20, "and no more attempts");
    assert_eq!(metrics.sum("vectoll_unsettled_tokens_total", &[]), 0.0);
    assert_eq!(metrics.sum("vectoll_backend_cooldowns_total", &[]), 0.0, "no fault of the backend's");
    let reason = [("scope", "request"), ("reason", "caller_timeout")];
    assert_eq!(metrics.sum("vectoll_rejections_total", &reason), 4.0);
    Ok(())
}

#[tokio::test]
async fn the_key_in_litellms_header_goes_before_authorization() -> anyhow::Result<()> {
    let (pair, _provider, caller) = stage(&[]).await?;
    let body = json!({"model": "builtin", "input": "a"});
    let answer = caller.post("/v1/embeddings", &body, &[("x-litellm-api-key", &*key_value("reader"))]).await?;
    assert_eq!(answer.status, 200);
    assert_eq!(pair.metrics().await?.sum("vectoll_key_requests_total", &[("key", "default/reader")]), 1.0);
    let wrong = caller.post("/v1/embeddings", &body, &[("x-litellm-api-key", "sk-nobodys")]).await?;
    assert_eq!(wrong.status, 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_calls_with_tags_cost_is_in_the_ledger_and_in_the_bill() -> anyhow::Result<()> {
    let (store, provider) = (Store::start().await?, Provider::start(Options::new(PROVIDER_KEY)).await?);
    let mut all = vec![team("search", json!({"tags": ["nightly", "=batch"]}))];
    all.extend(api_key("alice", "search", json!({})));
    let mut routes = route("openai", &[MODEL], &provider.url());
    for route in routes.iter_mut().filter(|one| one["kind"] == "ModelRoute") {
        route["spec"]["tags"] = json!(["by-route"]);
    }
    all.extend(routes);
    let of_store = store.operator_arguments()?;
    let of_store: Vec<&str> = of_store.iter().map(String::as_str).collect();
    let fleet = Fleet::start(Setup::built()?, &[("all.yaml", file(all))], &of_store, 1).await?;
    let [sidecar] = &fleet.sidecars[..] else { anyhow::bail!("one sidecar") };
    let caller = Caller::new(&sidecar.base_url(), &key_value("alice"))?;
    // Which of the tags of a call are listed, by its Team or its route.
    for (tags, calls) in [
        (json!(["nightly"]), 3),
        (json!(["nightly", "=batch", "nightly", "nobody-lists-it"]), 2),
        (json!(["by-route", "nightly"]), 1),
        (json!(["nobody-lists-it"]), 2),
        (json!([]), 1),
    ] {
        for _ in 0..calls {
            let body = json!({"model": MODEL, "input": "The quick brown fox", "tags": tags});
            let answer = caller.post("/v1/embeddings", &body, &[]).await?;
            ensure!(answer.status == 200, "{:?}", answer.json);
        }
    }
    let report = |part: &str| -> anyhow::Result<Value> {
        let month = jiff::Timestamp::now().strftime("%Y-%m").to_string();
        let mut command = Command::new(binary("vectoll-operator")?);
        command.args(["report", "--month", &month, "--by", part, "-o", "json", "--without-names"]).args(&of_store);
        let output = command.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let bill = poll::until("all calls in the ledger", Duration::from_secs(30), async || {
        let bill = report("tag")?;
        Ok((bill["total"]["requests"] == "9").then_some(bill))
    })
    .await?;
    let lines = bill["lines"].as_array().context("no lines")?;
    let mut found: Vec<(String, String)> = lines
        .iter()
        .filter(|line| line["kind"] == "usage")
        .map(|line| (line["tags"].to_string(), line["amounts"]["requests"].as_str().unwrap_or_default().to_owned()))
        .collect();
    found.sort();
    let expected =
        [(r#"["=batch","nightly"]"#, "2"), (r#"["by-route","nightly"]"#, "1"), (r#"["nightly"]"#, "3"), ("null", "3")];
    let expected = expected.map(|(tags, calls)| (tags.to_owned(), calls.to_owned()));
    ensure!(found == expected, "{bill}");
    // To the pico-USD what all calls cost, as by any other part.
    let sum = |bill: &Value| -> anyhow::Result<PicoUsd> {
        let lines = bill["lines"].as_array().context("no lines")?;
        let amounts = lines.iter().map(|line| line["amounts"]["spendUsd"].as_str().unwrap_or_default().parse());
        Ok(amounts.collect::<Result<Vec<PicoUsd>, _>>()?.into_iter().fold(PicoUsd::ZERO, PicoUsd::plus))
    };
    ensure!(sum(&bill)? == sum(&report("team")?)? && sum(&bill)? > PicoUsd::ZERO, "{bill}");
    Ok(())
}
