//! Several backends behind one model: whatever one of them does, the caller gets a right answer from another, or the right
//! error; the books hold what was charged, and the metrics say what happened.

#![allow(clippy::indexing_slicing, clippy::print_stdout, clippy::needless_pass_by_value, reason = "a test")]

mod answers;
mod hedging;
mod vectors;
mod world;

use std::{
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::ensure;
use serde_json::{Value, json};
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, file, key_value, on_top, secret, team},
    pair::{Pair, metrics::Metrics},
    provider::{Options, Provider},
};

use world::{GOOD, backend, count, route, said, start, two_providers};

/// The faults of a primary, and what becomes of the attempt there: its label, and whether it may have been charged.
const FAULTS: [(&str, &str, bool); 14] = [
    ("fault-401", "denied", false),
    ("fault-404", "failed", false),
    ("fault-429", "limited", false),
    ("fault-500", "failed", true),
    ("fault-502", "failed", true),
    ("fault-503", "failed", true),
    ("fault-hang", "timeout", true),
    ("fault-reset", "failed", true),
    ("fault-cut", "failed", true),
    ("fault-garbage", "failed", true),
    ("fault-truncated-json", "failed", true),
    ("fault-few", "failed", true),
    ("fault-slow-1500", "timeout", true),
    ("fault-slow-body-1500", "timeout", true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_first_does_the_second_serves() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let mut routes = Vec::new();
    for (fault, ..) in FAULTS {
        let primary = backend("first", &first, fault, json!({}));
        let spare = backend("second", &second, GOOD, json!({"priority": 1}));
        routes.push(route(fault, vec![primary, spare], json!({"cooldown": {"failures": 0}})));
    }
    let (pair, caller) = start(routes).await?;
    let input = json!(["The quick brown fox", "jumps over the lazy dog"]);
    let right = caller
        .raw(|http, _| http.post(format!("{}/vectors", second.origin())).json(&json!({"model": GOOD, "input": input})))
        .await?;
    let mut unsettled = 0;
    for (fault, result, charged) in FAULTS {
        let label = format!("default/{fault}/second");
        let answer = caller.embed(fault, input.clone()).await?;
        assert_eq!(said(&answer), (200, &*label, "1", "1"), "{fault}: {}", answer.message());
        for at in 0..2 {
            assert_eq!(answer.json["data"][at]["embedding"], right.json["vectors"][at], "{fault}");
        }
        let metrics = pair.at_rest().await?;
        let first = format!("default/{fault}/first");
        let of = |backend: &str, result: &str| {
            count(&metrics, "vectoll_backend_attempts_total", &[("backend", backend), ("result", result)])
        };
        assert_eq!((of(&first, result), of(&label, "served")), (1, 1), "{fault}");
        assert_eq!(count(&metrics, "vectoll_retries_total", &[("backend", &label)]), 1, "{fault}");
        // What may have been charged stays booked, marked unless the provider said how much it is.
        let now = count(&metrics, "vectoll_unsettled_tokens_total", &[]);
        assert_eq!(now > unsettled, charged && fault != "fault-few", "{fault}: {now} tokens unsettled");
        unsettled = now;
    }
    // What was charged without the sidecar's learning it is among the unsettled already.
    let unheard = first.account().by_model["fault-slow-body-1500"].tokens;
    let charged = first.account().charged_tokens + second.account().charged_tokens - unheard;
    let metrics = pair.at_rest().await?;
    println!("{charged} tokens charged, {unsettled} unsettled");
    for family in ["key", "team", "user", "model"] {
        assert_eq!(count(&metrics, &format!("vectoll_{family}_tokens_total"), &[]), charged + unsettled, "{family}");
    }
    assert_eq!((first.account().violations, second.account().violations), (Vec::new(), Vec::new()));
    Ok(())
}

#[tokio::test]
async fn a_large_answer_that_breaks_off_is_aborted_and_not_begun_anew() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let backends = vec![
        backend("first", &first, "fault-cut-large", json!({})),
        backend("second", &second, GOOD, json!({"priority": 1})),
    ];
    let (pair, caller) = start(vec![route("large", backends, json!({"cooldown": {"failures": 1}}))]).await?;
    let broken = caller.embed("large", json!(vec!["text"; 100])).await;
    ensure!(broken.is_err(), "a cut answer went through as a whole one");
    pair.at_rest().await?;
    assert_eq!(second.account().requests, 0);
    // The break is known all the same: the next call goes elsewhere.
    let answer = caller.embed("large", json!("text")).await?;
    assert_eq!(said(&answer), (200, "default/large/second", "0", "0"));
    Ok(())
}

