//! A route that keeps vectors: what it has is not asked for again, costs nothing, and is nobody else's.

#![allow(clippy::indexing_slicing, reason = "a test")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Json, Router, extract::Json as Body, http::StatusCode, routing::post};
use serde_json::{Value, json};
use vectoll_tests::{
    caller::{Answer, Caller},
    manifest::{PROVIDER_KEY, api_key, file, key_value, route, team},
    pair::Pair,
    provider::{Options, Provider},
};

const MODEL: &str = "text-embedding-3-small";

async fn start(model: &str, cache: Value, latency: u64) -> anyhow::Result<(Pair, Provider, Caller)> {
    let options = Options { latency: Duration::from_millis(latency), ..Options::new(PROVIDER_KEY) };
    let provider = Provider::start(options).await?;
    let mut all = vec![team("search", json!({})), team("other", json!({}))];
    let mut routes = route("openai", &[model], &provider.url());
    routes[0]["spec"]["cache"] = cache;
    all.extend(routes);
    all.extend(api_key(
        "alice",
        "search",
        json!({"limits": {"tokensPerMinute": 100_000}, "budget": {"limit": "1", "period": "Total"}}),
    ));
    all.extend(api_key("bob", "search", json!({})));
    all.extend(api_key("carol", "other", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, provider, caller))
}

/// A pair of which `edit` has changed the route's spec, with the keys alice and bob.
async fn start_with(model: &str, url: &str, edit: impl FnOnce(&mut Value)) -> anyhow::Result<(Pair, Caller)> {
    let mut routes = route("openai", &[model], url);
    routes[0]["spec"]["cache"] = json!({});
    edit(&mut routes[0]["spec"]);
    let mut all = vec![team("search", json!({}))];
    all.extend(routes);
    for name in ["alice", "bob"] {
        all.extend(api_key(name, "search", json!({})));
    }
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, caller))
}

/// A provider of another kind: its URL.
async fn play(router: Router) -> anyhow::Result<(String, tokio::task::JoinHandle<std::io::Result<()>>)> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1", listener.local_addr()?);
    Ok((url, tokio::spawn(axum::serve(listener, router).into_future())))
}

fn cost(answer: &Answer) -> &str {
    answer.header("x-litellm-response-cost").unwrap_or("-")
}

fn hits(answer: &Answer) -> &str {
    answer.header("x-vectoll-cache-hits").unwrap_or("-")
}

