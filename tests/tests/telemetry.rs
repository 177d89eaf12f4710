//! Traces and GenAI histograms, as a collector gets them.

#![allow(clippy::indexing_slicing, clippy::float_cmp, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use vectoll_tests::{
    caller::Caller,
    collector::{Collector, Told, attributes},
    manifest::{PROVIDER_KEY, api_key, backend, builtin, file, key_value, resource, route, team},
    pair::{Pair, Setup, poll},
    provider::{Options, Provider},
};

const MODEL: &str = "text-embedding-3-small";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const DEADLINE: Duration = Duration::from_secs(20);

/// How long spans gather before they are sent, for `OTEL_BSP_SCHEDULE_DELAY`.
const SCHEDULE_DELAY_MILLIS: &str = "100";

async fn stage(endpoint: &str, gather: &str, arguments: &[&str]) -> anyhow::Result<(Pair, Provider, Caller)> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({})), builtin("builtin", &["builtin"])];
    all.extend(route("openai", &[MODEL], &provider.url()));
    all.extend(route("wild", &["fault-*"], &provider.url()).into_iter().take(1));
    all.extend(api_key("alice", "search", json!({})));
    all.extend(api_key("spent", "search", json!({"limits": {"tokensPerMinute": 1}})));
    // The SDK's own settings: what there is goes out soon.
    let environment = [
        ("VECTOLL_OTLP_ENDPOINT", endpoint),
        // Meant for the application: neither counts.
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_TRACES_SAMPLER_ARG", "endpoint=http://localhost:14250,pollingIntervalMs=5000"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=open"),
        ("OTEL_BSP_SCHEDULE_DELAY", gather),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("VECTOLL_POD_NAME", "pod-1"),
    ];
    let setup = Setup {
        sidecar_arguments: arguments.iter().map(|&one| one.to_owned()).collect(),
        environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..Setup::built()?
    };
    let pair = Pair::start_with(setup, &[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, provider, caller))
}

async fn until(collector: &Collector, what: &str, has: impl Fn(&Told) -> bool) -> anyhow::Result<Told> {
    let found = poll::until(what, DEADLINE, async || Ok(Some(collector.told()).filter(&has))).await;
    let told = found.with_context(|| format!("{:?}", collector.told().spans))?;
    ensure!(told.violations.is_empty(), "{:?}", told.violations);
    Ok(told)
}

fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

fn of_kind(told: &Told, kind: SpanKind) -> Vec<&Span> {
    told.spans.iter().filter(|span| span.kind() == kind).collect()
}