#[tokio::test]
async fn a_call_that_every_backend_would_refuse_goes_to_one() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let backends = vec![
        backend("first", &first, "fault-400", json!({})),
        backend("second", &second, GOOD, json!({"priority": 1})),
    ];
    let (_pair, caller) = start(vec![route("bad", backends, json!({}))]).await?;
    for _ in 0..5 {
        let answer = caller.embed("bad", json!("text")).await?;
        assert_eq!(said(&answer), (400, "default/bad/first", "0", "0"));
    }
    assert_eq!(second.account().requests, 0, "nor is the backend left alone for it");
    Ok(())
}

#[tokio::test]
async fn the_last_failure_is_told_and_nothing_is_left_reserved() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let backends = |one: &str, other: &str| {
        vec![backend("first", &first, one, json!({})), backend("second", &second, other, json!({"priority": 1}))]
    };
    let off = json!({"cooldown": {"failures": 0}});
    let mut gone = backends("fault-503", GOOD);
    // Nobody listens there.
    gone[1]["openAI"]["baseURL"] = json!("http://127.0.0.1:1/v1");
    let routes = vec![
        route("both", backends("fault-500", "fault-429"), off.clone()),
        route("slow", backends("fault-503", "fault-hang"), off.clone()),
        route("gone", gone, off.clone()),
        route("once", backends("fault-500", GOOD), json!({"cooldown": {"failures": 0}, "retry": {"attempts": 0}})),
        route("late", backends("fault-hang", "fault-hang"), json!({"cooldown": {"failures": 0}, "timeoutSeconds": 1})),
    ];
    let (pair, caller) = start(routes).await?;
    for (model, status, last, retries) in [
        ("both", 429, "second", "1"),
        ("slow", 504, "second", "1"),
        ("gone", 503, "second", "1"),
        ("once", 502, "first", "0"),
        ("late", 504, "first", "0"),
    ] {
        let answer = caller.embed(model, json!("text")).await?;
        let label = format!("default/{model}/{last}");
        assert_eq!(said(&answer), (status, &*label, retries, retries), "{model}: {}", answer.message());
    }
    let metrics = pair.at_rest().await?;
    // Only what hung may have been charged.
    let booked = count(&metrics, "vectoll_key_tokens_total", &[]);
    assert_eq!(booked, count(&metrics, "vectoll_unsettled_tokens_total", &[]));
    assert!(booked > 0, "the calls that hung are booked");
    Ok(())
}

#[tokio::test]
async fn after_a_charge_that_may_be_there_is_an_attempt_only_where_the_budget_has_room_for_both() -> anyhow::Result<()>
{
    let (first, second) = two_providers().await?;
    let backends = vec![
        backend("first", &first, "fault-reset", json!({})),
        backend("second", &second, GOOD, json!({"priority": 1})),
    ];
    let mut all = vec![team("search", json!({})), secret("default", "provider", json!({"api-key": PROVIDER_KEY}))];
    all.push(route("model", backends, json!({"cooldown": {"failures": 0}})));
    // Four tokens cost 0.00000008: that is for one attempt, and this for two.
    all.extend(api_key("alice", "search", json!({"budget": {"limit": "0.00000014", "period": "Total"}})));
    all.extend(api_key("bob", "search", json!({"budget": {"limit": "0.00000016", "period": "Total"}})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let text = json!("a b c d");
    let answer = caller.embed("model", text.clone()).await?;
    assert_eq!(said(&answer), (502, "default/model/first", "0", "0"), "{}", answer.message());
    assert_eq!(second.account().requests, 0);
    let answer = caller.with_key(&key_value("bob")).embed("model", text).await?;
    assert_eq!(said(&answer), (200, "default/model/second", "1", "1"), "{}", answer.message());
    // The cost of both attempts: four tokens that were answered, and four that may have been.
    assert_eq!(answer.header("x-litellm-response-cost"), Some("0.00000016"));
    Ok(())
}

/// A port where connections do not come about: the system's queue of those that nobody has accepted is full. It stays so for as
/// long as what is returned beside the address.
fn full_port() -> anyhow::Result<(SocketAddr, impl Sized)> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse()?)?;
    let listener = socket.listen(0)?;
    let address = listener.local_addr()?;
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
        ensure!(waiting.len() < 100, "the queue is never full");
        waiting.push(stream);
    }
    Ok((address, (listener, waiting)))
}

