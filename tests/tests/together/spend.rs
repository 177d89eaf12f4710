//! Budgets and spend of all sidecars together, through kills and outages.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    manifest::{api_key, key_value, team},
    store::Store,
};

use crate::scene::{MINUTE, MODEL, NINE_TOKENS, PRICE, TURN, held, ledger, scene, scene_at, scene_over, storm};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_sidecars_together_spend_what_one_budget_says() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let mut all = vec![team("search", json!({}))];
    all.extend(api_key("crowd", "search", json!({"budget": {"limit": "1", "period": "Total"}})));
    // At 20 USD a million tokens $1 is 5,555 calls of nine tokens.
    let scene = scene_at("20", 8, &[], all).await?;
    let limit = 1_000_000_000_000u64;
    let (admitted, calls) = storm(&scene, "crowd", Duration::from_millis(14), Duration::from_secs(14)).await?;
    let spent = scene.provider.account().charged_tokens * PRICE * 1000;
    println!(
        "8 sidecars, {calls} calls: {} admitted, {spent} of {limit} pico-USD spent ({:.2} %)",
        admitted.len(),
        spent as f64 / limit as f64 * 100.0
    );
    assert!(spent <= limit, "{spent} pico-USD were spent");
    assert!(spent * 100 >= limit * 98, "only {spent} pico-USD were to be had");
    // That calls were refused at this limit is noted beside the budget, for the operator to tell of.
    let mut admin = scene.store.admin().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg("vectoll:*:m:k:*").query_async(&mut admin).await?;
    let [balance] = &keys[..] else { anyhow::bail!("one budget: {keys:?}") };
    let refused_at: Option<u64> = redis::cmd("HGET").arg(balance).arg("x").query_async(&mut admin).await?;
    assert_eq!(refused_at, Some(limit));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kill_of_sidecars_or_store_loses_or_doubles_spend() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let mut all = vec![team("search", json!({"budget": {"limit": "1000.00", "period": "Total"}}))];
    all.extend(api_key(
        "crowd",
        "search",
        json!({"limits": {"tokensPerMinute": 10_000_000}, "budget": {"limit": "100", "period": "Monthly"}}),
    ));
    let mut scene = scene(4, &[], all).await?;
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut callers = Vec::new();
    for sidecar in &scene.fleet.sidecars {
        let caller = Caller::new(&sidecar.base_url(), &key_value("crowd"))?;
        let (stop, served) = (stop.clone(), served.clone());
        callers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                // Killed under way, or refused while the store is away: both happen here.
                let answer = caller.embed(MODEL, json!(NINE_TOKENS)).await;
                if answer.is_ok_and(|answer| answer.status == 200) {
                    served.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        }));
    }
    let begun = Instant::now();
    let mut kills = 0;
    while begun.elapsed() < MINUTE {
        let victim = kills % scene.fleet.sidecars.len();
        tokio::time::sleep(Duration::from_millis(500)).await;
        scene.fleet.sidecars[victim].end(Signal::SIGKILL).await?;
        scene.fleet.sidecars[victim].start().await?;
        kills += 1;
        match kills {
            8 | 24 => scene.store.restart().await?,
            16 => {
                scene.store.kill().await?;
                scene.store.lose_tail(3_000)?;
                tokio::time::sleep(Duration::from_millis(500)).await;
                scene.store.restart().await?;
            }
            _ => {}
        }
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await?;
    }
    for sidecar in &mut scene.fleet.sidecars {
        sidecar.end(Signal::SIGTERM).await?;
    }
    let (ledger, account) = (ledger(&scene.store).await?, scene.provider.account().charged_tokens);
    let of = |field: &str| ledger.get(field).copied().unwrap_or_default();
    let (booked, unsettled) = (of("t:t"), of("unsettled:t"));
    println!(
        "{kills} kills of sidecars and 3 of the store (one without its last 3,000 bytes) in {} s: {} calls served; the provider charged \
         {account} tokens, the ledger has {booked}, {unsettled} of them unsettled",
        begun.elapsed().as_secs(),
        served.load(Ordering::Relaxed)
    );
    assert!(served.load(Ordering::Relaxed) > 300, "hardly anything was served");
    assert!(booked >= account, "the ledger has less than the provider charged");
    assert!(booked <= account + unsettled, "the ledger has more than can be explained");
    assert_eq!(of("t:p"), booked * PRICE);
    for family in ["k:", "u:", "m:"] {
        let sum: u64 = ledger
            .iter()
            .filter(|(field, _)| field.starts_with(family) && field.ends_with(":t"))
            .map(|(_, value)| value)
            .sum();
        assert_eq!(sum, booked, "{family}");
    }
    assert_eq!(held(&scene.store).await?, 0, "money is held by nobody");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_store_is_lived_through_or_told_as_the_team_wants() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let limits = json!({"tokensPerMinute": 1_000_000});
    let mut all = vec![team("open", json!({})), team("shut", json!({"onStoreFailure": "Closed"}))];
    all.extend(api_key("local", "open", json!({"limits": limits})));
    all.extend(api_key("closed", "shut", json!({"limits": limits})));
    all.extend(api_key("free", "shut", json!({})));
    let mut scene = scene(2, &[], all).await?;
    let local = Caller::new(&scene.fleet.sidecars[0].base_url(), &key_value("local"))?;
    let (closed, free) = (local.with_key(&key_value("closed")), local.with_key(&key_value("free")));
    for caller in [&local, &closed, &free] {
        assert_eq!(caller.embed(MODEL, json!(NINE_TOKENS)).await?.status, 200);
    }
    scene.store.kill().await?;
    // What was leased is good to its end.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut served = 3;
    let outage = Instant::now();
    while outage.elapsed() < Duration::from_secs(26) {
        let answer = local.embed(MODEL, json!(NINE_TOKENS)).await?;
        assert_eq!(answer.status, 200, "{:?}", answer.json);
        let refused = closed.embed(MODEL, json!(NINE_TOKENS)).await?;
        assert_eq!((refused.status, refused.code()), (503, "store_unavailable"), "{:?}", refused.json);
        assert!(refused.header("retry-after").is_some());
        assert_eq!(free.embed(MODEL, json!(NINE_TOKENS)).await?.status, 200, "who has no limit needs no store");
        served += 2;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(scene.fleet.sidecars[0].metrics().await?.value("vectoll_store_up", &[]) == Some(0.0));
    scene.store.restart().await?;
    let (store, wanted) = (&scene.store, served * 9);
    let arrived = scene
        .fleet
        .pair
        .wait_for("the spend of the outage in the ledger", Duration::from_secs(30), async || {
            let booked = ledger(store).await?.get("t:t").copied().unwrap_or_default();
            anyhow::ensure!(booked == wanted, "{booked} of {wanted} tokens");
            Ok(Some(booked))
        })
        .await?;
    println!(
        "a store that was away for 30 s: {served} calls served, {arrived} tokens in the ledger after it came back"
    );
    // And it grants again.
    scene
        .fleet
        .pair
        .wait_for("the store to grant again", Duration::from_secs(30), async || {
            let status = closed.embed(MODEL, json!(NINE_TOKENS)).await?.status;
            anyhow::ensure!(status == 200, "{status}");
            Ok(Some(()))
        })
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_goes_while_the_store_is_away_tells_its_spend_when_it_is_back() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let mut all = vec![team("search", json!({}))];
    all.extend(api_key("crowd", "search", json!({"budget": {"limit": "100", "period": "Total"}})));
    let mut scene = scene(1, &[], all).await?;
    let caller = Caller::new(&scene.fleet.sidecars[0].base_url(), &key_value("crowd"))?;
    assert_eq!(caller.embed(MODEL, json!(NINE_TOKENS)).await?.status, 200);
    scene.store.kill().await?;
    // By the share that it has then.
    for _ in 0..20 {
        assert_eq!(caller.embed(MODEL, json!(NINE_TOKENS)).await?.status, 200);
    }
    // As in a pod that goes: it does not start again, so its journal tells nobody anything.
    let began = Instant::now();
    let (sidecar, store) = (&mut scene.fleet.sidecars[0], &mut scene.store);
    let (ended, restarted) = tokio::join!(sidecar.end(Signal::SIGTERM), async {
        tokio::time::sleep(Duration::from_secs(8)).await;
        store.restart().await
    });
    ended?;
    restarted?;
    assert!(began.elapsed() < Duration::from_secs(20), "it was told all, and went on waiting");
    let booked = ledger(&scene.store).await?.get("t:t").copied();
    assert_eq!((booked, scene.provider.account().charged_tokens), (Some(21 * 9), 21 * 9));
    assert_eq!(held(&scene.store).await?, 0, "money is held by nobody");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_opens_again_at_the_periods_end_by_the_stores_clock_on_a_day_of_25_hours() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    // In Berlin the 28th of October 2029 ends at 23:00 UTC, an hour later than the days before it: a day of 25 hours.
    let midnight: jiff::Timestamp = "2029-10-28T23:00:00Z".parse()?;
    // Time enough for a busy machine to get there.
    let begins = midnight.as_second() - 40;
    let store = Store::start_ahead(begins - jiff::Timestamp::now().as_second()).await?;
    let budget = json!({"limit": "0.00000036", "period": "Daily", "timeZone": "Europe/Berlin"});
    let mut all = vec![team("search", json!({}))];
    all.extend(api_key("crowd", "search", json!({"budget": budget})));
    let scene = scene_over(store, "0.02", 2, &[], all).await?;
    let callers = [0, 1].map(|at| Caller::new(&scene.fleet.sidecars[at].base_url(), &key_value("crowd")));
    let [one, other] = callers;
    let (one, other) = (one?, other?);
    // Two calls of nine tokens are all of it. The store was started just now: it grants after four seconds.
    for caller in [&one, &other] {
        let answer = caller.embed(MODEL, json!(NINE_TOKENS)).await?;
        assert_eq!(answer.status, 200, "{}", answer.message());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let refused = one.embed(MODEL, json!(NINE_TOKENS)).await?;
    assert_eq!((refused.status, refused.code()), (429, "budget_exceeded"), "{:?}", refused.json);
    let told: u64 = refused.header("retry-after").unwrap_or_default().parse()?;
    assert!((1..=40).contains(&told), "{told} s to midnight in Berlin");
    let mut admin = scene.store.admin().await?;
    let now = async |admin: &mut redis::aio::MultiplexedConnection| -> anyhow::Result<f64> {
        let (seconds, micros): (f64, f64) = redis::cmd("TIME").query_async(admin).await?;
        Ok(seconds + micros / 1e6)
    };
    let midnight = midnight.as_second() as f64;
    let mut last_refused = 0.0;
    let opened = loop {
        let status = other.embed(MODEL, json!(NINE_TOKENS)).await?.status;
        let at = now(&mut admin).await? - midnight;
        match status {
            200 => break at,
            429 => last_refused = at,
            other => anyhow::bail!("{other}"),
        }
        anyhow::ensure!(at < 10.0, "still refused {at} s after midnight");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    println!(
        "a daily budget opened {opened:.3} s after midnight by the store's clock; last refused at {last_refused:.3} s; told to wait {told} s"
    );
    assert!(opened > -0.05, "before midnight");
    // A second is the promise; a busy machine has five.
    assert!(opened < 5.0, "{opened} s after midnight");
    Ok(())
}