#[tokio::test]
async fn a_collector_gets_each_call_in_its_callers_trace_and_what_was_asked_below() -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    let (pair, provider, caller) = stage(&collector.endpoint(), SCHEDULE_DELAY_MILLIS, &[]).await?;
    let body = json!({"model": MODEL, "input": "a secret thought", "encoding_format": "base64", "dimensions": 256});
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let headers = [("traceparent", &*parent), ("tracestate", "vendor=1"), ("x-litellm-user-id", "ada")];
    let answer = caller.post("/v1/embeddings", &body, &headers).await?;
    assert_eq!(answer.status, 200, "{}", answer.message());
    let sent = provider.requests().pop().context("the provider got nothing")?;
    let passed_on = sent.headers.get("traceparent").and_then(|value| value.to_str().ok()).context("no trace")?;
    assert!(sent.headers.get("x-collector-key").is_none());
    assert_eq!(sent.headers.get("tracestate").and_then(|value| value.to_str().ok()), Some("vendor=1"));

    let told =
        until(&collector, "two spans and both histograms", |told| told.spans.len() == 2 && told.histograms.len() == 2)
            .await?;
    let (server, client) = (of_kind(&told, SpanKind::Server), of_kind(&told, SpanKind::Client));
    let ([server], [client]) = (server.as_slice(), client.as_slice()) else { panic!("{:?}", told.spans) };
    assert_eq!((hex(&server.trace_id), hex(&client.trace_id)), (TRACE.to_owned(), TRACE.to_owned()));
    assert_eq!((hex(&server.parent_span_id), &client.parent_span_id), ("b7ad6b7169203331".to_owned(), &server.span_id));
    assert_eq!(passed_on, format!("00-{TRACE}-{}-01", hex(&client.span_id)), "who is asked is below the asking");
    assert!(
        server.start_time_unix_nano <= client.start_time_unix_nano
            && client.end_time_unix_nano <= server.end_time_unix_nano
    );
    assert_eq!(client.name, format!("embeddings {MODEL}"));
    let (of_server, of_client) = (attributes(&server.attributes), attributes(&client.attributes));
    let port = provider.address().port();
    for (name, value) in [
        ("gen_ai.operation.name", json!("embeddings")),
        ("gen_ai.provider.name", json!("openai")),
        ("gen_ai.request.model", json!(MODEL)),
        ("gen_ai.request.encoding_formats", json!(["base64"])),
        ("gen_ai.embeddings.dimension.count", json!(256)),
        ("gen_ai.usage.input_tokens", json!(answer.tokens())),
        ("server.address", json!("127.0.0.1")),
        ("server.port", json!(port)),
    ] {
        assert_eq!(of_client.get(name), Some(&value), "{name}");
    }
    for (name, value) in [
        ("http.response.status_code", json!(200)),
        ("http.route", json!("/v1/embeddings")),
        ("vectoll.call_id", json!(answer.header("x-litellm-call-id"))),
        ("vectoll.key", json!("default/alice")),
        ("vectoll.user", json!("ada")),
        ("vectoll.cost_usd", json!(answer.header("x-litellm-response-cost"))),
    ] {
        assert_eq!(of_server.get(name), Some(&value), "{name}");
    }
    for (name, value) in
        [("service.name", "vectoll-sidecar"), ("k8s.pod.name", "pod-1"), ("deployment.environment.name", "test")]
    {
        assert_eq!(told.resource.get(name), Some(&json!(value)), "{:?}", told.resource);
    }
    let tokens = histogram(&told, "gen_ai.client.embeddings.operation.input_tokens").context("no tokens")?;
    #[allow(clippy::cast_precision_loss, reason = "a few tokens")]
    let expected = answer.tokens() as f64;
    assert_eq!((tokens.1, tokens.2), (1, expected), "{:?}", told.histograms);
    assert_eq!(tokens.0["gen_ai.request.model"], MODEL);
    let (of, count, seconds) = histogram(&told, "gen_ai.client.embeddings.duration").context("no durations")?;
    assert_eq!((count, of.get("error.type")), (1, None));
    #[allow(clippy::cast_precision_loss, reason = "a few milliseconds")]
    let of_span = (client.end_time_unix_nano - client.start_time_unix_nano) as f64 / 1e9;
    assert!((seconds - of_span).abs() < 1e-5, "the measure is the span's: {seconds} {of_span}");
    // The conventions' buckets.
    let seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
    let tokens: Vec<f64> = (0..14).map(|power| 4_f64.powi(power)).collect();
    assert_eq!(told.bounds["gen_ai.client.embeddings.duration"], ("s".to_owned(), seconds.to_vec()));
    assert_eq!(told.bounds["gen_ai.client.embeddings.operation.input_tokens"], ("{token}".to_owned(), tokens));

    // Nothing of what was embedded, nor a credential.
    for secret in ["secret thought", PROVIDER_KEY, &key_value("alice")] {
        assert!(!told.bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
    let exports = pair.metrics().await?.sum("vectoll_otlp_exports_total", &[("result", "success")]);
    assert!(exports >= 2.0, "{exports}");
    Ok(())
}

fn histogram(told: &Told, name: &str) -> Option<(Value, u64, f64)> {
    let ((_, of), (count, sum)) = told.histograms.iter().find(|((known, _), _)| known == name)?;
    Some((serde_json::from_str(of).ok()?, *count, *sum))
}

#[tokio::test]
async fn refusals_and_failures_are_told_apart_and_sampling_is_the_callers() -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    let (_pair, provider, caller) = stage(
        &collector.endpoint(),
        SCHEDULE_DELAY_MILLIS,
        &["--otlp-sampling", "0", "--otlp-conventions", "released"],
    )
    .await?;
    let call = async |caller: &Caller, model: &str, flags: &str| {
        let parent = format!("00-{TRACE}-b7ad6b7169203331-{flags}");
        let headers = [("traceparent", &*parent)];
        caller.post("/v1/embeddings", &json!({"model": model, "input": "some words"}), &headers).await
    };
    // Neither has said so, and the portion is none.
    assert_eq!(caller.embed(MODEL, json!("a")).await?.status, 200);
    assert_eq!(call(&caller, MODEL, "00").await?.status, 200);
    for request in provider.requests() {
        let passed_on = request.headers.get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default();
        ensure!(passed_on.ends_with("-00"), "what is not told here is told nowhere: {passed_on}");
    }
    assert_eq!(call(&caller.with_key(&key_value("spent")), MODEL, "01").await?.status, 429);
    assert_eq!(call(&caller, "fault-500", "01").await?.status, 502);
    assert_eq!(call(&caller, "builtin", "01").await?.status, 200);
    assert_eq!(call(&caller.with_key("sk-nobodys"), MODEL, "01").await?.status, 401);
    let told = until(&collector, "six spans", |told| {
        told.spans.len() == 6 && told.histograms.keys().any(|(_, of)| of.contains("builtin"))
    })
    .await?;
    let mut servers: Vec<(i64, Option<String>)> = of_kind(&told, SpanKind::Server)
        .iter()
        .map(|span| {
            let of = attributes(&span.attributes);
            let error = of.get("error.type").and_then(Value::as_str).map(str::to_owned);
            (of["http.response.status_code"].as_i64().unwrap_or_default(), error)
        })
        .collect();
    servers.sort();
    let [served, stranger, limited, failed] = servers.as_slice() else { panic!("{servers:?}") };
    assert_eq!((served, stranger), (&(200, None), &(401, None)));
    assert_eq!(limited, &(429, None), "that a caller asks for too much is no error of the server's");
    assert!(failed.0 == 502 && failed.1.is_some(), "{failed:?}");
    let clients: Vec<(String, Value, bool)> = of_kind(&told, SpanKind::Client)
        .iter()
        .map(|span| {
            let of = attributes(&span.attributes);
            (span.name.clone(), of["gen_ai.provider.name"].clone(), of.contains_key("error.type"))
        })
        .collect();
    assert!(clients.contains(&("embeddings fault-500".to_owned(), json!("openai"), true)), "{clients:?}");
    assert!(clients.iter().any(|(_, provider, failed)| provider == "builtin" && !failed), "{clients:?}");
    // Of a route for names that callers make up the measures say none: there is no end to them.
    ensure!(!told.histograms.keys().any(|(_, of)| of.contains("fault-500")), "{:?}", told.histograms);
    let names: Vec<&str> = told.histograms.keys().map(|(name, _)| &**name).collect();
    assert!(
        names.iter().all(|name| ["gen_ai.client.operation.duration", "gen_ai.client.token.usage"].contains(name)),
        "{names:?}"
    );
    let of_tokens = told.histograms.keys().filter(|(name, _)| name == "gen_ai.client.token.usage");
    assert!(
        of_tokens.into_iter().all(|(_, of)| of.contains(r#""gen_ai.token.type":"input""#)),
        "{:?}",
        told.histograms
    );
    Ok(())
}

#[tokio::test]
async fn a_collector_that_takes_nothing_costs_no_call() -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    collector.refuse(Some(StatusCode::BAD_REQUEST));
    let (pair, _provider, caller) = stage(&collector.endpoint(), SCHEDULE_DELAY_MILLIS, &[]).await?;
    for _ in 0..3 {
        assert_eq!(caller.embed(MODEL, json!("a")).await?.status, 200);
    }
    let lost = async || Ok((pair.metrics().await?.sum("vectoll_otlp_spans_dropped_total", &[]) == 6.0).then_some(()));
    poll::until("six spans that are lost, and counted", DEADLINE, lost).await?;
    let failed = pair.metrics().await?.sum("vectoll_otlp_exports_total", &[("signal", "traces"), ("result", "error")]);
    assert!(failed > 0.0);
    let log = pair.sidecar_log();
    let said = log.matches("the OpenTelemetry collector does not take what it is sent").count();
    assert!((1..=2).contains(&said), "once for each signal: {log}");
    collector.refuse(None);
    assert_eq!(caller.embed(MODEL, json!("a")).await?.status, 200);
    until(&collector, "the next call", |told| told.spans.len() == 2).await?;
    Ok(())
}

#[tokio::test]
async fn the_last_words_are_said_at_the_end() -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    // They would gather for an hour.
    let (mut pair, _provider, caller) = stage(&collector.endpoint(), "3600000", &[]).await?;
    assert_eq!(caller.embed(MODEL, json!("a")).await?.status, 200);
    assert!(collector.told().spans.is_empty());
    assert!(pair.terminate_sidecar().await?.success());
    assert_eq!(collector.told().spans.len(), 2, "what was still there is told");
    Ok(())
}

