//! Routes that the gateway carries out: a sidecar without a credential passes calls on, and what comes of them is the gateway's alone.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use vectoll_tests::{
    caller::{Answer, Caller},
    manifest::{file, key_value, on_top, resource_in, secret},
    pair::{Pair, Setup},
    provider::Provider,
    wire::lines,
};

use crate::stage::{Certificate, DEADLINE, Stage, api_key, models, namespace, provider_key, status};

pub const MODEL: &str = "text-embedding-3-small";

/// A gateway, and a sidecar of the namespace `shop` whose routes are delivered by it.
struct Passing {
    stage: Stage,
    sidecar: Pair,
}

/// The namespace's own manifests as its sidecar's operator has them: the same, with the Secret of the provider, which is to stay out.
fn shop(provider: &Provider, settings: &Value) -> anyhow::Result<String> {
    let mut all: Vec<Value> = namespace("shop", provider)
        .split("---\n")
        .filter(|document| !document.is_empty())
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("a manifest is not JSON")?;
    for route in all.iter_mut().filter(|one| one["kind"] == "ModelRoute") {
        route["spec"] = on_top(on_top(route["spec"].take(), json!({"delivery": "Gateway"})), settings.clone());
    }
    all.extend(api_key("shop", "alice", json!({})));
    Ok(file(all))
}

/// A sidecar of `shop` that trusts this certificate.
pub async fn sidecar(stage: &Stage, certificate: &Certificate, arguments: &[&str]) -> anyhow::Result<Pair> {
    sidecar_to((stage.pair.proxy_address(), certificate), &stage.shop, arguments, &json!({})).await
}

/// One whose gateway is there. `settings` are its routes'.
pub async fn sidecar_to(
    (address, certificate): (SocketAddr, &Certificate),
    provider: &Provider,
    arguments: &[&str],
    settings: &Value,
) -> anyhow::Result<Pair> {
    let mut setup = Setup::built()?;
    let url = format!("https://{address}");
    let ca = certificate.file("tls.crt").display().to_string();
    setup.operator_arguments =
        ["--namespace", "shop", "--gateway-url", &url, "--gateway-ca", &ca].map(str::to_owned).to_vec();
    setup.sidecar_arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    Pair::start_with(setup, &[("shop.yaml", shop(provider, settings)?)]).await
}

impl Passing {
    async fn start(calls_a_minute: u32) -> anyhow::Result<Self> {
        Self::start_with(calls_a_minute, &[]).await
    }

    async fn start_with(calls_a_minute: u32, arguments: &[&str]) -> anyhow::Result<Self> {
        let stage = Stage::start_with(calls_a_minute).await?;
        let sidecar = sidecar(&stage, &stage.certificate, arguments).await?;
        Ok(Self { stage, sidecar })
    }

    fn caller(&self) -> anyhow::Result<Caller> {
        Caller::new(&self.sidecar.base_url(), &key_value("alice"))
    }

    /// Nothing was counted, booked or reserved by the sidecar.
    async fn nothing_is_booked_here(&self) -> anyhow::Result<()> {
        let metrics = self.sidecar.at_rest().await?;
        for family in
            ["key_requests", "key_tokens", "key_spend_usd", "team_requests", "user_requests", "model_requests"]
        {
            assert_eq!(metrics.sum(&format!("vectoll_{family}_total"), &[]), 0.0, "{family}");
        }
        Ok(())
    }
}

/// All that is in a folder, as one text.
fn content(folder: &Path, text: &mut String) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            content(&path, text)?;
        } else {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(path)?));
        }
    }
    Ok(())
}

