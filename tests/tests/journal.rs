//! Spend is never lost: sidecars are killed under load, their files are damaged, their disk refuses, and the books still hold
//! what the test provider charged.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a test"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::task::JoinHandle;
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, file, key_value, route, team},
    pair::{Pair, Setup, binaries, metrics::Metrics},
    provider::{Options, Provider},
};

const FAMILIES: [&str; 4] = ["key", "team", "user", "model"];
/// The price of the test routes, in pico-USD.
const TOKEN: u64 = 20_000;

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn count(metrics: &Metrics, name: &str) -> u64 {
    metrics.sum(name, &[]) as u64
}

/// The tokens of the books: the same in all families, and so is the money, to the pico-USD.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sums of cents")]
fn tokens(metrics: &Metrics) -> u64 {
    let all = FAMILIES.map(|family| count(metrics, &format!("vectoll_{family}_tokens_total")));
    for (family, tokens) in FAMILIES.iter().zip(all) {
        assert_eq!(tokens, all[0], "tokens of all {family}s");
        let name = format!("vectoll_{family}_spend_usd_total");
        let pico: u64 = metrics.samples(&name, &[]).map(|sample| (sample.value * 1e12).round() as u64).sum();
        assert_eq!(pico, tokens * TOKEN, "money of all {family}s");
    }
    all[0]
}

/// No series of the books has gone back or away.
fn never_back(before: &Metrics, after: &Metrics) {
    for name in before.names() {
        let of_books = ["key", "team", "user", "model", "unsettled", "estimated", "reservation_overrun"]
            .iter()
            .any(|family| name.starts_with(&format!("vectoll_{family}_")));
        if !of_books || !name.ends_with("_total") {
            continue;
        }
        for sample in before.samples(name, &[]) {
            let labels: Vec<(&str, &str)> =
                sample.labels.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
            let now = after.value(name, &labels);
            assert!(now.is_some_and(|now| now >= sample.value), "{name} {labels:?}: {} became {now:?}", sample.value);
        }
    }
}

async fn stage(setup: Setup, models: &[&str]) -> anyhow::Result<(Pair, Provider)> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut routes = route("openai", models, &provider.url());
    routes[0]["spec"]["backends"][0]["timeoutSeconds"] = json!(2);
    let mut all = vec![
        team("search", json!({"budget": {"limit": "100", "period": "Monthly"}})),
        team("research", json!({"userBudget": {"limit": "100", "period": "Daily", "timeZone": "Asia/Tokyo"}})),
    ];
    all.extend(routes);
    // Nobody listens there.
    all.extend(route("nowhere", &["nowhere"], "http://127.0.0.1:1/v1"));
    all.extend(api_key("alice", "search", json!({"budget": {"limit": "50", "period": "Total"}})));
    all.extend(api_key("bob", "research", json!({})));
    all.extend(api_key("carol", "research", json!({})));
    let pair = Pair::start_with(setup, &[("all.yaml", file(all))]).await?;
    Ok((pair, provider))
}

