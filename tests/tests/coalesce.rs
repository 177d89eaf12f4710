//! Many small calls in one request: fewer requests at the provider, and every call with its own vector, its own encoding, its own
//! share of what was reported, its own limits and its own error.

#![allow(clippy::indexing_slicing, clippy::print_stdout, clippy::needless_pass_by_value, reason = "a test")]

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use vectoll_tests::{
    caller::{Answer, Caller},
    manifest::{self, PROVIDER_KEY, api_key, file, key_value, on_top, resource, secret, team},
    pair::{Pair, metrics::Metrics},
    provider::{Options, Provider},
};

const GOOD: &str = "text-embedding-3-small";
/// More tokens than the provider takes in one input.
const MOST_TOKENS: u64 = 40;

fn provider() -> Options {
    Options { latency: Duration::from_millis(50), tokens_per_input: Some(MOST_TOKENS), ..Options::new(PROVIDER_KEY) }
}

fn backend(name: &str, provider: &Provider, model: &str, more: Value) -> Value {
    let patient = json!({"timeoutSeconds": 10});
    manifest::backend(name, model, &provider.url(), on_top(patient, more))
}

fn route(name: &str, backends: Vec<Value>, more: Value) -> Value {
    let spec = json!({"models": [name], "backends": backends, "retry": {"attempts": 0}});
    resource("ModelRoute", name, on_top(spec, more))
}

/// Calls that come within so many milliseconds.
fn together(window: u32, most: u32) -> Value {
    json!({"coalesce": {"windowMilliseconds": window, "maxItems": most}})
}