/// What callers rely on of an answer, whichever way it came.
fn told(answer: &Answer) -> Value {
    let headers: serde_json::Map<String, Value> =
        ["content-type", "x-litellm-model-id", "x-litellm-attempted-retries", "retry-after"]
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), answer.header(name)?.into())))
            .collect();
    let limited = answer.header("x-ratelimit-limit-requests");
    json!({"status": answer.status, "headers": headers, "limit": limited, "body": answer.json})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_without_a_credential_serves_as_the_gateway_does() -> anyhow::Result<()> {
    let passing = Passing::start(1_000).await?;
    let mut config = String::new();
    content(passing.sidecar.config_dir(), &mut config)?;
    assert!(!config.contains(&provider_key("shop")) && !config.contains(passing.stage.shop.origin()), "{config}");
    assert!(config.contains("gateway.v1.yaml") || config.contains("127.0.0.1"), "it is told of the gateway");
    let (here, there) = (passing.caller()?, passing.stage.caller("alice")?);
    assert_eq!(here.get("/v1/models").await?.json, there.get("/v1/models").await?.json);
    let many: Vec<String> = (0..300).map(|n| format!("text {n}")).collect();
    for body in [
        json!({"model": MODEL, "input": "The quick brown fox"}),
        json!({"model": MODEL, "input": ["a", "b"], "encoding_format": "base64", "dimensions": 8}),
        json!({"model": MODEL, "input": "a", "encoding_format": "float", "user": "ann"}),
        json!({"model": MODEL, "input": many, "encoding_format": "base64"}),
        json!({"model": MODEL, "input": []}),
        json!({"model": "other", "input": "a"}),
    ] {
        let (passed, direct) =
            (here.post("/v1/embeddings", &body, &[]).await?, there.post("/v1/embeddings", &body, &[]).await?);
        assert_eq!(told(&passed), told(&direct), "{body}");
    }
    let by_path = async |caller: &Caller| {
        let body = json!({"input": "a"});
        let path = format!("/openai/deployments/{MODEL}/embeddings?api-version=1");
        caller
            .raw(|http, url| http.post(format!("{url}{path}")).header("api-key", key_value("alice")).json(&body))
            .await
    };
    assert_eq!(told(&by_path(&here).await?), told(&by_path(&there).await?));
    // What callers say of the call reaches the gateway, and both logs have the sidecar's ID for it; the gateway has one of its own.
    let user = [("x-litellm-user-id", "bea"), ("x-litellm-tags", "nightly")];
    let answer = here.post("/v1/embeddings", &json!({"model": MODEL, "input": "a"}), &user).await?;
    let id = answer.header("x-litellm-call-id").context("no call ID")?.to_owned();
    let of = |lines: Vec<Value>, field: &str| lines.into_iter().find(|line| line[field] == *id).context("no such line");
    let in_sidecar = of(lines(&passing.sidecar, 8).await?, "call_id")?;
    let in_gateway = of(lines(&passing.stage.pair, 13).await?, "caller_call_id")?;
    assert_ne!(in_gateway["call_id"], json!(id));
    assert_eq!((&in_sidecar["backend"], &in_sidecar["status"]), (&json!("_gateway"), &json!(200)));
    assert_eq!((&in_gateway["user"], &in_gateway["tags"]), (&json!("bea"), &json!(["nightly"])));
    assert!(passing.stage.shop.account().violations.is_empty(), "{:?}", passing.stage.shop.account().violations);

    passing.nothing_is_booked_here().await?;
    let metrics = passing.sidecar.metrics().await?;
    let route = ("route", "shop/openai");
    assert_eq!(metrics.sum("vectoll_passed_on_calls_total", &[route, ("status", "200")]), 6.0);
    assert_eq!(metrics.sum("vectoll_passed_on_duration_seconds_count", &[]), 6.0);
    let metrics = passing.stage.pair.at_rest().await?;
    assert_eq!(metrics.sum("vectoll_key_requests_total", &[("key", "shop/alice")]), 11.0, "each once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_once_for_both_ways_in() -> anyhow::Result<()> {
    let passing = Passing::start(20).await?;
    let ways = [passing.caller()?, passing.stage.caller("alice")?];
    let mut calls = JoinSet::new();
    for caller in ways.into_iter().cycle().take(60) {
        calls.spawn(async move { caller.embed(MODEL, json!("a")).await });
    }
    let mut served = 0;
    while let Some(answer) = calls.join_next().await {
        let answer = answer??;
        match answer.status {
            200 => served += 1,
            429 => {
                assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
                assert!(answer.message().starts_with("Rate limit exceeded for key"), "{}", answer.message());
            }
            status => anyhow::bail!("{status}: {}", answer.message()),
        }
    }
    assert_eq!((served, passing.stage.shop.account().charged_requests), (20, 20));
    let metrics = passing.stage.pair.at_rest().await?;
    assert_eq!(metrics.sum("vectoll_key_requests_total", &[]), 20.0);
    assert_eq!(metrics.sum("vectoll_namespace_requests_total", &[("namespace", "shop"), ("status", "429")]), 40.0);
    passing.nothing_is_booked_here().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_gateway_calls_are_refused_and_nothing_else_is() -> anyhow::Result<()> {
    let mut passing = Passing::start(1_000).await?;
    let caller = passing.caller()?;
    assert_eq!(status(&caller).await?, 200);
    passing.stage.pair.kill_sidecar().await?;
    let answer = caller.embed(MODEL, json!("a")).await?;
    assert_eq!((answer.status, answer.code(), answer.header("retry-after")), (503, "gateway_unavailable", Some("1")));
    assert!(
        answer.message().contains("cannot be reached: ") && answer.message().contains("Nothing was sent"),
        "{}",
        answer.message()
    );
    assert_eq!(models(&caller).await?, 200);
    assert_eq!(caller.with_key("sk-nobodys-key-at-all").embed(MODEL, json!("a")).await?.status, 401);
    let metrics = passing.sidecar.metrics().await?;
    let reason = [("scope", "gateway"), ("reason", "gateway_unreachable")];
    assert_eq!(metrics.value("vectoll_rejections_total", &reason), Some(1.0));
    passing.stage.pair.start_sidecar().await?;
    assert_eq!(status(&caller).await?, 200, "as soon as it is back");
    passing.nothing_is_booked_here().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_trusted_is_sent_nothing() -> anyhow::Result<()> {
    let stage = Stage::start_with(1_000).await?;
    let other = Certificate::new()?;
    let sidecar = sidecar(&stage, &other, &[]).await?;
    let answer = Caller::new(&sidecar.base_url(), &key_value("alice"))?.embed(MODEL, json!("a")).await?;
    assert_eq!((answer.status, answer.code()), (503, "gateway_unavailable"));
    assert!(answer.message().contains("its certificate is not trusted"), "{}", answer.message());
    assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), (None, Some("false")));
    assert_eq!(stage.shop.account().requests, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_ends_the_gateways_call_as_well() -> anyhow::Result<()> {
    let passing = Passing::start(1_000).await?;
    let caller = passing.caller()?;
    caller.hang_up("fault-slow-1500", json!("a"), Duration::from_millis(500)).await;
    // The gateway knows at once, and reads on to what it cost.
    let line = lines(&passing.stage.pair, 1).await?;
    assert_eq!(line[0]["status"], 499, "{line:?}");
    let rest = async || {
        let in_flight = passing.sidecar.metrics().await?.value("vectoll_requests_in_flight", &[]);
        Ok((in_flight == Some(0.0)).then_some(()))
    };
    passing.sidecar.wait_for("the sidecar to rest", DEADLINE, rest).await?;
    let metrics = passing.stage.pair.at_rest().await?;
    assert_eq!(metrics.sum("vectoll_key_requests_total", &[]), 1.0, "it was sent, and is booked once");
    passing.nothing_is_booked_here().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_may_have_been_booked_is_not_sent_again() -> anyhow::Result<()> {
    let mut passing = Passing::start(1_000).await?;
    let caller = passing.caller()?;
    // On a connection that is in use already.
    assert_eq!(status(&caller).await?, 200);
    let call = tokio::spawn(async move { caller.embed("fault-slow-3000", json!("a")).await });
    let sent = async || Ok((passing.stage.shop.account().requests == 2).then_some(()));
    passing.stage.pair.wait_for("the call to be under way", DEADLINE, sent).await?;
    passing.stage.pair.kill_sidecar().await?;
    let answer = call.await??;
    assert_eq!((answer.status, answer.code()), (502, "upstream_error"), "{}", answer.message());
    assert!(answer.message().contains("may have been carried out and charged"), "{}", answer.message());
    assert_eq!(answer.header("x-should-retry"), Some("false"), "clients do not send it again by themselves");
    passing.stage.pair.start_sidecar().await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(passing.stage.shop.account().requests, 2, "it was sent once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pods_own_key_without_a_token_has_nothing_to_pass_on() -> anyhow::Result<()> {
    let passing = Passing::start_with(1_000, &["--pod-api-key", "shop/alice"]).await?;
    let answer = passing.caller()?.with_key("vectoll-pod-key").embed(MODEL, json!("a")).await?;
    assert_eq!((answer.status, answer.code()), (401, "invalid_api_key"));
    assert!(answer.message().contains("send the value of an ApiKey"), "{}", answer.message());
    assert_eq!(status(&passing.caller()?).await?, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_its_own_provider_says_so_at_once() -> anyhow::Result<()> {
    let stage = Stage::start_with(1_000).await?;
    let itself = json!({
        "name": "itself",
        "openAI": {"baseURL": format!("https://{}/v1", stage.pair.proxy_address()), "apiKeySecretRef": {"name": "itself", "key": "key"}},
        "caSecretRef": {"name": "itself"},
        "price": {"inputPerMillionTokens": "0.02"},
        "tokens": {"encoding": "cl100k_base"},
    });
    let all = [
        resource_in("shop", "ModelRoute", "round", json!({"models": ["round"], "backends": [itself]})),
        secret("shop", "itself", json!({"key": key_value("alice"), "ca.crt": stage.certificate.pem})),
    ];
    stage.pair.write_manifest("round.yaml", &file(all))?;
    let alice = stage.caller("alice")?;
    let answered = async || {
        let answer = alice.embed("round", json!("a")).await?;
        Ok((answer.code() != "model_not_found").then_some(answer))
    };
    let answer = stage.pair.wait_for("the route", DEADLINE, answered).await?;
    assert_eq!((answer.status, answer.code()), (404, "loop_detected"), "{}", answer.message());
    assert!(answer.message().contains("has come by this gateway before"), "{}", answer.message());
    let metrics = stage.pair.at_rest().await?;
    assert_eq!(metrics.sum("vectoll_key_spend_usd_total", &[]), 0.0, "nothing was charged");
    assert_eq!(metrics.sum("vectoll_rejections_total", &[("reason", "looped")]), 1.0, "there and back, and no further");
    Ok(())
}