/// Callers that go on until told to stop, whatever they get.
fn load(pair: &Pair, models: &'static [&'static str]) -> anyhow::Result<(Arc<AtomicBool>, Vec<JoinHandle<u64>>)> {
    let stop = Arc::new(AtomicBool::new(false));
    let base = Caller::new(&pair.base_url(), "")?;
    let workers = (0..8_usize).map(|worker| {
        let (stop, caller) = (stop.clone(), base.with_key(&key_value(["alice", "bob", "carol"][worker % 3])));
        tokio::spawn(async move {
            let mut served = 0;
            for call in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let model = models[(worker + call) % models.len()];
                let body = json!({"model": model, "input": format!("some words {worker} {call}"), "user": format!("u{}", call % 5)});
                match caller.post("/v1/embeddings", &body, &[]).await {
                    Ok(answer) if answer.status == 200 => served += 1,
                    Ok(_) => {}
                    // Nobody listens, or nobody any more.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
            served
        })
    });
    let workers = workers.collect();
    Ok((stop, workers))
}

async fn at_rest(pair: &Pair) -> anyhow::Result<Metrics> {
    let rest = async || {
        let metrics = pair.metrics().await?;
        let open = metrics.value("vectoll_reservations", &[]) == Some(0.0)
            && metrics.value("vectoll_requests_in_flight", &[]) == Some(0.0);
        Ok(open.then_some(metrics))
    };
    pair.wait_for("all reservations to end", Duration::from_secs(30), rest).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_under_load_the_books_never_fall_short() -> anyhow::Result<()> {
    // Nothing that leaves a call unsettled but the kills: what is charged and was not settled would be missing. Bodies that come
    // after their headers were charged are often cut by a kill.
    const MODELS: [&str; 6] = [
        "text-embedding-3-small",
        "fault-slow-body-40",
        "fault-slow-20",
        "fault-slow-body-30",
        "fault-no-usage",
        "fault-404",
    ];
    killed_under(&MODELS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_providers_fail_in_every_way_the_books_never_fall_short() -> anyhow::Result<()> {
    const MODELS: [&str; 5] =
        ["text-embedding-3-small", "fault-mix", "fault-slow-20", "fault-slow-body-30", "fault-no-usage"];
    killed_under(&MODELS).await
}

async fn killed_under(models: &'static [&'static str]) -> anyhow::Result<()> {
    let (mut pair, provider) = stage(Setup::built()?, &["text-embedding-3-small", "fault-*"]).await?;
    let (stop, workers) = load(&pair, models)?;
    let mut before = pair.metrics().await?;
    for kill in 0..6 {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let metrics = pair.metrics().await?;
            never_back(&before, &metrics);
            before = metrics;
        }
        let killed = pair.kill_sidecar().await?;
        ensure!(!killed.success(), "{killed}");
        pair.start_sidecar().await?;
        let metrics = pair.metrics().await?;
        never_back(&before, &metrics);
        before = metrics;
        println!(
            "kill {kill}: {} tokens booked, {} unsettled",
            tokens(&before),
            count(&before, "vectoll_unsettled_tokens_total")
        );
    }
    stop.store(true, Ordering::Relaxed);
    let mut served = 0;
    for worker in workers {
        served += worker.await?;
    }
    let metrics = at_rest(&pair).await?;
    never_back(&before, &metrics);
    let (booked, unsettled) = (tokens(&metrics), count(&metrics, "vectoll_unsettled_tokens_total"));
    let charged = provider.account().charged_tokens;
    println!("{served} calls served; {charged} tokens charged, {booked} booked, {unsettled} of them unsettled");
    assert!(booked >= charged, "{booked} tokens were booked, and {charged} charged");
    assert!(booked <= charged + unsettled, "{booked} tokens were booked, {charged} charged, {unsettled} are unsettled");
    assert!(served > 100 && unsettled > 0, "there was something to lose");
    assert!(pair.sidecar_log().contains("had no end"), "it is told");
    // What is spent of budgets is that of the books.
    for (family, label, name, limit) in
        [("team", "team", "default/search", 100.0), ("key", "key", "default/alice", 50.0)]
    {
        let value =
            |what: &str| metrics.value(&format!("vectoll_{family}_{what}"), &[(label, name)]).context("a series");
        let (left, spent) = (value("budget_remaining_usd")?, value("spend_usd_total")?);
        assert_eq!(((limit - left) * 1e9).round(), (spent * 1e9).round(), "{name}");
    }
    // A graceful stop and start change nothing.
    pair.restart_sidecar().await?;
    let metrics = pair.metrics().await?;
    assert_eq!((tokens(&metrics), count(&metrics, "vectoll_unsettled_tokens_total")), (booked, unsettled));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_graceful_stops_the_books_are_what_the_provider_charged() -> anyhow::Result<()> {
    const MODELS: [&str; 3] = ["text-embedding-3-small", "fault-slow-20", "fault-slow-body-30"];
    let (mut pair, provider) = stage(Setup::built()?, &["text-embedding-3-small", "fault-*"]).await?;
    let (stop, workers) = load(&pair, &MODELS)?;
    let mut before = pair.metrics().await?;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        pair.restart_sidecar().await?;
        let metrics = pair.metrics().await?;
        never_back(&before, &metrics);
        before = metrics;
    }
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await?;
    }
    let metrics = at_rest(&pair).await?;
    let charged = provider.account().charged_tokens;
    println!("{charged} tokens charged");
    assert!(charged > 100);
    assert_eq!(tokens(&metrics), charged);
    assert_eq!(metrics.value("vectoll_unsettled_requests_total", &[]), Some(0.0));
    Ok(())
}

fn segments(pair: &Pair) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(pair.state_dir().join("journal"))?;
    let mut all = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    all.sort();
    Ok(all)
}