async fn start(routes: Vec<Value>) -> anyhow::Result<(Pair, Caller)> {
    let mut all = vec![team("search", json!({})), secret("default", "provider", json!({"api-key": PROVIDER_KEY}))];
    all.extend(routes);
    for name in ["alice", "bob"] {
        all.extend(api_key(name, "search", json!({"userPolicy": "Request"})));
    }
    // Of all that come at once one is refused.
    all.extend(api_key("carol", "search", json!({"limits": {"requestsPerMinute": 3}})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, caller))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn count(metrics: &Metrics, name: &str, labels: &[(&str, &str)]) -> u64 {
    metrics.sum(name, labels) as u64
}

fn text(at: usize) -> String {
    format!("call number {at} asks for its own text{}", " and more".repeat(at % 7))
}

/// So many calls at once, in their order.
async fn all_at_once(caller: &Caller, model: &str, texts: Vec<String>) -> anyhow::Result<Vec<Answer>> {
    let mut calls = JoinSet::new();
    for (at, text) in texts.into_iter().enumerate() {
        let (caller, model) = (caller.clone(), model.to_owned());
        calls.spawn(async move { (at, caller.embed(&model, json!(text)).await) });
    }
    let mut answers = calls.join_all().await;
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// What the provider makes of texts.
async fn right(caller: &Caller, provider: &Provider, texts: &[String]) -> anyhow::Result<Value> {
    let body = json!({"model": GOOD, "input": texts});
    let answer = caller.raw(|http, _| http.post(format!("{}/vectors", provider.origin())).json(&body)).await?;
    Ok(answer.json["vectors"].clone())
}

/// Every count that is kept of the tokens says what the provider has charged.
fn all_books_agree(metrics: &Metrics, charged: u64) -> anyhow::Result<()> {
    for family in ["key", "team", "user", "model"] {
        let counted = count(metrics, &format!("vectoll_{family}_tokens_total"), &[]);
        ensure!(counted == charged, "{family}: {counted} of {charged}");
    }
    let unsettled = count(metrics, "vectoll_unsettled_tokens_total", &[]);
    ensure!(unsettled == 0, "{unsettled} tokens are unsettled");
    Ok(())
}

/// The scenario of the figure: 200 single calls at once at a provider that takes 50 ms and ten requests a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_at_once_fit_what_a_provider_takes_in_a_second() -> anyhow::Result<()> {
    const CALLS: usize = 200;
    let texts: Vec<String> = (0..CALLS).map(text).collect();
    let mut served = Vec::new();
    for (how, more) in [("each by itself", json!({})), ("together", together(200, 64))] {
        let provider = Provider::start(Options { requests_per_second: Some(10), ..provider() }).await?;
        let manner =
            json!({"retry": {"attempts": 3, "sameBackend": true, "budgetPercent": 100}, "cooldown": {"failures": 0}});
        let manner = on_top(manner, more);
        let (pair, caller) =
            start(vec![route("model", vec![backend("one", &provider, GOOD, json!({}))], manner)]).await?;
        let right = right(&caller, &provider, &texts).await?;
        let since = Instant::now();
        let answers = all_at_once(&caller, "model", texts.clone()).await?;
        let took = since.elapsed();
        let metrics = pair.at_rest().await?;
        let account = provider.account();
        let refused = answers.iter().filter(|answer| answer.status == 429).count();
        let retried = answers.iter().filter(|answer| answer.header("x-litellm-attempted-retries") != Some("0")).count();
        let waits = account.behaviours.get("too-many-requests").copied().unwrap_or_default();
        println!(
            "figure: {how}: {} requests at the provider, {waits} of them refused with 429; of {CALLS} calls {retried} were tried again, \
             {refused} got 429; all answered after {:.1} s",
            account.requests,
            took.as_secs_f64(),
        );
        let mut tokens = 0;
        for (at, answer) in answers.iter().enumerate().filter(|(_, answer)| answer.status == 200) {
            ensure!(
                answer.json["data"][0]["embedding"] == right[at],
                "{how}: the vector of call {at} is another one's"
            );
            ensure!(answer.json["data"].as_array().map(Vec::len) == Some(1), "{how}: call {at} has other vectors");
            tokens += answer.tokens();
        }
        ensure!(tokens == account.charged_tokens, "{how}: {tokens} told, {} charged", account.charged_tokens);
        all_books_agree(&metrics, account.charged_tokens)?;
        ensure!(account.violations.is_empty(), "{:?}", account.violations);
        served.push((CALLS - refused, account.requests));
        if how == "together" {
            let travelled = count(&metrics, "vectoll_coalesced_calls_total", &[("backend", "default/model/one")]);
            let saved = count(&metrics, "vectoll_coalesced_requests_saved_total", &[]);
            ensure!(refused == 0, "{refused} calls got 429");
            ensure!(
                travelled >= CALLS as u64 && saved >= CALLS as u64 - 40,
                "{travelled} travelled, {saved} requests saved"
            );
        }
    }
    let [(_, alone), (all, few)] = served[..] else { anyhow::bail!("two ways") };
    ensure!(all == CALLS && few * 4 < alone, "{few} requests together, {alone} alone");
    Ok(())
}

/// One text that the provider does not take: its call gets the error, and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_input_fails_alone() -> anyhow::Result<()> {
    const BAD: usize = 13;
    let provider = Provider::start(provider()).await?;
    let (pair, caller) =
        start(vec![route("model", vec![backend("one", &provider, GOOD, json!({}))], together(300, 32))]).await?;
    let mut texts: Vec<String> = (0..32).map(text).collect();
    texts[BAD] = "too long ".repeat(40);
    let right = right(&caller, &provider, &texts).await?;
    let answers = all_at_once(&caller, "model", texts).await?;
    for (at, answer) in answers.iter().enumerate() {
        if at == BAD {
            ensure!(answer.status == 400, "{}", answer.status);
            ensure!(answer.message().contains("maximum context length"), "{}", answer.message());
        } else {
            ensure!(answer.status == 200, "call {at}: {} {}", answer.status, answer.message());
            ensure!(answer.json["data"][0]["embedding"] == right[at], "the vector of call {at} is another one's");
        }
    }
    let metrics = pair.at_rest().await?;
    let account = provider.account();
    println!("figure: 32 calls of which one is bad: {} requests", account.requests);
    // One for all, two for each halving of the part with the bad one, and each of the last two by itself.
    ensure!(account.requests <= 2 * 5 + 2, "{} requests", account.requests);
    // Nobody says that a 400 costs nothing: what it may cost is booked, at most twice over for all of them.
    let unsettled = count(&metrics, "vectoll_unsettled_tokens_total", &[]);
    for family in ["key", "team", "user", "model"] {
        let counted = count(&metrics, &format!("vectoll_{family}_tokens_total"), &[]);
        ensure!(counted == account.charged_tokens + unsettled, "{family}: {counted} booked, {unsettled} unsettled");
    }
    let told: u64 = answers.iter().map(Answer::tokens).sum();
    ensure!(told == account.charged_tokens, "{told} told, {} charged", account.charged_tokens);
    Ok(())
}