/// It accepts connections and says nothing on them.
#[tokio::test]
async fn a_collector_that_hangs_holds_up_no_end() -> anyhow::Result<()> {
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", silent.local_addr()?);
    let (mut pair, _provider, caller) = stage(&endpoint, SCHEDULE_DELAY_MILLIS, &[]).await?;
    assert_eq!(caller.embed(MODEL, json!("a")).await?.status, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    assert!(pair.terminate_sidecar().await?.success());
    let took = began.elapsed();
    println!("figure: the end beside a collector that hangs took {took:?}");
    assert!(took < 5 * Duration::from_secs(1), "the SDK would wait for five seconds for measures alone: {took:?}");
    Ok(())
}

/// Of two attempts at once, and of calls that travel together.
#[tokio::test]
async fn what_was_asked_takes_as_long_as_the_answer_that_was_taken() -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    let slow = Provider::start(Options { latency: Duration::from_secs(3), ..Options::new(PROVIDER_KEY) }).await?;
    let fast = Provider::start(Options { latency: Duration::from_millis(300), ..Options::new(PROVIDER_KEY) }).await?;
    let mut all = vec![team("search", json!({}))];
    let backends =
        [backend("slow", MODEL, &slow.url(), json!({})), backend("fast", MODEL, &fast.url(), json!({"priority": 2}))];
    let of_two = json!({"models": ["hedged"], "hedge": {"delayMilliseconds": 500}, "backends": backends});
    all.push(resource("ModelRoute", "hedged", of_two));
    let mut together = route("together", &["together"], &fast.url());
    together[0]["spec"]["coalesce"] = json!({"windowMilliseconds": 50, "maxItems": 10});
    all.extend(together);
    all.extend(api_key("alice", "search", json!({})));
    let setup = Setup {
        environment: [
            ("VECTOLL_OTLP_ENDPOINT", &*collector.endpoint()),
            ("OTEL_BSP_SCHEDULE_DELAY", SCHEDULE_DELAY_MILLIS),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        ..Setup::built()?
    };
    let pair = Pair::start_with(setup, &[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    assert_eq!(caller.embed("hedged", json!("a")).await?.status, 200);
    let (one, other) = tokio::join!(caller.embed("together", json!("b")), caller.embed("together", json!("c")));
    assert_eq!((one?.status, other?.status), (200, 200));
    let told = until(&collector, "three calls", |told| of_kind(told, SpanKind::Client).len() == 3).await?;
    for span in of_kind(&told, SpanKind::Client) {
        let millis = (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000;
        let of = attributes(&span.attributes);
        let (bounds, port) = if span.name.ends_with("hedged") {
            (790..2_900, fast.address().port())
        } else {
            (290..2_900, fast.address().port())
        };
        assert!(bounds.contains(&millis), "{} took {millis} ms", span.name);
        assert_eq!(of["server.port"], json!(port), "whose answer was taken: {}", span.name);
        assert!(of.contains_key("gen_ai.usage.input_tokens"), "{of:?}");
    }
    Ok(())
}
