//! Hedging: the slow tail is cut off, no answer is lost from the books, and nothing is sent twice that has no room for it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, file, key_value, on_top, secret, team},
    pair::Pair,
    provider::Provider,
};

use super::world::{GOOD, backend, count, route, said, start, two_providers};

/// Far longer than any answer here takes by itself.
const SLOW: &str = "fault-slow-4000";

/// A route whose backends have time, and whose calls go to the second one after 100 ms as well.
fn hedged(name: &str, first: (&Provider, &str), second: (&Provider, &str), more: Value) -> Value {
    let time = |priority: u32| json!({"priority": priority, "timeoutSeconds": 20});
    let backends = vec![backend("first", first.0, first.1, time(0)), backend("second", second.0, second.1, time(1))];
    route(name, backends, on_top(json!({"hedge": {"delayMilliseconds": 100}}), more))
}

/// How many attempts there were beside others, and how many of them won.
async fn hedges(pair: &Pair, backend: &str) -> anyhow::Result<(u64, u64)> {
    let metrics = pair.metrics().await?;
    let of = |labels: &[(&str, &str)]| count(&metrics, "vectoll_hedges_total", labels);
    Ok((of(&[("backend", backend)]), of(&[("backend", backend), ("outcome", "won")])))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_answer_is_taken_and_both_are_paid() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let (pair, caller) = start(vec![
        hedged("slow", (&first, SLOW), (&second, GOOD), json!({})),
        hedged("both", (&first, "fault-slow-1000"), (&second, SLOW), json!({})),
        hedged("fast", (&first, GOOD), (&second, GOOD), json!({"hedge": {"delayMilliseconds": 20_000}})),
    ])
    .await?;
    let input = json!(["The quick brown fox", "jumps over the lazy dog"]);
    let right = caller
        .raw(|http, _| http.post(format!("{}/vectors", second.origin())).json(&json!({"model": GOOD, "input": input})))
        .await?;
    let since = Instant::now();
    let answer = caller.embed("slow", input.clone()).await?;
    println!("figure: answered after {:.2} s where the first backend takes 4 s", since.elapsed().as_secs_f64());
    assert_eq!(said(&answer), (200, "default/slow/second", "0", "0"), "{}", answer.message());
    for at in 0..2 {
        assert_eq!(answer.json["data"][at]["embedding"], right.json["vectors"][at]);
    }
    assert_eq!(hedges(&pair, "default/slow/second").await?, (1, 1));
    // Its other attempt is still under way.
    assert_eq!(first.account().by_model.get(SLOW).map_or(0, |charged| charged.tokens), 0);
    let answer = caller.embed("both", input.clone()).await?;
    assert_eq!(said(&answer), (200, "default/both/first", "0", "0"), "{}", answer.message());
    assert_eq!(hedges(&pair, "default/both/second").await?, (1, 0));
    let answer = caller.embed("fast", input).await?;
    assert_eq!(said(&answer), (200, "default/fast/first", "0", "0"), "{}", answer.message());
    assert_eq!(hedges(&pair, "default/fast/second").await?, (0, 0));
    // What lost the race is booked like what won it: as the provider said.
    let metrics = pair.at_rest().await?;
    let charged = first.account().charged_tokens + second.account().charged_tokens;
    let once = first.account().by_model[SLOW].tokens;
    assert!(once > 0 && charged == 5 * once, "{charged} tokens charged, {once} for one attempt");
    for family in ["key", "team", "user", "model"] {
        assert_eq!(count(&metrics, &format!("vectoll_{family}_tokens_total"), &[]), charged, "{family}");
    }
    assert_eq!(count(&metrics, "vectoll_unsettled_tokens_total", &[]), 0);
    assert_eq!((first.account().violations, second.account().violations), (Vec::new(), Vec::new()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_wins_or_loses_like_a_small_one() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let (pair, caller) = start(vec![
        hedged("won", (&first, "fault-slow-1000"), (&second, GOOD), json!({})),
        hedged("lost", (&first, "fault-slow-1000"), (&second, SLOW), json!({})),
    ])
    .await?;
    for (model, served) in [("won", "default/won/second"), ("lost", "default/lost/first")] {
        let answer = caller.embed(model, json!(vec!["text"; 100])).await?;
        assert_eq!(said(&answer), (200, served, "0", "0"), "{}", answer.message());
        assert_eq!(answer.json["data"].as_array().map(Vec::len), Some(100));
    }
    let metrics = pair.at_rest().await?;
    assert_eq!(count(&metrics, "vectoll_key_tokens_total", &[]), 400);
    assert_eq!(count(&metrics, "vectoll_unsettled_tokens_total", &[]), 0);
    assert_eq!(first.account().charged_tokens + second.account().charged_tokens, 400);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_one_fails_the_other_is_waited_for() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let off = || json!({"cooldown": {"failures": 0}});
    let mut late = hedged("late", (&first, "fault-hang"), (&second, "fault-slow-2500"), off());
    late["spec"]["backends"][0]["timeoutSeconds"] = json!(1);
    let mut neither = hedged("neither", (&first, "fault-hang"), (&second, "fault-hang"), off());
    for at in 0..2 {
        neither["spec"]["backends"][at]["timeoutSeconds"] = json!(1);
    }
    let refusing = hedged("refusing", (&first, "fault-slow-1000"), (&second, "fault-503"), off());
    let (pair, caller) = start(vec![late, neither, refusing]).await?;
    let answer = caller.embed("late", json!("a b c d")).await?;
    assert_eq!(said(&answer), (200, "default/late/second", "0", "0"), "{}", answer.message());
    let answer = caller.embed("neither", json!("a b c d")).await?;
    assert_eq!(said(&answer), (504, "default/neither/second", "0", "0"), "{}", answer.message());
    let answer = caller.embed("refusing", json!("a b c d")).await?;
    assert_eq!(said(&answer), (200, "default/refusing/first", "0", "0"), "{}", answer.message());
    let metrics = pair.at_rest().await?;
    // Three attempts hung and one failed, and may have been charged: four tokens each.
    assert_eq!(count(&metrics, "vectoll_unsettled_tokens_total", &[]), 16);
    let charged = first.account().charged_tokens + second.account().charged_tokens;
    assert_eq!(charged, 8, "two were answered");
    assert_eq!(count(&metrics, "vectoll_key_tokens_total", &[]), 24);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_twice_without_room_for_it() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let slow = "fault-slow-600";
    let mut all = vec![team("search", json!({})), secret("default", "provider", json!({"api-key": PROVIDER_KEY}))];
    all.push(hedged("model", (&first, slow), (&second, GOOD), json!({})));
    all.push(hedged("frugal", (&first, slow), (&second, GOOD), json!({"retry": {"budgetPercent": 0}})));
    let once = json!({"cooldown": {"failures": 1, "seconds": 3600}});
    let mut cooling = hedged("cooling", (&first, slow), (&second, "fault-503"), once);
    // Late enough for the second one to have failed before it would be asked as well, also on a busy machine.
    cooling["spec"]["hedge"] = json!({"delayMilliseconds": 500});
    cooling["spec"]["backends"][1]["priority"] = json!(0);
    cooling["spec"]["backends"][0]["weight"] = json!(1);
    cooling["spec"]["backends"][1]["weight"] = json!(1_000_000);
    all.push(cooling);
    let mut limited = hedged("limited", (&first, slow), (&second, GOOD), json!({}));
    limited["spec"]["backends"][1]["limits"] = json!({"tokensPerMinute": 3});
    all.push(limited);
    // Four tokens cost 0.00000008: that is for one attempt.
    all.extend(api_key("poor", "search", json!({"budget": {"limit": "0.00000014", "period": "Total"}})));
    all.extend(api_key("rich", "search", json!({"budget": {"limit": "1", "period": "Total"}})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let poor = Caller::new(&pair.base_url(), &key_value("poor"))?;
    let rich = poor.with_key(&key_value("rich"));
    let text = || json!("a b c d");
    // The second backend of this one fails at its first call, and is left alone from then on.
    assert_eq!(said(&rich.embed("cooling", text()).await?), (200, "default/cooling/first", "1", "1"));
    let before = second.account().requests;
    for (caller, model) in [(&poor, "model"), (&rich, "frugal"), (&rich, "cooling"), (&rich, "limited")] {
        let answer = caller.embed(model, text()).await?;
        assert_eq!(said(&answer), (200, &*format!("default/{model}/first"), "0", "0"), "{}", answer.message());
        assert_eq!(second.account().requests, before, "{model}");
    }
    rich.hang_up("model", text(), Duration::from_millis(30)).await;
    pair.at_rest().await?;
    assert_eq!(second.account().requests, before, "its caller has left");
    // With room for it, it is sent.
    assert_eq!(said(&rich.embed("model", text()).await?), (200, "default/model/second", "0", "0"));
    pair.at_rest().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hedges_are_a_part_of_the_calls() -> anyhow::Result<()> {
    let (first, second) = two_providers().await?;
    let manner = json!({"hedge": {"delayMilliseconds": 1}, "retry": {"budgetPercent": 20}});
    let (pair, caller) = start(vec![hedged("model", (&first, "fault-slow-30"), (&second, GOOD), manner)]).await?;
    let calls = 100;
    for _ in 0..calls {
        assert_eq!(caller.embed("model", json!("text")).await?.status, 200);
    }
    pair.at_rest().await?;
    let (first, second) = (first.account().requests, second.account().requests);
    println!("figure: {calls} calls that all take long, {second} attempts beside the first");
    assert_eq!(first, calls);
    assert!((20..=31).contains(&second), "{second}");
    assert_eq!(hedges(&pair, "default/model/second").await?.0, second);
    Ok(())
}
