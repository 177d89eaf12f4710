//! What is large is worked on beside the event loop, which goes on with small calls.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test"
)]

use std::{fs, time::Duration};

use anyhow::Context;
use axum::{Router, body::Bytes, extract::DefaultBodyLimit, response::IntoResponse, routing::post};
use http::StatusCode;
use serde_json::{Value, json};
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, builtin, file, key_value, resource, route, secret, team},
    pair::Pair,
    provider::{Options, Provider},
};

/// A call that is no small one anywhere.
const LARGE: usize = 3 << 19;

/// Time on a processor so far, in nanoseconds: of the event loop, and of the threads beside it.
fn times(pid: u32) -> anyhow::Result<(u64, u64)> {
    let (mut event_loop, mut compute) = (0, 0);
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?.path();
        let name = fs::read_to_string(thread.join("comm"))?;
        let spent = fs::read_to_string(thread.join("schedstat"))?;
        let spent: u64 = spent.split_whitespace().next().context("no time in schedstat")?.parse()?;
        if name.trim() == "compute" {
            compute += spent;
        } else if thread.ends_with(pid.to_string()) {
            event_loop += spent;
        }
    }
    Ok((event_loop, compute))
}

/// How often something was worked on beside the event loop, and on how many bytes.
async fn work(pair: &Pair) -> anyhow::Result<(usize, usize)> {
    let metrics = pair.metrics().await?;
    let of = |name: &str| metrics.sum(name, &[]) as usize;
    Ok((of("vectoll_compute_work_total"), of("vectoll_compute_work_bytes_total")))
}

/// A provider that answers whatever it is asked with an error, when it has read it.
async fn deaf() -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let answer = async |_: Bytes| (StatusCode::BAD_REQUEST, "{}").into_response();
    let router = Router::new().fallback(post(answer)).layer(DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

async fn start() -> anyhow::Result<(Pair, Provider, Caller)> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({})), builtin("builtin", &["builtin"])];
    // Longer than any model of OpenAI's takes: what is refused for that is not worked on.
    let takes_all = |mut route: Vec<Value>| {
        route[0]["spec"]["backends"][0]["maxInputTokens"] = json!(10_000_000);
        route
    };
    all.extend(takes_all(route("openai", &["text-*", "fault-*"], &provider.url())));
    let mut renamed = route("renamed", &["renamed"], &provider.url());
    renamed.truncate(1);
    renamed[0]["spec"]["backends"][0]["model"] = json!("text-embedding-3-small");
    all.extend(takes_all(renamed));
    all.push(resource(
        "ModelRoute",
        "signed",
        json!({
            "models": ["signed"],
            "backends": [{
                "name": "bedrock", "model": "amazon.titan-embed-text-v2:0", "price": {"inputPerMillionTokens": "0.02"},
                "bedrock": {"region": "eu-central-1", "endpoint": deaf().await?, "accessKeySecretRef": {"name": "aws"}},
            }],
        }),
    ));
    all.push(secret(
        "default",
        "aws",
        json!({"AWS_ACCESS_KEY_ID": "AKIAKEPTBYNOBODY0001", "AWS_SECRET_ACCESS_KEY": "kept-by-nobody"}),
    ));
    all.extend(api_key("alice", "search", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, provider, caller))
}

fn text(bytes: usize) -> String {
    "the quick brown fox jumps over the lazy dog. ".chars().cycle().take(bytes).collect()
}

