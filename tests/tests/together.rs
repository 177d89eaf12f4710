//! Several sidecars, one store: limits and budgets hold for all of them together, and spend is neither lost nor doubled.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test"
)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    fleet::Fleet,
    manifest::{PROVIDER_KEY, api_key, file, key_value, route, team},
    pair::Setup,
    provider::{Options, Provider},
    store::{PASSWORD, Store},
};

/// 9 tokens in cl100k; at 0.02 USD a million 180,000 pico-USD.
const NINE_TOKENS: &str = "The quick brown fox jumps over the lazy dog";
const PRICE: u64 = 20_000;
const MODEL: &str = "text-embedding-3-small";
const MINUTE: Duration = Duration::from_mins(1);

/// One at a time: they measure, and the machine is small.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Scene {
    provider: Provider,
    store: Store,
    fleet: Fleet,
    _password: tempfile::TempDir,
}

/// A fleet whose keys are those of `documents`, over a store and a provider.
async fn scene(sidecars: usize, further: &[&str], documents: Vec<serde_json::Value>) -> anyhow::Result<Scene> {
    scene_at("0.02", sidecars, further, documents).await
}

/// The same at a price in USD a million tokens.
async fn scene_at(
    price: &str,
    sidecars: usize,
    further: &[&str],
    documents: Vec<serde_json::Value>,
) -> anyhow::Result<Scene> {
    scene_over(Store::start().await?, price, sidecars, further, documents).await
}

/// The same over a store that runs already.
async fn scene_over(
    store: Store,
    price: &str,
    sidecars: usize,
    further: &[&str],
    documents: Vec<serde_json::Value>,
) -> anyhow::Result<Scene> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let folder = tempfile::tempdir()?;
    let password = folder.path().join("password");
    std::fs::write(&password, PASSWORD)?;
    let mut all = documents;
    let mut routes = route("openai", &[MODEL], &provider.url());
    routes[0]["spec"]["backends"][0]["price"]["inputPerMillionTokens"] = json!(price);
    all.extend(routes);
    let (url, password) = (store.url(), password.display().to_string());
    let mut arguments = vec!["--store-url", &*url, "--store-password-file", &*password];
    arguments.extend(further);
    let fleet = Fleet::start(Setup::built()?, &[("all.yaml", file(all))], &arguments, sidecars).await?;
    Ok(Scene { provider, store, fleet, _password: folder })
}

/// When a call was admitted, and its tokens.
type Admitted = Arc<Mutex<Vec<(Duration, u64)>>>;

/// Calls of one key at all sidecars, `pace` apart at each, until a moment. Returns what was admitted, and how many calls there were.
async fn storm(
    scene: &Scene,
    key: &str,
    pace: Duration,
    lasts: Duration,
) -> anyhow::Result<(Vec<(Duration, u64)>, u64)> {
    let (admitted, calls) = (Admitted::default(), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let mut callers = Vec::new();
    for sidecar in &scene.fleet.sidecars {
        let caller = Caller::new(&sidecar.base_url(), &key_value(key))?;
        let (admitted, calls) = (admitted.clone(), calls.clone());
        callers.push(tokio::spawn(async move {
            let mut tick = tokio::time::interval(pace);
            let mut under_way = tokio::task::JoinSet::new();
            while begun.elapsed() < lasts {
                tick.tick().await;
                let (caller, admitted) = (caller.clone(), admitted.clone());
                calls.fetch_add(1, Ordering::Relaxed);
                under_way.spawn(async move {
                    let answer = caller.embed(MODEL, json!(NINE_TOKENS)).await?;
                    match answer.status {
                        200 => {
                            let mut all = admitted.lock().unwrap_or_else(PoisonError::into_inner);
                            all.push((begun.elapsed(), answer.tokens()));
                        }
                        429 => {}
                        other => anyhow::bail!("{other}: {:?}", answer.json),
                    }
                    Ok(())
                });
                while under_way.len() > 64 {
                    if let Some(done) = under_way.join_next().await {
                        done??;
                    }
                }
            }
            while let Some(done) = under_way.join_next().await {
                done??;
            }
            anyhow::Ok(())
        }));
    }
    for caller in callers {
        caller.await??;
    }
    let mut all = std::mem::take(&mut *admitted.lock().unwrap_or_else(PoisonError::into_inner));
    all.sort_unstable();
    Ok((all, calls.load(Ordering::Relaxed)))
}

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
    let [purse] = &keys[..] else { anyhow::bail!("one budget: {keys:?}") };
    let refused_at: Option<u64> = redis::cmd("HGET").arg(purse).arg("x").query_async(&mut admin).await?;
    assert_eq!(refused_at, Some(limit));
    Ok(())
}

/// The ledger of the Team, from the store: requests, tokens and pico-USD by field.
async fn ledger(store: &Store) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut admin = store.admin().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg("vectoll:*:total").query_async(&mut admin).await?;
    let mut all = BTreeMap::new();
    for key in keys {
        let fields: BTreeMap<String, u64> = redis::cmd("HGETALL").arg(key).query_async(&mut admin).await?;
        for (field, value) in fields {
            *all.entry(field).or_default() += value;
        }
    }
    Ok(all)
}

/// What is held of budgets, and claimed of parallel requests, by any sidecar.
async fn held(store: &Store) -> anyhow::Result<u64> {
    let mut admin = store.admin().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg("vectoll:*:m:*").query_async(&mut admin).await?;
    let mut sum = 0;
    for key in keys {
        let held: Option<u64> = redis::cmd("HGET").arg(key).arg("r").query_async(&mut admin).await?;
        sum += held.unwrap_or_default();
    }
    Ok(sum)
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
    let edit = async |limit: Option<u64>| {
        let generation = scene.fleet.sum("vectoll_config_generation").await?;
        scene.fleet.pair.write_manifest("all.yaml", &manifest(limit, &url))?;
        let applied = async || {
            let present = scene.fleet.sum("vectoll_config_generation").await?;
            anyhow::ensure!(present >= generation + 2.0, "not applied by both");
            Ok(Some(()))
        };
        scene.fleet.pair.wait_for("the edit", Duration::from_secs(20), applied).await
    };
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