#[tokio::test]
async fn a_call_whose_time_ends_before_it_has_a_connection_costs_nothing() -> anyhow::Result<()> {
    let second = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let (address, _full) = full_port()?;
    let key = json!({"name": "provider", "key": "api-key"});
    // Where bodies go through as they come, and where they are put together by the sidecar.
    let mut through = backend("first", &second, GOOD, json!({}));
    through["openAI"]["baseURL"] = json!(format!("http://{address}/v1"));
    let mut own = backend(
        "first",
        &second,
        "embed-v4.0",
        json!({"cohere": {"baseURL": format!("http://{address}"), "apiKeySecretRef": key}}),
    );
    if let Some(own) = own.as_object_mut() {
        own.remove("openAI");
    }
    let mut all = vec![team("search", json!({})), secret("default", "provider", json!({"api-key": PROVIDER_KEY}))];
    let off = json!({"cooldown": {"failures": 0}});
    for (name, first, user) in [("through", through, "alice"), ("own", own, "bob")] {
        let spare = backend("second", &second, GOOD, json!({"priority": 1}));
        all.push(route(&format!("{name}-alone"), vec![first.clone()], off.clone()));
        all.push(route(name, vec![first, spare], off.clone()));
        // For four tokens, once.
        all.extend(api_key(user, "search", json!({"budget": {"limit": "0.00000008", "period": "Total"}})));
    }
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let text = json!("a b c d");
    for (name, user) in [("through", "alice"), ("own", "bob")] {
        let caller = caller.with_key(&key_value(user));
        let late = caller.embed(&format!("{name}-alone"), text.clone()).await?;
        let label = format!("default/{name}-alone/first");
        assert_eq!(said(&late), (504, &*label, "0", "0"), "{name}: {}", late.message());
        assert_eq!(late.header("x-litellm-response-cost"), None, "{name}");
        let metrics = pair.at_rest().await?;
        let attempts = [("backend", &*label), ("result", "timeout")];
        assert_eq!(count(&metrics, "vectoll_backend_attempts_total", &attempts), 1, "{name}");
        let served = caller.embed(name, text.clone()).await?;
        let label = format!("default/{name}/second");
        assert_eq!(said(&served), (200, &*label, "1", "1"), "{name}: {}", served.message());
        assert_eq!(served.header("x-litellm-response-cost"), Some("0.00000008"), "{name}");
    }
    let metrics = pair.at_rest().await?;
    assert_eq!(count(&metrics, "vectoll_key_tokens_total", &[]), second.account().charged_tokens);
    assert_eq!(count(&metrics, "vectoll_unsettled_tokens_total", &[]), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_fails_is_left_alone_and_comes_back_by_itself() -> anyhow::Result<()> {
    let spare = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let first = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let address = first.address();
    let backends =
        vec![backend("first", &first, GOOD, json!({})), backend("second", &spare, GOOD, json!({"priority": 1}))];
    let (pair, caller) =
        start(vec![route("model", backends, json!({"cooldown": {"failures": 3, "seconds": 1}}))]).await?;
    let call = async || caller.embed("model", json!("text")).await;
    assert_eq!(said(&call().await?).1, "default/model/first");
    first.stop().await;
    for retries in ["1", "1", "1", "0", "0", "0"] {
        assert_eq!(said(&call().await?), (200, "default/model/second", retries, retries));
    }
    let metrics = pair.metrics().await?;
    let cooling = |metrics: &Metrics| metrics.value("vectoll_backend_cooldown", &[("backend", "default/model/first")]);
    assert_eq!(cooling(&metrics), Some(1.0));
    assert_eq!(count(&metrics, "vectoll_unsettled_tokens_total", &[]), 0, "where nobody listens nothing is charged");
    let reason = [("backend", "default/model/first"), ("reason", "failures")];
    assert_eq!(count(&metrics, "vectoll_backend_cooldowns_total", &reason), 1);
    let back = Provider::start(Options { listen: address, ..Options::new(PROVIDER_KEY) }).await?;
    let since = Instant::now();
    loop {
        let answer = call().await?;
        assert_eq!(answer.status, 200, "{}", answer.message());
        if said(&answer).1 == "default/model/first" {
            break;
        }
        ensure!(since.elapsed() < Duration::from_secs(10), "it never comes back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("figure: back after {:.2} s of a cooldown of 1 s", since.elapsed().as_secs_f64());
    assert_eq!(cooling(&pair.metrics().await?), Some(0.0));
    assert_eq!(back.account().requests, 1);
    Ok(())
}

#[tokio::test]
async fn a_provider_that_asks_for_time_gets_it() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let backends = vec![
        backend("first", &first, "fault-429", json!({})),
        backend("second", &second, GOOD, json!({"priority": 1})),
    ];
    let (pair, caller) = start(vec![route("model", backends, json!({}))]).await?;
    for retries in ["1", "0", "0", "0"] {
        let answer = caller.embed("model", json!("text")).await?;
        assert_eq!(said(&answer), (200, "default/model/second", retries, retries));
    }
    assert_eq!(first.account().requests, 1, "it said: in seven seconds");
    let reason = [("backend", "default/model/first"), ("reason", "limited")];
    assert_eq!(count(&pair.metrics().await?, "vectoll_backend_cooldowns_total", &reason), 1);
    Ok(())
}

#[tokio::test]
async fn a_backend_that_failed_is_tried_again_where_that_is_wanted() -> anyhow::Result<()> {
    let first = Provider::start(Options::new(PROVIDER_KEY)).await?;
    // The attempt that failed takes nothing of what the provider allows any more.
    let mixed = vec![backend("only", &first, "fault-503", json!({"limits": {"parallelRequests": 1}}))];
    let again = json!({"retry": {"attempts": 2, "sameBackend": true}});
    let (_pair, caller) = start(vec![route("model", mixed, again)]).await?;
    let since = Instant::now();
    let answer = caller.embed("model", json!("text")).await?;
    assert_eq!(said(&answer), (502, "default/model/only", "2", "0"));
    assert_eq!(first.account().requests, 3);
    assert!(since.elapsed() > Duration::from_millis(300), "with pauses between");
    Ok(())
}

#[tokio::test]
async fn calls_go_elsewhere_before_the_provider_refuses_them() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let limits = |limits: Value| json!({"limits": limits});
    let backends = vec![
        backend("first", &first, GOOD, limits(json!({"requestsPerMinute": 3}))),
        backend("second", &second, GOOD, json!({"priority": 1, "limits": {"tokensPerMinute": 10}})),
    ];
    let (_pair, caller) = start(vec![route("model", backends, json!({}))]).await?;
    let mut went = Vec::new();
    for _ in 0..5 {
        // Two tokens each.
        let answer = caller.embed("model", json!("a b")).await?;
        assert_eq!(answer.status, 200, "{}", answer.message());
        went.push(
            answer.header("x-litellm-model-id").unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned(),
        );
    }
    assert_eq!(went, ["first", "first", "first", "second", "second"]);
    let answer = caller.embed("model", json!("seven tokens are more than are left there")).await?;
    assert_eq!((answer.status, answer.code()), (429, "rate_limit_exceeded"), "{}", answer.message());
    let wait: u64 = answer.header("retry-after").unwrap_or_default().parse()?;
    assert!((55..=60).contains(&wait), "{wait}");
    assert_eq!((first.account().requests, second.account().requests), (3, 2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_everything_fails_retries_do_not_double_the_load() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let backends =
        vec![backend("first", &first, "fault-503", json!({})), backend("second", &second, "fault-503", json!({}))];
    let manner = json!({"cooldown": {"failures": 0}, "retry": {"attempts": 1, "budgetPercent": 20}});
    let (_pair, caller) = start(vec![route("model", backends, manner)]).await?;
    let calls = 200;
    for _ in 0..calls {
        assert_eq!(caller.embed("model", json!("text")).await?.status, 502);
    }
    let sent = first.account().requests + second.account().requests;
    println!("figure: {calls} calls, {sent} requests to providers that refuse all");
    assert!((calls + 40..=calls + 52).contains(&sent), "{sent}");
    Ok(())
}

#[tokio::test]
async fn a_lasting_cooldown_survives_edits_of_other_things_and_ends_with_the_backends_own() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let manifests = |model: &str, limit: u64| {
        let backends =
            vec![backend("first", &first, model, json!({})), backend("second", &second, GOOD, json!({"priority": 1}))];
        let mut all = vec![team("search", json!({})), secret("default", "provider", json!({"api-key": PROVIDER_KEY}))];
        all.push(route("model", backends, json!({"cooldown": {"failures": 1, "seconds": 3600}})));
        all.extend(api_key("alice", "search", json!({"limits": {"requestsPerMinute": limit}})));
        file(all)
    };
    let pair = Pair::start(&[("all.yaml", manifests("fault-503", 100))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let generation = async || anyhow::Ok(pair.metrics().await?.value("vectoll_config_generation", &[]));
    let edited = async |text: String| {
        let before = generation().await?;
        pair.write_manifest("all.yaml", &text)?;
        let applied = async || Ok((generation().await? != before).then_some(()));
        pair.wait_for("the edit", Duration::from_secs(20), applied).await?;
        caller.embed("model", json!("text")).await
    };
    assert_eq!(said(&caller.embed("model", json!("text")).await?), (200, "default/model/second", "1", "1"));
    let answer = edited(manifests("fault-503", 101)).await?;
    assert_eq!(said(&answer), (200, "default/model/second", "0", "0"), "an edit of a key sends nobody back to it");
    assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("101"));
    let answer = edited(manifests(GOOD, 101)).await?;
    assert_eq!(said(&answer), (200, "default/model/first", "0", "0"));
    Ok(())
}

#[tokio::test]
async fn a_model_that_is_none_is_no_fault_of_the_backends() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let own_name = |name: &str, provider: &Provider, priority: u32| {
        let mut backend = backend(name, provider, "", json!({"priority": priority}));
        if let Some(backend) = backend.as_object_mut() {
            backend.remove("model");
        }
        backend
    };
    let backends = vec![own_name("first", &first, 0), own_name("second", &second, 1)];
    let (pair, caller) =
        start(vec![route("any", backends, json!({"models": ["fault-*", "text-*"], "cooldown": {"failures": 1}}))])
            .await?;
    for _ in 0..3 {
        assert_eq!(said(&caller.embed("fault-404", json!("text")).await?), (404, "default/any/second", "1", "1"));
    }
    assert_eq!(said(&caller.embed(GOOD, json!("text")).await?), (200, "default/any/first", "0", "0"));
    assert_eq!(count(&pair.metrics().await?, "vectoll_backend_cooldowns_total", &[]), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_tried_again_for_a_caller_that_has_left() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let backends = vec![
        backend("first", &first, "fault-hang", json!({})),
        backend("second", &second, GOOD, json!({"priority": 1})),
    ];
    let (pair, caller) = start(vec![route("model", backends, json!({}))]).await?;
    caller.hang_up("model", json!("text"), Duration::from_millis(300)).await;
    pair.at_rest().await?;
    assert_eq!((first.account().requests, second.account().requests), (1, 0));
    Ok(())
}

#[tokio::test]
async fn a_caller_may_ask_for_fewer_retries_and_gets_no_more() -> anyhow::Result<()> {
    let first = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let failing = |name: &str, priority: u32| backend(name, &first, "fault-500", json!({"priority": priority}));
    let backends = vec![failing("one", 0), failing("two", 1), failing("three", 2)];
    let more = json!({"retry": {"attempts": 1, "budgetPercent": 100}, "cooldown": {"failures": 0}});
    let (_pair, caller) = start(vec![route("model", backends, more)]).await?;
    let body = |more: Value| on_top(json!({"model": "model", "input": "text"}), more);
    for (headers, more, retries) in [
        (&[][..], json!({}), "1"),
        (&[("x-litellm-num-retries", "0")], json!({"num_retries": 3}), "0"),
        (&[], json!({"num_retries": 0}), "0"),
        (&[("x-litellm-num-retries", "3")], json!({}), "1"),
    ] {
        let answer = caller.post("/v1/embeddings", &body(more), headers).await?;
        assert_eq!(answer.header("x-litellm-attempted-retries"), Some(retries), "{headers:?}: {:?}", answer.json);
    }
    Ok(())
}
