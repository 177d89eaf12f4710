//! Sidecars that count together in a cluster, and behind Sentinels: masters that are killed, and a replica that takes over.

#![allow(clippy::indexing_slicing, clippy::print_stdout, reason = "a test")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use vectoll_config::{
    Uid,
    store::{team_prefix, total_key},
};
use vectoll_tests::{
    caller::Caller,
    fleet::Fleet,
    manifest::{PROVIDER_KEY, api_key, file, key_value, route, team},
    pair::{Setup, poll},
    provider::{Options, Provider},
    store::{PASSWORD, Store, Transport, redis_cluster::RedisCluster, sentinels::Sentinels},
};

const NINE_TOKENS: &str = "The quick brown fox jumps over the lazy dog";
const MODEL: &str = "text-embedding-3-small";
/// Long enough for a failover on a busy machine.
const DEADLINE: Duration = Duration::from_secs(40);

/// Two sidecars over a store, and the provider that they call.
struct Scene {
    fleet: Fleet,
    provider: Provider,
    _password: tempfile::TempDir,
}

async fn scene(store_url: &str, documents: Vec<Value>) -> anyhow::Result<Scene> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let folder = tempfile::tempdir()?;
    let password = folder.path().join("password");
    std::fs::write(&password, PASSWORD)?;
    let mut all = documents;
    all.extend(route("openai", &[MODEL], &provider.url()));
    let arguments = ["--store-url", store_url, "--store-password-file", &password.display().to_string()];
    let fleet = Fleet::start(Setup::built()?, &[("all.yaml", file(all))], &arguments, 2).await?;
    Ok(Scene { fleet, provider, _password: folder })
}

impl Scene {
    fn callers(&self, key: &str) -> anyhow::Result<[Caller; 2]> {
        let caller = |at: usize| Caller::new(&self.fleet.sidecars[at].base_url(), &key_value(key));
        Ok([caller(0)?, caller(1)?])
    }

    fn logs(&self) -> String {
        self.fleet.sidecars.iter().map(vectoll_tests::fleet::Sidecar::log).collect()
    }
}

/// A Team of this UID that is refused whatever the store does not grant.
fn closed_team(name: &str, uid: &Uid) -> Value {
    let mut team = team(name, json!({"onStoreFailure": "Closed"}));
    team["metadata"]["uid"] = json!(uid.to_string());
    team
}

/// The tokens of a Team in the ledger of one server; none: it has none of the Team's keys.
async fn tokens(server: &Store, team: &Uid) -> anyhow::Result<Option<u64>> {
    let mut admin = server.admin().await?;
    // By a pattern, which no server refuses for the hash slot of another.
    let keys: Vec<String> = redis::cmd("KEYS").arg(total_key(team)).query_async(&mut admin).await?;
    let Some(key) = keys.first() else { return Ok(None) };
    let all: BTreeMap<String, u64> = redis::cmd("HGETALL").arg(key).query_async(&mut admin).await?;
    Ok(Some(all.get("t:t").copied().unwrap_or_default()))
}

