//! How much memory the sidecar takes.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a test"
)]

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, builtin, file, key_value, route, team},
    pair::{Pair, Setup},
    provider::{Options, Provider},
};

const MIB: u64 = 1024;

/// A field of /proc/PID/status, in KiB.
fn status(pair: &Pair, field: &str) -> anyhow::Result<u64> {
    let pid = pair.sidecar_pid().context("the sidecar does not run")?;
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_sidecar_is_small_and_a_68_mb_answer_hardly_makes_it_larger() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({"limits": {"tokensPerMinute": 10_000_000}}))];
    all.extend(route("openai", &["text-embedding-3-small", "fault-cut-large"], &provider.url()));
    all.extend(api_key("alice", "search", json!({"budget": {"limit": "10", "period": "Monthly"}})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    // Idle for a while, with a scrape as in real life.
    tokio::time::sleep(Duration::from_secs(1)).await;
    pair.metrics().await?;
    let idle = status(&pair, "VmRSS")?;
    println!("idle: {idle} KiB resident");
    assert!(idle < 15 * MIB, "{idle} KiB resident when idle");

    let small = caller.embed("text-embedding-3-small", json!("warm up")).await?;
    assert_eq!(small.status, 200);
    let before = status(&pair, "VmRSS")?;
    let texts: Vec<String> = (0..2048).map(|i| format!("text number {i}")).collect();
    let answer = caller.embed("text-embedding-3-small", json!(texts)).await?;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json["data"].as_array().map(Vec::len), Some(2048));
    assert_eq!(answer.json["data"][2047]["embedding"].as_array().map(Vec::len), Some(1536));
    let most = status(&pair, "VmHWM")?;
    println!("a 68 MB answer: {} KiB more than before it", most.saturating_sub(before));
    assert!(most.saturating_sub(before) < 16 * MIB, "{before} KiB before, {most} KiB at most");

    // A large answer that breaks off reaches the caller as a broken connection, never as a short success.
    let cut = caller.embed("fault-cut-large", json!(vec!["a"; 100])).await;
    assert!(cut.is_err(), "{cut:?}");
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.value("vectoll_unsettled_requests_total", &[]), Some(1.0));
    assert_eq!(metrics.value("vectoll_reservations", &[]), Some(0.0));
    assert_eq!(metrics.sum("vectoll_key_tokens_total", &[]), provider.account().charged_tokens as f64 + 100.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_built_in_model_an_idle_sidecar_takes_more() -> anyhow::Result<()> {
    let mut all = vec![team("search", json!({})), builtin("builtin", &["builtin"])];
    all.extend(api_key("alice", "search", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    pair.metrics().await?;
    let idle = status(&pair, "VmRSS")?;
    println!("idle with the built-in model: {idle} KiB resident");
    assert!(idle < 35 * MIB, "{idle} KiB resident when idle");
    Ok(())
}

/// An injected sidecar may take 256 MiB. Five of the translations below would be over 200 if they were all made at once.
const MAX_RESIDENT_KIB: u64 = 160 * MIB;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_translations_at_once_fit_into_the_memory_of_an_injected_sidecar() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["fault-other-encoding"], &provider.url()));
    all.extend(api_key("alice", "search", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    // The provider answers each with 17 MB of base64, which become some 34 MB of numbers.
    let call =
        json!({"model": "fault-other-encoding", "input": vec!["a"; 2048], "encoding_format": "float"}).to_string();
    let one = async || {
        let request = http.post(format!("{}/v1/embeddings", pair.base_url())).bearer_auth(key_value("alice"));
        let mut response = request.body(call.clone()).send().await?;
        ensure!(response.status() == 200, "{}", response.status());
        ensure!(
            response.headers().contains_key("x-litellm-response-cost"),
            "the cost is known before the headers go out"
        );
        let (mut length, mut end) = (0, Vec::new());
        while let Some(piece) = response.chunk().await? {
            length += piece.len();
            end = piece.to_vec();
        }
        ensure!(end.ends_with(b"}"), "an answer that is cut off");
        Ok(length)
    };
    let lengths = futures_util::future::try_join_all((0..5).map(|_| one())).await?;
    let most = status(&pair, "VmHWM")?;
    println!("five translations of {} MB at once: {most} KiB at most", lengths[0] / 1_000_000);
    assert!(lengths[0] > 30_000_000 && lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
    assert!(most < MAX_RESIDENT_KIB, "{most} KiB at most");
    assert_eq!(pair.metrics().await?.sum("vectoll_key_tokens_total", &[]), provider.account().charged_tokens as f64);
    Ok(())
}

/// An injected sidecar may take 256 MiB. Twelve of the calls below took over 320 when all were carried out at once.
const HELD: u64 = 224 * MIB;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_calls_at_once_take_their_turns_in_the_memory_that_there_is() -> anyhow::Result<()> {
    let provider =
        Provider::start(Options { latency: Duration::from_millis(200), ..Options::new(PROVIDER_KEY) }).await?;
    let mut all = vec![team("search", json!({}))];
    let mut routes = route("openai", &["text-embedding-3-small"], &provider.url());
    // All of a call is there several times: as it came, as texts, as the parts that it is sent in, and what comes of them.
    routes[0]["spec"]["cache"] = json!({"maxBytes": MIB * 1024});
    routes[0]["spec"]["backends"][0]["batch"] = json!({"maxItems": 256});
    all.extend(routes);
    all.extend(api_key("alice", "search", json!({"budget": {"limit": "10", "period": "Monthly"}})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let large = async |call: usize| {
        let texts: Vec<String> = (0..2048).map(|text| format!("{call} {text} {}", "word ".repeat(400))).collect();
        let body = json!({"model": "text-embedding-3-small", "input": texts, "dimensions": 512});
        let answer = caller.post("/v1/embeddings", &body, &[]).await?;
        match answer.status {
            200 => ensure!(answer.json["data"].as_array().map(Vec::len) == Some(2048), "an answer that is not whole"),
            status => ensure!((status, answer.code()) == (503, "no_room"), "{status}: {}", answer.message()),
        }
        anyhow::Ok(answer.status)
    };
    let small = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let answer = caller.embed("text-embedding-3-small", json!("small")).await?;
        ensure!(answer.status == 200, "a small one waits for nothing: {}", answer.message());
        Ok(())
    };
    let (statuses, ()) = tokio::try_join!(futures_util::future::try_join_all((0..12).map(large)), small)?;
    let most = status(&pair, "VmHWM")?;
    println!("twelve calls of 4 MB for 2,048 vectors each: {statuses:?}, {most} KiB at most");
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(most < HELD, "{most} KiB at most");
    let (metrics, account) = (pair.metrics().await?, provider.account());
    assert_eq!(account.violations, Vec::<String>::new());
    assert_eq!(metrics.value("vectoll_reservations", &[]), Some(0.0));
    let booked = metrics.sum("vectoll_key_tokens_total", &[]);
    let unsettled = metrics.sum("vectoll_unsettled_tokens_total", &[]);
    let charged = account.charged_tokens as f64;
    assert!(
        charged <= booked && booked - charged <= unsettled,
        "{charged} charged, {booked} booked, {unsettled} of them unsettled"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_for_which_there_is_no_room_in_time_is_refused_and_costs_nothing() -> anyhow::Result<()> {
    let provider = Provider::start(Options { latency: Duration::from_secs(3), ..Options::new(PROVIDER_KEY) }).await?;
    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["text-embedding-3-small"], &provider.url()));
    all.extend(api_key("alice", "search", json!({})));
    let mut setup = Setup::built()?;
    setup.sidecar_arguments =
        ["--max-held-bytes", "1048576", "--body-timeout-seconds", "1"].map(str::to_owned).to_vec();
    let pair = Pair::start_with(setup, &[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    // Its body alone is more than there is: one call may go beyond that.
    let large = json!(vec!["word ".repeat(4_000); 100]);
    let model = "text-embedding-3-small";
    let others = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        tokio::try_join!(caller.embed(model, large.clone()), caller.embed(model, json!("small")))
    };
    let (first, (second, small)) = tokio::try_join!(caller.embed(model, large.clone()), others)?;
    assert_eq!((first.status, small.status), (200, 200), "{}", first.message());
    assert_eq!((second.status, second.code(), second.header("retry-after")), (503, "no_room", Some("1")));
    assert_eq!(second.header("x-litellm-response-cost"), None, "it was not sent");
    assert_eq!(provider.account().requests, 2);
    assert_eq!(caller.embed(model, large).await?.status, 200, "there is room again");
    assert_eq!(pair.metrics().await?.sum("vectoll_key_tokens_total", &[]), provider.account().charged_tokens as f64);
    Ok(())
}