/// Each kind of work on all of a large call is done beside the event loop: so often, on so many bytes.
#[tokio::test]
async fn what_is_large_is_worked_on_beside_the_loop_and_what_is_small_is_not() -> anyhow::Result<()> {
    let (pair, provider, caller) = start().await?;
    // A scrape is rendered there, and the first one has not been before itself.
    let first = work(&pair).await?;
    assert_eq!(work(&pair).await?, (first.0 + 1, first.1), "one that is rendered is work");
    for (model, input, status, times) in [
        // Parsed.
        ("nobody", json!(text(LARGE)), 404, 1),
        // Parsed; nothing else is to be done with it.
        ("text-embedding-3-small", json!(text(LARGE)), 200, 2),
        // Parsed, and copied with the name that the provider knows.
        ("renamed", json!(text(LARGE)), 200, 2),
        // Parsed; written for the provider, and gone through for the signature.
        ("signed", json!(text(LARGE)), 400, 2),
        // Parsed; tokenized and embedded.
        ("builtin", json!(text(LARGE)), 200, 2),
    ] {
        let before = work(&pair).await?;
        let body = json!({"model": model, "input": input}).to_string().len();
        let answer = caller.embed(model, input).await?;
        assert_eq!(answer.status, status, "{model}: {}", answer.message());
        let after = work(&pair).await?;
        // The scrape is work as well.
        assert_eq!((after.0 - before.0 - 1, after.1 - before.1), (times, times * body), "{model}");
        // And a small one is not.
        let small = caller.embed(model, json!("a few words")).await?;
        assert_eq!((small.status, work(&pair).await?), (status, (after.0 + 1, after.1)), "{model}");
    }
    assert_eq!(provider.account().violations, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_large_answer_is_translated_beside_the_loop_and_a_small_one_is_not() -> anyhow::Result<()> {
    let (pair, _provider, caller) = start().await?;
    // A vector of the provider's has 1,536 numbers: 2 MiB in base64, which is what was not asked for.
    let before = work(&pair).await?;
    let inputs: Vec<String> = (0..256).map(|at| format!("text {at}")).collect();
    let answer = caller.embed("fault-other-encoding", json!(inputs)).await?;
    assert_eq!((answer.status, answer.json["data"].as_array().map(Vec::len)), (200, Some(256)), "{}", answer.message());
    let after = work(&pair).await?;
    let length = 256 * 1536 * 4 * 4 / 3;
    // All but the beginning, and once more to put it together.
    let worked_on = after.1 - before.1;
    assert!((2 * length - 128 * 1024..2 * length + 256 * 1024).contains(&worked_on), "{worked_on} of {length}");
    let small = caller.embed("fault-other-encoding", json!(["one", "two"])).await?;
    assert_eq!((small.status, work(&pair).await?), (200, (after.0 + 1, after.1)));
    Ok(())
}

/// Of all that large calls take, the event loop has what it takes to carry bytes; what is done with them takes longer.
#[tokio::test]
async fn the_loop_has_the_smaller_part_of_large_calls() -> anyhow::Result<()> {
    let (pair, _provider, caller) = start().await?;
    let pid = pair.sidecar_pid().context("the sidecar does not run")?;
    let tokens: Vec<u32> = (0..500_000).collect();
    for (model, input) in [("nobody", json!(tokens)), ("builtin", json!(text(LARGE)))] {
        let before = times(pid)?;
        caller.embed(model, input).await?;
        let after = times(pid)?;
        let (event_loop, compute) = (after.0 - before.0, after.1 - before.1);
        assert!(compute > event_loop, "{model}: {event_loop} ns on the loop, {compute} ns beside it");
    }
    Ok(())
}

/// Large calls whose callers have left do not keep the threads from those who are there.
#[tokio::test]
async fn work_whose_caller_has_left_before_its_turn_is_not_done_and_costs_nothing() -> anyhow::Result<()> {
    const LEAVING: u32 = 12;
    let (pair, _provider, caller) = start().await?;
    let leaving: Vec<_> = (0..LEAVING)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.hang_up("builtin", json!(text(LARGE)), Duration::from_millis(400)).await })
        })
        .collect();
    for one in leaving {
        one.await?;
    }
    // Until nothing is under way any more.
    pair.wait_for("the end of all calls", Duration::from_secs(90), async || {
        let is_over = pair.metrics().await?.sum("vectoll_reservations", &[]) == 0.0;
        Ok(is_over.then_some(()))
    })
    .await?;
    let booked = pair.metrics().await?.sum("vectoll_key_requests_total", &[]);
    println!("{booked} of {LEAVING} calls were worked on");
    assert!(booked < f64::from(LEAVING) / 2.0, "{booked}");
    assert_eq!(caller.embed("builtin", json!("here I am")).await?.status, 200);
    Ok(())
}