/// Where the kind of the first settlement is: behind a head of 12 bytes and the record's number, seven bits a byte.
fn first_settlement(bytes: &[u8]) -> Option<usize> {
    const SETTLEMENT: u8 = 3;
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 12) {
        let length = usize::try_from(u32::from_le_bytes(head[4..8].try_into().ok()?)).ok()?;
        let payload = bytes.get(at + 12..at + 12 + length)?;
        let kind = payload.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        if payload.get(kind) == Some(&SETTLEMENT) {
            return Some(at + 12 + kind);
        }
        at += 12 + length;
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_end_and_a_flipped_byte_are_told_and_stop_nothing() -> anyhow::Result<()> {
    let (mut pair, provider) = stage(Setup::built()?, &["text-embedding-3-small"]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    for _ in 0..5 {
        assert_eq!(caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?.status, 200);
    }
    pair.kill_sidecar().await?;
    let last = segments(&pair)?.pop().context("a journal has a segment")?;
    let mut bytes = fs::read(&last)?;
    // The first settlement is damaged: what its call held is all that is known of it. The last record is not finished.
    let settlement = first_settlement(&bytes).context("a settlement")?;
    bytes[settlement + 3] ^= 0x10;
    bytes.truncate(bytes.len() - 7);
    fs::write(&last, &bytes)?;
    pair.start_sidecar().await?;
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.value("vectoll_journal_damaged_total", &[]), Some(1.0));
    let log = pair.sidecar_log();
    assert!(log.contains("a part of the journal is damaged") && log.contains("was never finished"), "{log}");
    let name = last.file_name().context("a name")?;
    assert_eq!(fs::read(pair.state_dir().join("damaged").join(name))?, bytes, "set aside as it was");
    assert_eq!(
        metrics.value("vectoll_unsettled_requests_total", &[]),
        Some(2.0),
        "both calls without their settlement"
    );
    assert_eq!(tokens(&metrics), 3 * 4 + 2 * 19, "the bound: a token a byte");
    assert_eq!(caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?.status, 200);
    assert_eq!(provider.account().charged_tokens, 24);
    // And it is all over at the next start.
    pair.kill_sidecar().await?;
    pair.start_sidecar().await?;
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.value("vectoll_journal_damaged_total", &[]), Some(0.0));
    assert_eq!(tokens(&metrics), 3 * 4 + 2 * 19 + 4);
    Ok(())
}

