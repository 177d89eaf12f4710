//! Limits of all sidecars together.

use std::time::Duration;

use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    manifest::{api_key, file, key_value, route, team},
};

use crate::scene::{MINUTE, MODEL, NINE_TOKENS, TURN, scene, storm};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_sidecars_together_admit_what_one_limit_says() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let mut all = vec![team("search", json!({}))];
    all.extend(api_key("crowd", "search", json!({"limits": {"tokensPerMinute": 10_000}})));
    let scene = scene(8, &[], all).await?;
    // 5 times the limit: 50,000 tokens a minute are 5,556 calls, one each 86 ms at each of eight sidecars.
    let lasts = Duration::from_secs(80);
    let (admitted, calls) = storm(&scene, "crowd", Duration::from_millis(86), lasts).await?;
    let sum = |from: Duration, to: Duration| -> u64 {
        admitted.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, tokens)| tokens).sum()
    };
    // A call counts from some moment between sending and answering; ours is read milliseconds after it.
    let window = MINUTE.saturating_sub(Duration::from_millis(300));
    let worst = admitted.iter().map(|(start, _)| sum(*start, *start + window)).max().unwrap_or_default();
    // Whole cycles of the window: from its first call to the first of the second minute, and to that of the third.
    let total: u64 = admitted.iter().map(|(_, tokens)| tokens).sum();
    // A store that was started just now grants nothing for its first four seconds.
    let begins = admitted.first().map_or(Duration::ZERO, |(at, _)| *at);
    let first = sum(begins, begins + MINUTE);
    let gap = admitted.windows(2).max_by_key(|pair| pair[1].0.saturating_sub(pair[0].0)).map(|pair| pair[1].0);
    let cycle = gap.unwrap_or(MINUTE).saturating_sub(begins);
    let share = first as f64 / cycle.as_secs_f64() * 60.0 / 10_000.0;
    println!(
        "8 sidecars, {calls} calls offered in {} s: {first} tokens in the first minute, at most {worst} in any, {total} in all; the \
         window opens again after {:.1} s: {:.1} % of the limit",
        lasts.as_secs(),
        cycle.as_secs_f64(),
        share * 100.0
    );
    assert!(worst <= 10_000, "{worst} tokens in 60 s");
    assert!(share > 0.93, "only {share} of the limit is admitted");
    assert_eq!(scene.provider.account().charged_tokens, total);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn far_from_its_limit_a_call_asks_nobody() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let mut all = vec![team("search", json!({"limits": {"tokensPerMinute": 100_000_000}}))];
    all.extend(api_key(
        "crowd",
        "search",
        json!({"limits": {"tokensPerMinute": 100_000_000, "requestsPerMinute": 1_000_000}}),
    ));
    let scene = scene(2, &[], all).await?;
    storm(&scene, "crowd", Duration::from_millis(4), Duration::from_secs(3)).await?;
    let before = scene.fleet.sum("vectoll_store_exchanges_total").await?;
    let (admitted, calls) = storm(&scene, "crowd", Duration::from_millis(4), Duration::from_secs(10)).await?;
    let exchanges = scene.fleet.sum("vectoll_store_exchanges_total").await? - before;
    assert_eq!(admitted.len() as u64, calls, "no call is refused far from the limit");
    println!(
        "{calls} calls at 2 sidecars in 10 s took {exchanges} exchanges: one for {:.0} calls",
        calls as f64 / exchanges
    );
    assert!(exchanges * 20.0 < calls as f64, "{exchanges} exchanges for {calls} calls");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_limit_counts_at_once_and_keeps_what_was_used() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let manifest = |limit: Option<u64>, url: &str| {
        let mut all = vec![team("search", json!({}))];
        let limits = limit.map_or(json!({}), |limit| json!({"tokensPerMinute": limit}));
        all.extend(api_key("crowd", "search", json!({"limits": limits})));
        all.extend(route("openai", &[MODEL], url));
        file(all)
    };
    let mut all = vec![team("search", json!({}))];
    all.extend(api_key("crowd", "search", json!({"limits": {"tokensPerMinute": 45}})));
    let scene = scene(2, &[], all).await?;
    let callers = [0, 1].map(|at| Caller::new(&scene.fleet.sidecars[at].base_url(), &key_value("crowd")));
    let [one, other] = callers;
    let (one, other) = (one?, other?);
    let status = async |caller: &Caller| {
        // What the call before did not use after all goes back to the store within this.
        tokio::time::sleep(Duration::from_millis(200)).await;
        anyhow::Ok(caller.embed(MODEL, json!(NINE_TOKENS)).await?.status)
    };
    for caller in [&one, &other, &one, &other, &one] {
        assert_eq!(status(caller).await?, 200);
    }
    assert_eq!((status(&one).await?, status(&other).await?), (429, 429));
    let url = scene.provider.url();
    let edit = async |limit: Option<u64>| scene.apply(&manifest(limit, &url)).await;
    edit(Some(63)).await?;
    assert_eq!((status(&one).await?, status(&other).await?), (200, 200), "raised: room for two more");
    assert_eq!((status(&one).await?, status(&other).await?), (429, 429), "and what was used counts");
    edit(None).await?;
    for _ in 0..5 {
        assert_eq!((status(&one).await?, status(&other).await?), (200, 200), "taken away");
    }
    // 7 + 10 calls of nine tokens are 153.
    edit(Some(160)).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let refused = one.embed(MODEL, json!(NINE_TOKENS)).await?;
    let other_refused = other.embed(MODEL, json!(NINE_TOKENS)).await?;
    println!("set again: {} and {}", refused.message(), other_refused.message());
    assert!(
        refused.status == 429 || other_refused.status == 429,
        "what was used without a limit counts when there is one again"
    );
    edit(Some(1_000)).await?;
    assert_eq!((status(&one).await?, status(&other).await?), (200, 200));
    edit(Some(100)).await?;
    assert_eq!((status(&one).await?, status(&other).await?), (429, 429), "lowered");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_costs_a_call_next_to_nothing() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let limits = json!({"tokensPerMinute": 100_000_000, "requestsPerMinute": 10_000_000, "parallelRequests": 1_000});
    let mut all = vec![team("limited", json!({"limits": limits})), team("free", json!({}))];
    all.extend(api_key("limited", "limited", json!({"limits": limits, "budget": {"limit": "100", "period": "Daily"}})));
    all.extend(api_key("free", "free", json!({})));
    let scene = scene(1, &[], all).await?;
    let limited = Caller::new(&scene.fleet.sidecars[0].base_url(), &key_value("limited"))?;
    let free = limited.with_key(&key_value("free"));
    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for round in 0..1_500 {
        // Turn by turn, so that both meet the same machine.
        for (which, caller) in [&free, &limited].into_iter().enumerate() {
            let answer = caller.embed(MODEL, json!(NINE_TOKENS)).await?;
            anyhow::ensure!(answer.status == 200, "{}: {:?}", answer.status, answer.json);
            let overhead: f64 = answer.header("x-litellm-overhead-duration-ms").unwrap_or_default().parse()?;
            if round >= 100 {
                times[which].push(overhead * 1_000.0);
            }
        }
    }
    let [free, limited] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    println!(
        "the sidecar's own time, median of 1,400 calls: {free:.0} µs without limits, {limited:.0} µs with six limits and a budget"
    );
    // 20 is the promise; five times as much is allowed on a busy machine.
    assert!(limited - free < 100.0, "{} µs more", limited - free);
    Ok(())
}