/// What is not alike does not travel together, and each call keeps what is its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_keeps_what_is_its_own() -> anyhow::Result<()> {
    let provider = Provider::start(provider()).await?;
    let over = backend("one", &provider, "fault-overrun", json!({}));
    let none = backend("one", &provider, "fault-no-usage", json!({}));
    // Nobody's tokenizer is known: the shares go by length.
    let length = backend("one", &provider, "fault-overrun", json!({"tokens": {"maxPerByte": 1}}));
    let routes = vec![
        route("model", vec![backend("one", &provider, GOOD, json!({}))], together(300, 64)),
        route("over", vec![over], together(300, 64)),
        route("none", vec![none], together(300, 64)),
        route("length", vec![length], together(300, 64)),
    ];
    let (pair, alice) = start(routes).await?;
    let bob = alice.with_key(&key_value("bob"));
    // Two keys of one Team, both encodings: one request.
    let mut calls = JoinSet::new();
    for (at, (caller, format)) in
        [(&alice, "float"), (&alice, "base64"), (&bob, "float"), (&bob, "base64")].into_iter().enumerate()
    {
        let (caller, body) =
            (caller.clone(), json!({"model": "model", "input": [text(at)], "encoding_format": format}));
        calls.spawn(async move { (at, caller.post("/v1/embeddings", &body, &[]).await) });
    }
    let texts: Vec<String> = (0..4).map(text).collect();
    let right = right(&alice, &provider, &texts).await?;
    for (at, answer) in calls.join_all().await {
        let answer = answer?;
        ensure!(answer.status == 200, "{at}: {} {}", answer.status, answer.message());
        let embedding = &answer.json["data"][0]["embedding"];
        ensure!(embedding.is_string() == (at % 2 == 1), "call {at} has another encoding");
        ensure!(at % 2 == 1 || *embedding == right[at], "the vector of call {at} is another one's");
    }
    ensure!(provider.account().requests == 1, "{} requests", provider.account().requests);
    // Dimensions, the end user, token arrays, fields of one's own, several texts: five requests, of which two are of two calls.
    let bodies = [
        json!({"model": "model", "input": "a", "dimensions": 8}),
        json!({"model": "model", "input": "b", "dimensions": 8}),
        json!({"model": "model", "input": "c", "dimensions": 16}),
        json!({"model": "model", "input": "d", "user": "u1"}),
        json!({"model": "model", "input": "e", "user": "u1"}),
        json!({"model": "model", "input": [1, 2, 3]}),
        json!({"model": "model", "input": "f", "own": 1}),
        json!({"model": "model", "input": ["g", "h"]}),
    ];
    let mut calls = JoinSet::new();
    for body in bodies {
        let caller = alice.clone();
        calls.spawn(async move { (caller.post("/v1/embeddings", &body, &[]).await, body) });
    }
    for (answer, body) in calls.join_all().await {
        let answer = answer?;
        ensure!(answer.status == 200, "{body}: {} {}", answer.status, answer.message());
        let length = body["dimensions"].as_u64().and_then(|length| usize::try_from(length).ok()).unwrap_or(1536);
        ensure!(body["input"].is_array() || answer.vector().len() == length, "{body}: {}", answer.vector().len());
    }
    ensure!(provider.account().requests == 7, "{} requests", provider.account().requests);
    // Ten times the tokens are reported, or none, or they are shared by length: the shares sum to what was charged.
    for model in ["over", "none", "length"] {
        let before = provider.account().charged_tokens;
        let answers = all_at_once(&alice, model, (0..9).map(text).collect()).await?;
        ensure!(answers.iter().all(|answer| answer.status == 200), "{model}: not all were served");
        let told: u64 = answers.iter().map(Answer::tokens).sum();
        let charged = provider.account().charged_tokens - before;
        ensure!(told == charged && charged > 0, "{model}: {told} told, {charged} charged");
        let cost: f64 =
            answers.iter().filter_map(|answer| answer.header("x-litellm-response-cost")?.parse::<f64>().ok()).sum();
        #[allow(clippy::cast_precision_loss, reason = "a small count")]
        let right = charged as f64 * 0.02 / 1e6;
        ensure!((cost - right).abs() < 1e-12, "{model}: {cost} told, {right} charged");
    }
    ensure!(provider.account().requests == 10, "{} requests", provider.account().requests);
    // Each call has passed its own limits before it waits for others.
    let carol = alice.with_key(&key_value("carol"));
    let answers = all_at_once(&carol, "model", (0..5).map(text).collect()).await?;
    ensure!(answers.iter().filter(|answer| answer.status == 429).count() == 2, "two of five are beyond the limit");
    ensure!(provider.account().requests == 11, "{} requests", provider.account().requests);
    let metrics = pair.at_rest().await?;
    all_books_agree(&metrics, provider.account().charged_tokens)
}