/// Waits until the ledger has so many tokens and no more.
async fn arrive(server: &Store, team: &Uid, wanted: u64) -> anyhow::Result<()> {
    poll::until("the spend in the ledger", DEADLINE, async || {
        let booked = tokens(server, team).await?.unwrap_or_default();
        ensure!(booked == wanted, "{booked} of {wanted} tokens");
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_each_team_counts_at_its_master_and_only_its_own_is_missed() -> anyhow::Result<()> {
    let mut cluster = RedisCluster::start(3, 0).await?;
    let mut teams = Vec::new();
    for wanted in [0, 2] {
        let mut number = 0;
        teams.push(loop {
            let uid = Uid::new(&format!("00000000-0000-4000-8000-{number:012}"));
            if cluster.master_of(&team_prefix(&uid)).await? == wanted {
                break uid;
            }
            number += 1;
        });
    }
    let mut documents = Vec::new();
    for (name, uid) in ["search", "ads"].into_iter().zip(&teams) {
        documents.push(closed_team(name, uid));
        documents.extend(api_key(name, name, json!({"limits": {"tokensPerMinute": 90}})));
        let plenty = json!({"limits": {"tokensPerMinute": 1_000_000}});
        documents.extend(api_key(&format!("{name}-plenty"), name, plenty));
    }
    let scene = scene(&cluster.url(), documents).await?;

    // Ten calls of nine tokens: of both sidecars together, for each Team.
    for (name, (uid, master)) in ["search", "ads"].into_iter().zip(teams.iter().zip([0, 2])) {
        let callers = scene.callers(name)?;
        let mut admitted = 0;
        for call in 0..16 {
            let answer = callers[call % 2].embed(MODEL, json!(NINE_TOKENS)).await?;
            ensure!(
                matches!(answer.status, 200 | 429),
                "{name}: {}: {:?}\n{}",
                answer.status,
                answer.json,
                scene.logs()
            );
            admitted += u64::from(answer.status == 200);
            // What a call did not use after all goes back to the store within this.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(admitted, 10, "{name}: a limit of 90 tokens");
        arrive(&cluster.masters[master], uid, 90).await?;
        for other in [0, 1, 2].into_iter().filter(|other| *other != master) {
            assert_eq!(tokens(&cluster.masters[other], uid).await?, None, "{name} counts at one master");
        }
    }

    // A master is gone: that is its Teams' affair.
    cluster.masters[2].kill().await?;
    let (search, ads) = (scene.callers("search-plenty")?, scene.callers("ads-plenty")?);
    let killed = Instant::now();
    let (mut served, mut refused, mut late) = (0, 0, Duration::ZERO);
    while killed.elapsed() < Duration::from_secs(10) {
        for caller in &search {
            let begun = Instant::now();
            let answer = caller.embed(MODEL, json!(NINE_TOKENS)).await?;
            ensure!(answer.status == 200, "search: {}: {:?}\n{}", answer.status, answer.json, scene.logs());
            late = late.max(begun.elapsed());
            served += 1;
        }
        let answer = ads[0].embed(MODEL, json!(NINE_TOKENS)).await?;
        assert_eq!((answer.status, answer.code()), (503, "store_unavailable"), "{:?}", answer.json);
        refused += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!(
        "one of three masters away for 10 s: {served} calls of another Team served, the slowest in {} ms; {refused} of its own refused",
        late.as_millis()
    );
    assert!(late < Duration::from_secs(1), "another Team's calls wait for the master that is gone: {late:?}");
    arrive(&cluster.masters[0], &teams[0], 90 + served * 9).await?;

    cluster.masters[2].restart().await?;
    let mut after = 0;
    poll::until("the master's Teams to be served again", DEADLINE, async || {
        let answer = ads[0].embed(MODEL, json!(NINE_TOKENS)).await?;
        ensure!(answer.status == 200, "{}: {:?}", answer.status, answer.json);
        after += 1;
        Ok(Some(()))
    })
    .await
    .with_context(|| scene.logs())?;
    arrive(&cluster.masters[2], &teams[1], 90 + after * 9).await?;
    assert_eq!(scene.provider.account().charged_tokens, 180 + (served + after) * 9);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_sentinels_a_failover_loses_no_spend_and_sidecars_go_on() -> anyhow::Result<()> {
    let mut sentinels = Sentinels::start(3).await?;
    let uid = Uid::new("00000000-0000-4000-8000-000000000001");
    let mut documents = vec![closed_team("search", &uid)];
    documents.extend(api_key("crowd", "search", json!({"limits": {"tokensPerMinute": 10_000_000}})));
    let mut scene = scene(&sentinels.url()?, documents).await?;
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut calls = Vec::new();
    for caller in scene.callers("crowd")? {
        let (stop, served) = (stop.clone(), served.clone());
        calls.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = caller.embed(MODEL, json!(NINE_TOKENS)).await?;
                match answer.status {
                    200 => served.fetch_add(1, Ordering::Relaxed),
                    // While the store is away.
                    503 => 0,
                    other => anyhow::bail!("{other}: {:?}", answer.json),
                };
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        }));
    }
    let first = sentinels.master().await?;
    assert_eq!(first, sentinels.servers[0].address().port());
    poll::until("spend in the first master's ledger", DEADLINE, async || {
        let booked = tokens(&sentinels.servers[0], &uid).await?.unwrap_or_default();
        Ok((booked > 900).then_some(()))
    })
    .await
    .with_context(|| scene.logs())?;
    ensure!(!scene.logs().contains("the store is away"), "not the master was asked: {}", scene.logs());

    // The replica misses the last of it, as one whose line is slow would.
    let mut replica = sentinels.servers[1].admin().await?;
    redis::cmd("CONFIG").arg("SET").arg("masterauth").arg("wrong").query_async::<()>(&mut replica).await?;
    let mut master = sentinels.servers[0].admin().await?;
    redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("replica").query_async::<()>(&mut master).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let had = tokens(&sentinels.servers[0], &uid).await?.unwrap_or_default();
    let has = tokens(&sentinels.servers[1], &uid).await?.unwrap_or_default();
    sentinels.servers[0].kill().await?;
    let killed = Instant::now();
    poll::until("the replica to take over", DEADLINE, async || Ok((sentinels.master().await? != first).then_some(())))
        .await
        .with_context(|| sentinels.log())?;
    let (took_over, then) = (killed.elapsed(), served.load(Ordering::Relaxed));
    poll::until("calls to be served again", DEADLINE, async || {
        Ok((served.load(Ordering::Relaxed) > then + 100).then_some(()))
    })
    .await
    .with_context(|| scene.logs())?;
    println!(
        "a master was killed: the replica took over after {:.1} s, with {has} tokens of {had} in its ledger; calls were served again \
         after {:.1} s",
        took_over.as_secs_f64(),
        killed.elapsed().as_secs_f64()
    );
    assert!(has < had, "the replica had everything: nothing was to be told again");

    // The old master comes back, and is a replica now.
    sentinels.servers[0].restart().await?;
    poll::until("the old master to follow the new one", DEADLINE, async || {
        let mut admin = sentinels.servers[0].admin().await?;
        let info: String = redis::cmd("INFO").arg("replication").query_async(&mut admin).await?;
        Ok(info.contains("role:slave").then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    for calls in calls {
        calls.await??;
    }
    let served = served.load(Ordering::Relaxed);
    arrive(&sentinels.servers[1], &uid, served * 9).await.with_context(|| scene.logs())?;
    assert_eq!(scene.provider.account().charged_tokens, served * 9);
    assert!(scene.logs().contains("the store has lost the last exchanges"), "{}", scene.logs());
    for sidecar in &mut scene.fleet.sidecars {
        sidecar.end(Signal::SIGTERM).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_tls_two_sidecars_share_a_limit_and_the_spend_arrives() -> anyhow::Result<()> {
    let store = Store::start_with(Transport::Tls, &[]).await?;
    let folder = tempfile::tempdir()?;
    let file_of = |name: &str, content: &str| -> anyhow::Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, content)?;
        Ok(path.display().to_string())
    };
    let (password, ca) = (file_of("password", PASSWORD)?, file_of("ca.pem", store.ca().context("no CA")?)?);
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let uid = Uid::new("00000000-0000-4000-8000-000000000001");
    let mut all = vec![closed_team("search", &uid)];
    all.extend(api_key("search", "search", json!({"limits": {"tokensPerMinute": 90}})));
    all.extend(route("openai", &[MODEL], &provider.url()));
    let arguments = ["--store-url", &store.url(), "--store-password-file", &password, "--store-ca-file", &ca];
    let fleet = Fleet::start(Setup::built()?, &[("all.yaml", file(all))], &arguments, 2).await?;
    let mut admitted = 0;
    for call in 0..30 {
        let caller = Caller::new(&fleet.sidecars[call % 2].base_url(), &key_value("search"))?;
        match caller.embed(MODEL, json!(NINE_TOKENS)).await?.status {
            200 => admitted += 1,
            status => ensure!(status == 429, "{status}"),
        }
    }
    assert_eq!(admitted, 10, "of 90 tokens, nine at a time");
    arrive(&store, &uid, 90).await
}