#[tokio::test]
async fn what_is_there_is_not_asked_for_again_and_costs_nothing() -> anyhow::Result<()> {
    let (pair, provider, caller) = start(MODEL, json!({}), 0).await?;
    let first = caller.embed(MODEL, json!(["The quick brown fox", "jumps"])).await?;
    assert_eq!(
        (first.status, first.tokens(), hits(&first), cost(&first)),
        (200, 6, "0", "0.00000012"),
        "{}",
        first.message()
    );
    let again = caller.embed(MODEL, json!(["The quick brown fox", "jumps"])).await?;
    assert_eq!(
        (again.status, again.tokens(), hits(&again), cost(&again)),
        (200, 0, "2", "0.00"),
        "{}",
        again.message()
    );
    assert_eq!(again.header("x-litellm-model-id"), Some("default/openai/_cache"));
    assert_eq!(first.json["data"], again.json["data"], "to the bit");
    assert_eq!(provider.account().requests, 1);
    // In part: only what is missing is sent, each text once, and everything is in its place.
    let part = caller.embed(MODEL, json!(["over", "jumps", "over", "The quick brown fox", "lazy"])).await?;
    assert_eq!(
        (part.status, part.tokens() + 6, hits(&part)),
        (200, provider.account().charged_tokens, "3"),
        "{}",
        part.message()
    );
    let sent = provider.requests()[1].json()?;
    assert_eq!(sent["input"], json!(["over", "lazy"]));
    let vector = |answer: &Answer, at: usize| answer.json["data"][at]["embedding"].clone();
    assert_eq!((vector(&part, 1), vector(&part, 3)), (vector(&first, 1), vector(&first, 0)));
    assert_eq!(vector(&part, 0), vector(&part, 2));
    for at in 0..5 {
        assert_eq!(part.json["data"][at]["index"], at);
    }
    // The other encoding is the same vector; other dimensions and input types are not.
    let body = json!({"model": MODEL, "input": "jumps", "encoding_format": "base64"});
    let base64 = caller.post("/v1/embeddings", &body, &[]).await?;
    assert_eq!((base64.status, hits(&base64)), (200, "1"));
    assert!(base64.json["data"][0]["embedding"].is_string());
    let body = json!({"model": MODEL, "input": "jumps", "dimensions": 8});
    assert_eq!(hits(&caller.post("/v1/embeddings", &body, &[]).await?), "0");
    let query = [("x-vectoll-input-type", "query")];
    assert_eq!(hits(&caller.post("/v1/embeddings", &json!({"model": MODEL, "input": "jumps"}), &query).await?), "0");
    // What is known to say the same of each input is another vector, too. What nobody knows may hang on the other inputs: the cache is no
    // part of that.
    for (field, value, expected) in
        [("task", "classification", "0"), ("input_type", "clustering", "0"), ("of_my_own", "classification", "-")]
    {
        let body = json!({"model": MODEL, "input": "jumps", field: value});
        assert_eq!(hits(&caller.post("/v1/embeddings", &body, &[]).await?), expected, "{field}");
    }
    // Another key of the Team has what is there, another Team has not.
    assert_eq!(hits(&caller.with_key(&key_value("bob")).embed(MODEL, json!("jumps")).await?), "1");
    let requests = provider.account().requests;
    assert_eq!(hits(&caller.with_key(&key_value("carol")).embed(MODEL, json!("jumps")).await?), "0");
    assert_eq!(provider.account().requests, requests + 1);

    let (account, metrics) = (provider.account(), pair.metrics().await?);
    assert_eq!(account.violations, Vec::<String>::new());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
    let count = |name: &str, labels: &[(&str, &str)]| metrics.sum(name, labels) as u64;
    for family in ["key", "team", "user", "model"] {
        assert_eq!(count(&format!("vectoll_{family}_tokens_total"), &[]), account.charged_tokens, "{family}");
        assert_eq!(count(&format!("vectoll_{family}_requests_total"), &[]), 11, "{family}");
    }
    assert_eq!(count("vectoll_model_requests_total", &[("provider", "cache")]), 3);
    assert_eq!(count("vectoll_cache_inputs_total", &[("result", "hit")]), 2 + 3 + 1 + 1);
    assert_eq!(metrics.value("vectoll_reservations", &[]), Some(0.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_calls_for_the_same_text_at_once_one_asks_and_pays() -> anyhow::Result<()> {
    let (pair, provider, caller) = start(MODEL, json!({}), 300).await?;
    let calls = (0..20).map(|_| {
        let caller = caller.clone();
        tokio::spawn(async move { caller.embed(MODEL, json!(["The quick brown fox", "jumps"])).await })
    });
    let mut tokens = 0;
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await??;
        assert_eq!(answer.status, 200, "{}", answer.message());
        tokens += answer.tokens();
    }
    assert_eq!((tokens, provider.account().requests, provider.account().charged_tokens), (6, 1, 6));
    assert_eq!(pair.metrics().await?.sum("vectoll_key_tokens_total", &[]).to_string(), "6");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waited_for_one_that_fails_asks_on_its_own() -> anyhow::Result<()> {
    let (_pair, provider, caller) = start("fault-503", json!({}), 200).await?;
    let calls = (0..3).map(|_| {
        let caller = caller.clone();
        tokio::spawn(async move { caller.embed("fault-503", json!("text")).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await??.status, 502);
    }
    assert_eq!(provider.account().requests, 3);
    Ok(())
}

#[tokio::test]
async fn vectors_are_forgotten_in_time_and_large_answers_are_kept_too() -> anyhow::Result<()> {
    let (_pair, provider, caller) = start(MODEL, json!({"ttlSeconds": 5}), 0).await?;
    let texts: Vec<String> = (0..300).map(|at| format!("text {at}")).collect();
    let first = caller.embed(MODEL, json!(texts)).await?;
    let again = caller.embed(MODEL, json!(texts)).await?;
    assert_eq!((hits(&first), hits(&again)), ("0", "300"));
    assert_eq!(first.json["data"], again.json["data"]);
    tokio::time::sleep(Duration::from_millis(5_300)).await;
    assert_eq!(hits(&caller.embed(MODEL, json!("text 0")).await?), "0");
    assert_eq!(provider.account().requests, 2);
    Ok(())
}

/// Its leader hangs up; three others wait, and a fourth comes later.
async fn a_leader_leaves(batch: Value, texts: Vec<String>) -> anyhow::Result<()> {
    let options = Options { latency: Duration::from_millis(600), ..Options::new(PROVIDER_KEY) };
    let provider = Provider::start(options).await?;
    let mut all = vec![team("search", json!({}))];
    let mut routes = route("openai", &[MODEL], &provider.url());
    routes[0]["spec"]["cache"] = json!({});
    routes[0]["spec"]["backends"][0]["batch"] = batch;
    all.extend(routes);
    all.extend(api_key("alice", "search", json!({"budget": {"limit": "1", "period": "Total"}})));
    all.extend(api_key("bob", "search", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let alice = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let bob = alice.with_key(&key_value("bob"));
    let leader = alice.hang_up(MODEL, json!(texts), Duration::from_millis(250));
    let followers = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        futures_util::future::try_join_all((0..3).map(|_| bob.embed(MODEL, json!(texts)))).await
    };
    let ((), followers) = tokio::join!(leader, followers);
    let number = texts.len().to_string();
    let later = bob.embed(MODEL, json!(texts)).await?;
    for answer in followers?.iter().chain([&later]) {
        assert_eq!(
            (answer.status, answer.tokens(), hits(answer), cost(answer)),
            (200, 0, &*number, "0.00"),
            "{}",
            answer.message()
        );
        assert_eq!(answer.json["data"].as_array().map(Vec::len), Some(texts.len()));
        assert_eq!(answer.json["data"], later.json["data"]);
    }
    let (account, metrics) = (provider.account(), pair.metrics().await?);
    assert_eq!(account.violations, Vec::<String>::new());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
    let tokens = |key: &str| metrics.sum("vectoll_key_tokens_total", &[("key", key)]) as u64;
    assert_eq!((tokens("default/alice"), tokens("default/bob")), (account.charged_tokens, 0), "who led has paid");
    assert_eq!(metrics.sum("vectoll_unsettled_requests_total", &[]).to_string(), "0");
    assert_eq!(metrics.value("vectoll_reservations", &[]), Some(0.0));
    // Each input once, however they were sent.
    let requests = provider.requests();
    let inputs = requests.iter().map(|request| Ok(request.json()?["input"].as_array().map_or(0, Vec::len)));
    assert_eq!(inputs.sum::<anyhow::Result<usize>>()?, texts.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paid_for_is_kept_although_its_caller_has_left() -> anyhow::Result<()> {
    let texts = |number: usize| (0..number).map(|at| format!("text {at}")).collect();
    a_leader_leaves(json!({"maxItems": 2048}), texts(2)).await?;
    // An answer that streams, and one in parts.
    a_leader_leaves(json!({"maxItems": 2048}), texts(300)).await?;
    a_leader_leaves(json!({"maxItems": 40}), texts(100)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_tried_again_for_a_leader_that_has_left() -> anyhow::Result<()> {
    let options = Options { latency: Duration::from_millis(400), ..Options::new(PROVIDER_KEY) };
    let provider = Provider::start(options).await?;
    let retry = |spec: &mut Value| spec["retry"] = json!({"sameBackend": true});
    let (pair, caller) = start_with("fault-503", &provider.url(), retry).await?;
    caller.hang_up("fault-503", json!("text"), Duration::from_millis(200)).await;
    // As long as two further attempts would take with their pauses.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(provider.account().requests, 1);
    assert_eq!(pair.metrics().await?.value("vectoll_reservations", &[]), Some(0.0));
    assert_eq!(caller.embed("fault-503", json!("text")).await?.status, 502);
    assert_eq!(provider.account().requests, 1 + 3, "as it is for one that stays");
    Ok(())
}

#[tokio::test]
async fn what_the_body_says_of_its_inputs_is_told_apart_from_what_is_meant() -> anyhow::Result<()> {
    // This provider is sent the body as it came, and hears of nothing else: neither of the header nor of the route's default.
    let (_pair, provider, caller) = start(MODEL, json!({}), 0).await?;
    let ways = [(None, None), (Some("document"), None), (Some("document"), Some("query")), (Some("query"), None)];
    for expected in ["0", "1"] {
        for (word, header) in ways {
            let mut body = json!({"model": MODEL, "input": "jumps"});
            if let Some(word) = word {
                body["input_type"] = json!(word);
            }
            let headers: Vec<_> = header.map(|header| ("x-vectoll-input-type", header)).into_iter().collect();
            let answer = caller.post("/v1/embeddings", &body, &headers).await?;
            assert_eq!((answer.status, hits(&answer)), (200, expected), "{word:?} {header:?}");
        }
    }
    let words: anyhow::Result<Vec<Value>> =
        provider.requests().iter().map(|sent| Ok(sent.json()?["input_type"].clone())).collect();
    assert_eq!(words?, [json!(null), json!("document"), json!("document"), json!("query")]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_one_failure_after_the_other() -> anyhow::Result<()> {
    const CALLS: usize = 15;
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let hurry = |spec: &mut Value| spec["backends"][0]["timeoutSeconds"] = json!(1);
    let (pair, caller) = start_with("fault-hang", &provider.url(), hurry).await?;
    let begun = Instant::now();
    let calls = (0..CALLS).map(|_| caller.embed("fault-hang", json!("text")));
    for answer in futures_util::future::try_join_all(calls).await? {
        assert_eq!(answer.status, 504, "{}", answer.message());
    }
    // One leads, the others wait as long as an attempt may take, and then each of them makes its own: some three seconds.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{CALLS} calls with a second for each took {took:?}");
    assert_eq!(pair.metrics().await?.value("vectoll_reservations", &[]), Some(0.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_does_so_as_long_as_the_attempts_of_one_call_take() -> anyhow::Result<()> {
    let options = Options { latency: Duration::from_millis(1_500), ..Options::new(PROVIDER_KEY) };
    let provider = Provider::start(options).await?;
    let two = |spec: &mut Value| {
        let mut hangs = spec["backends"][0].clone();
        for (field, value) in [("timeoutSeconds", json!(2)), ("space", json!("one")), ("model", json!("fault-hang"))] {
            hangs[field] = value;
        }
        let mut serves = hangs.clone();
        (serves["name"], serves["model"], serves["priority"]) = (json!("serves"), json!(MODEL), json!(1));
        spec["backends"] = json!([hangs, serves]);
    };
    let (_pair, caller) = start_with("any", &provider.url(), two).await?;
    let calls = (0..6).map(|_| caller.embed("any", json!("text")));
    for answer in futures_util::future::try_join_all(calls).await? {
        assert_eq!(answer.status, 200, "{}", answer.message());
    }
    // The leader's first attempt takes as long as one may, and its second one serves all.
    let models: anyhow::Result<Vec<Value>> =
        provider.requests().iter().map(|sent| Ok(sent.json()?["model"].clone())).collect();
    assert_eq!(models?, [json!("fault-hang"), json!(MODEL)]);
    Ok(())
}

/// A provider whose vectors are longer until it is told that its model has changed.
async fn changing(changed: Arc<AtomicBool>) -> anyhow::Result<(String, tokio::task::JoinHandle<std::io::Result<()>>)> {
    let answer = async move |Body(body): Body<Value>| {
        let vector = if changed.load(Ordering::Relaxed) { json!([0.5, 0.25]) } else { json!([0.5, 0.25, 0.125]) };
        let count = body["input"].as_array().map_or(1, Vec::len);
        let data: Vec<Value> =
            (0..count).map(|at| json!({"object": "embedding", "index": at, "embedding": vector})).collect();
        let usage = json!({"prompt_tokens": count, "total_tokens": count});
        Json(json!({"object": "list", "data": data, "model": MODEL, "usage": usage}))
    };
    play(Router::new().route("/v1/embeddings", post(answer))).await
}

#[tokio::test]
async fn vectors_of_another_length_take_the_place_of_those_that_are_kept() -> anyhow::Result<()> {
    let changed = Arc::new(AtomicBool::new(false));
    let (url, serving) = changing(changed.clone()).await?;
    let (_pair, caller) = start_with(MODEL, &url, |_| ()).await?;
    let ask = async |texts: Value| {
        let answer = caller.embed(MODEL, texts).await?;
        let vectors: Vec<usize> = answer.json["data"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|item| item["embedding"].as_array().map_or(0, Vec::len))
            .collect();
        anyhow::Ok((answer.tokens(), vectors))
    };
    assert_eq!(ask(json!(["a"])).await?, (1, vec![3]));
    changed.store(true, Ordering::Relaxed);
    assert_eq!(ask(json!(["a", "b"])).await?, (1 + 2, vec![2, 2]), "what is missing, and then all");
    // What was kept of the model before is gone.
    assert_eq!(ask(json!(["a", "c"])).await?, (1, vec![2, 2]));
    assert_eq!(ask(json!(["a", "b", "c"])).await?, (0, vec![2, 2, 2]));
    serving.abort();
    Ok(())
}

/// A provider that has a vector for "good", soon, and none for "bad", later.
async fn good_and_bad() -> anyhow::Result<(String, tokio::task::JoinHandle<std::io::Result<()>>)> {
    let answer = async |Body(body): Body<Value>| {
        if body["input"] == json!(["good"]) {
            let data = json!([{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]);
            let usage = json!({"prompt_tokens": 1_000, "total_tokens": 1_000});
            return (StatusCode::OK, Json(json!({"object": "list", "data": data, "model": MODEL, "usage": usage})));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        (StatusCode::BAD_GATEWAY, Json(json!({})))
    };
    play(Router::new().route("/v1/embeddings", post(answer))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_tells_all_that_the_call_cost() -> anyhow::Result<()> {
    let (url, serving) = good_and_bad().await?;
    let (pair, caller) = start_with(MODEL, &url, |_| ()).await?;
    let bob = caller.with_key(&key_value("bob"));
    // Bob asks for "good", waits for Alice's "bad", and asks for it on his own when she does not get it.
    let second = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        bob.embed(MODEL, json!(["good", "bad"])).await
    };
    let (first, second) = tokio::try_join!(caller.embed(MODEL, json!("bad")), second)?;
    assert_eq!((first.status, cost(&first)), (502, "0.00000002"), "nobody knows whether it was charged");
    assert_eq!((second.status, cost(&second)), (502, "0.00002002"), "{}", second.message());
    let spent = pair.metrics().await?.sum("vectoll_key_spend_usd_total", &[("key", "default/bob")]);
    assert!((spent - 0.000_020_02).abs() < 1e-12, "{spent}");
    serving.abort();
    Ok(())
}
