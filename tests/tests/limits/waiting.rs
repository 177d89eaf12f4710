//! Calls that wait for room.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, file, key_value, route, team},
    pair::Pair,
    provider::{Options, Provider},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_wait_for_room_in_the_order_in_which_they_came_and_none_waits_in_vain() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["fault-slow-300", "text-embedding-3-small"], &provider.url()));
    let mut narrow = route("narrow", &["narrow"], &provider.url()).swap_remove(0);
    narrow["spec"]["backends"][0]["model"] = json!("fault-slow-300");
    narrow["spec"]["backends"][0]["limits"] = json!({"parallelRequests": 1});
    all.push(narrow);
    all.extend(api_key("waits", "search", json!({"limits": {"parallelRequests": 1}, "maxWaitSeconds": 20})));
    all.extend(api_key("refused", "search", json!({"limits": {"parallelRequests": 1}})));
    all.extend(api_key("minute", "search", json!({"limits": {"requestsPerMinute": 1}, "maxWaitSeconds": 5})));
    all.extend(api_key("backend", "search", json!({"maxWaitSeconds": 20})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let base = Caller::new(&pair.base_url(), "")?;
    // Five at once, one after the other: each is sent when it stands in line.
    let storm = async |key: &'static str, model: &'static str| {
        let order: Arc<Mutex<Vec<usize>>> = Arc::default();
        let mut calls = Vec::new();
        for n in 0..5 {
            let (caller, order) = (base.with_key(&key_value(key)), order.clone());
            calls.push(tokio::spawn(async move {
                let answer = caller.embed(model, json!("a")).await?;
                order.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(n);
                anyhow::Ok((answer.status, answer.header("x-vectoll-waited-ms").map(str::to_owned)))
            }));
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await??);
        }
        let order = order.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        anyhow::Ok((answers, order))
    };
    let (answers, order) = storm("waits", "fault-slow-300").await?;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert_eq!(order, [0, 1, 2, 3, 4]);
    assert!(answers[0].1.is_none() && answers[4].1.is_some(), "{answers:?}");
    let (answers, _) = storm("refused", "fault-slow-300").await?;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 429).count(), 4, "{answers:?}");
    let (answers, _) = storm("backend", "narrow").await?;
    assert!(answers.iter().all(|(status, _)| *status == 200), "a provider's limit is waited for: {answers:?}");

    // What cannot succeed is refused at once: the minute is longer than the five seconds.
    let minute = base.with_key(&key_value("minute"));
    assert_eq!(minute.embed("text-embedding-3-small", json!("a")).await?.status, 200);
    let begun = Instant::now();
    let refused = minute.embed("text-embedding-3-small", json!("a")).await?;
    assert_eq!((refused.status, refused.code()), (429, "rate_limit_exceeded"));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // A call may ask for less, and must ask for a number.
    let waits = base.with_key(&key_value("waits"));
    let first = {
        let caller = waits.clone();
        tokio::spawn(async move { caller.embed("fault-slow-300", json!("a")).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    let body = json!({"model": "text-embedding-3-small", "input": "a"});
    let impatient = waits.post("/v1/embeddings", &body, &[("x-vectoll-max-wait", "0")]).await?;
    assert_eq!(impatient.status, 429, "{}", impatient.message());
    let mistyped = waits.post("/v1/embeddings", &body, &[("x-vectoll-max-wait", "soon")]).await?;
    assert_eq!(mistyped.status, 400);
    assert!(
        mistyped.message().contains("x-vectoll-max-wait must be a whole number of seconds"),
        "{}",
        mistyped.message()
    );
    assert_eq!(first.await??.status, 200);
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.value("vectoll_waiting_calls", &[]), Some(0.0));
    assert!(metrics.value("vectoll_limit_wait_seconds_count", &[]).is_some_and(|count| count >= 4.0));
    Ok(())
}