/// A program that starts the sidecar so that a file that may not grow is an error and not its end.
fn patient_sidecar(folder: &Path) -> anyhow::Result<PathBuf> {
    let sidecar = binaries::binary("vectoll-sidecar")?;
    let path = folder.join("patient-sidecar");
    fs::write(
        &path,
        format!(
            "#!/bin/sh\ntrap '' XFSZ\n[ ! -e {}/full ] || ulimit -S -f 0\nexec {} \"$@\"\n",
            folder.display(),
            sidecar.display()
        ),
    )?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Limits the size of the sidecar's files.
fn limit_files(pair: &Pair, limit: &str) -> anyhow::Result<()> {
    let pid = pair.sidecar_pid().context("a sidecar")?;
    let limited = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--fsize={limit}:")]).status()?;
    ensure!(limited.success(), "prlimit: {limited}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_nothing_refuses_calls_before_they_are_sent() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut setup = Setup::built()?;
    setup.binaries.sidecar = patient_sidecar(folder.path())?;
    let (mut pair, provider) = stage(setup, &["text-embedding-3-small", "fault-slow-1000"]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    assert_eq!(caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?.status, 200);
    let slow = tokio::spawn({
        let caller = caller.clone();
        async move { caller.embed("fault-slow-1000", json!("The quick brown fox")).await }
    });
    let gauge = async || Ok((pair.metrics().await?.value("vectoll_reservations", &[]) == Some(1.0)).then_some(()));
    pair.wait_for("the slow call to be under way", Duration::from_secs(30), gauge).await?;
    let last = segments(&pair)?.pop().context("a journal has a segment")?;
    // The next record would be half written.
    limit_files(&pair, &(fs::metadata(&last)?.len() + 10).to_string())?;
    let asked = provider.account().requests;
    let refused = caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?;
    assert_eq!((refused.status, refused.code()), (503, "journal_unavailable"), "{:?}", refused.json);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(provider.account().requests, asked, "it was not sent");
    // Small enough for the room that is left or not: the call under way gets its answer, and is booked.
    assert_eq!(slow.await??.status, 200);
    let metrics = at_rest(&pair).await?;
    assert_eq!(tokens(&metrics), 8);
    assert_eq!(metrics.value("vectoll_reserved_spend_usd", &[]), Some(0.0), "everything was given back");
    assert!(count(&metrics, "vectoll_journal_errors_total") > 0);
    let rejected = [("scope", "sidecar"), ("reason", "journal_unavailable")];
    assert_eq!(metrics.value("vectoll_rejections_total", &rejected), Some(1.0));
    limit_files(&pair, "unlimited")?;
    assert_eq!(caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?.status, 200);
    // A call that never left is none, also after a kill.
    assert_eq!(caller.embed("nowhere", json!("The quick brown fox")).await?.code(), "no_backend_available");
    pair.kill_sidecar().await?;
    pair.start_sidecar().await?;
    let metrics = pair.metrics().await?;
    assert_eq!((tokens(&metrics), provider.account().charged_tokens), (12, 12));
    assert_eq!(metrics.value("vectoll_unsettled_requests_total", &[]), Some(0.0));
    assert_eq!(metrics.value("vectoll_journal_damaged_total", &[]), Some(0.0), "no half record is left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_the_disk_is_full_it_starts_again_and_serves_when_there_is_room() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut setup = Setup::built()?;
    setup.binaries.sidecar = patient_sidecar(folder.path())?;
    let (mut pair, provider) = stage(setup, &["text-embedding-3-small", "fault-hang"]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    assert_eq!(caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?.status, 200);
    let hanging = tokio::spawn({
        let caller = caller.clone();
        async move { caller.embed("fault-hang", json!("The quick brown fox")).await }
    });
    refined(&pair).await?;
    fs::write(folder.path().join("full"), "")?;
    for _ in 0..2 {
        pair.kill_sidecar().await?;
        pair.start_sidecar().await?;
        assert_eq!(tokens(&pair.metrics().await?), 8, "the books are known");
        let refused = caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?;
        assert_eq!((refused.status, refused.code()), (503, "journal_unavailable"), "{:?}", refused.json);
    }
    let _ = hanging.await?;
    limit_files(&pair, "unlimited")?;
    assert_eq!(caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?.status, 200);
    fs::remove_file(folder.path().join("full"))?;
    pair.kill_sidecar().await?;
    pair.start_sidecar().await?;
    let metrics = pair.metrics().await?;
    assert_eq!((tokens(&metrics), provider.account().charged_tokens), (12, 8), "the call without an end once");
    assert_eq!(metrics.value("vectoll_unsettled_requests_total", &[]), Some(1.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_folder_that_is_taken_away_under_it_is_begun_anew() -> anyhow::Result<()> {
    let (mut pair, provider) = stage(Setup::built()?, &["text-embedding-3-small"]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    assert_eq!(caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?.status, 200);
    fs::remove_dir_all(pair.state_dir())?;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?.status, 200);
    let checkpoint = pair.state_dir().join("spend.v1.json");
    pair.wait_for("a checkpoint", Duration::from_secs(10), async || Ok(checkpoint.exists().then_some(()))).await?;
    pair.kill_sidecar().await?;
    assert!(pair.sidecar_log().contains("the state folder was removed"), "{}", pair.sidecar_log());
    pair.start_sidecar().await?;
    assert_eq!((tokens(&pair.metrics().await?), provider.account().charged_tokens), (8, 8));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_checkpoint_does_not_keep_it_from_starting() -> anyhow::Result<()> {
    let (mut pair, provider) = stage(Setup::built()?, &["text-embedding-3-small"]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    assert_eq!(caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?.status, 200);
    pair.terminate_sidecar().await?;
    let path = pair.state_dir().join("spend.v1.json");
    let whole = fs::read(&path)?;
    fs::write(&path, &whole[..whole.len() / 2])?;
    pair.start_sidecar().await?;
    assert_eq!((tokens(&pair.metrics().await?), provider.account().charged_tokens), (4, 4));
    assert!(pair.sidecar_log().contains("the checkpoint is damaged"), "{}", pair.sidecar_log());
    Ok(())
}

/// Waits until the one call that is under way is written down at what it can cost.
async fn refined(pair: &Pair) -> anyhow::Result<()> {
    let written = async || {
        let records = pair.metrics().await?.value("vectoll_journal_records_total", &[("kind", "refine")]);
        Ok((records == Some(1.0)).then_some(()))
    };
    pair.wait_for("the refinement", Duration::from_secs(10), written).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_the_provider_works_books_what_the_call_can_cost() -> anyhow::Result<()> {
    let (mut pair, _provider) = stage(Setup::built()?, &["fault-hang"]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let hanging = tokio::spawn(async move { caller.embed("fault-hang", json!("The quick brown fox")).await });
    refined(&pair).await?;
    pair.kill_sidecar().await?;
    assert!(hanging.await?.is_err());
    pair.start_sidecar().await?;
    let metrics = pair.metrics().await?;
    // Its four tokens, not the nineteen of the bound.
    assert_eq!((tokens(&metrics), count(&metrics, "vectoll_unsettled_tokens_total")), (4, 4));
    Ok(())
}