/// Faults of a backend, callers that leave, and limits of the provider's: as if each call had travelled by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_goes_on_as_by_itself() -> anyhow::Result<()> {
    let (first, second) = (Provider::start(provider()).await?, Provider::start(provider()).await?);
    let pair_of = |name: &str, fault: &str, more: Value| {
        let backends =
            vec![backend("first", &first, fault, more), backend("second", &second, GOOD, json!({"priority": 1}))];
        let manner = json!({"retry": {"attempts": 2, "budgetPercent": 100}, "cooldown": {"failures": 0}});
        route(name, backends, on_top(manner, together(300, 64)))
    };
    let slow = backend("one", &first, "fault-slow-1500", json!({}));
    let routes = vec![
        pair_of("limited", "fault-429", json!({})),
        pair_of("denied", "fault-401", json!({})),
        pair_of("full", GOOD, json!({"limits": {"requestsPerMinute": 1}})),
        pair_of("broken", "fault-503", json!({})),
        route("slow", vec![slow], together(300, 64)),
    ];
    let (pair, caller) = start(routes).await?;
    let mut tokens = Vec::new();
    for model in ["limited", "denied"] {
        let (asked, answered) = (first.account().requests, second.account().requests);
        let answers = all_at_once(&caller, model, (0..8).map(text).collect()).await?;
        for answer in &answers {
            let served_by = answer.header("x-litellm-model-id").unwrap_or_default();
            ensure!(
                (answer.status, served_by) == (200, &*format!("default/{model}/second")),
                "{model}: {}",
                answer.message()
            );
            ensure!(answer.header("x-litellm-attempted-fallbacks") == Some("1"), "{model}: no fallback is told");
        }
        tokens = answers.iter().map(Answer::tokens).collect();
        // They go on together, too.
        ensure!((first.account().requests - asked, second.account().requests - answered) == (1, 1), "{model}");
    }
    // One request a minute: the first group has it, the second goes to the other backend.
    for backend in ["first", "second"] {
        let answers = all_at_once(&caller, "full", (0..8).map(text).collect()).await?;
        for answer in &answers {
            let served_by = answer.header("x-litellm-model-id").unwrap_or_default();
            ensure!((answer.status, served_by) == (200, &*format!("default/full/{backend}")), "{}", answer.message());
        }
        let requests = count(
            &pair.metrics().await?,
            "vectoll_backend_attempts_total",
            &[("backend", &format!("default/full/{backend}"))],
        );
        ensure!(requests == 1, "{requests} requests to {backend}");
    }
    // Callers that leave while they wait for others are not sent; those that leave afterwards are settled.
    let before = first.account().charged_tokens;
    let mut calls = JoinSet::new();
    for (at, after) in [(0, 100), (1, 900), (2, 900)] {
        let caller = caller.clone();
        calls.spawn(async move { caller.hang_up("slow", json!(text(at)), Duration::from_millis(after)).await });
    }
    let stays = caller.embed("slow", json!(text(3))).await?;
    calls.join_all().await;
    ensure!(stays.status == 200, "{}", stays.message());
    let metrics = pair.at_rest().await?;
    let charged = first.account().charged_tokens - before;
    let booked = count(&metrics, "vectoll_model_tokens_total", &[("model", "slow")]);
    let sent: u64 = tokens[1..4].iter().sum();
    ensure!((booked, charged) == (sent, sent), "{booked} booked, {charged} charged, {sent} in what was to be sent");
    all_books_agree(&metrics, first.account().charged_tokens + second.account().charged_tokens)?;
    // What may have been charged is booked for each of them.
    let answers = all_at_once(&caller, "broken", (0..8).map(text).collect()).await?;
    let told: u64 = answers.iter().map(Answer::tokens).sum();
    ensure!(answers.iter().all(|answer| answer.status == 200), "not all were served");
    let metrics = pair.at_rest().await?;
    let unsettled = count(&metrics, "vectoll_unsettled_tokens_total", &[]);
    ensure!(unsettled == told, "{unsettled} unsettled, {told} served elsewhere");
    Ok(())
}
