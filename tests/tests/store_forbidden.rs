//! What the store does not let a sidecar do: spend of a Team that is gone is written down and let go; functions that it may not load are waited for.

#![allow(clippy::print_stdout, clippy::indexing_slicing, reason = "a test")]

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;
use serde_json::{Value, json};
use vectoll_config::{
    Uid,
    store::{Library, SIDECAR_COMMANDS, namespace_prefix, team_prefix, total_key},
};
use vectoll_tests::{
    caller::Caller,
    fleet::Fleet,
    manifest::{PROVIDER_KEY, api_key, file, key_value, route, team},
    pair::{Setup, poll},
    provider::{Options, Provider},
    store::Store,
};

const NINE_TOKENS: &str = "The quick brown fox jumps over the lazy dog";
const MODEL: &str = "text-embedding-3-small";
const DEADLINE: Duration = Duration::from_secs(40);
const GIVEN_UP: &str = "vectoll_store_settlements_given_up_total";

fn team_of(name: &str, uid: &Uid) -> Vec<Value> {
    let mut team = team(name, json!({}));
    if let Some(metadata) = team.get_mut("metadata") {
        *metadata = json!({"name": name, "namespace": "default", "uid": uid.to_string()});
    }
    [vec![team], api_key(name, name, json!({}))].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spend_of_a_team_that_is_gone_does_not_fill_the_journal() -> anyhow::Result<()> {
    let (store, provider) = (Store::start().await?, Provider::start(Options::new(PROVIDER_KEY)).await?);
    let [kept, gone] = [1, 2].map(|n| Uid::new(&format!("00000000-0000-4000-8000-{n:012}")));
    let mut admin = store.admin().await?;
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER").arg("sidecar").arg("on").arg(">pw").arg("-@all").arg(SIDECAR_COMMANDS);
    user.arg(format!("~{}*", team_prefix(&kept))).arg(format!("~{}*", namespace_prefix(None, "default")));
    user.query_async::<()>(&mut admin).await?;
    store.load_functions(Library::current().code()).await?;
    let folder = tempfile::tempdir()?;
    let password = folder.path().join("password");
    std::fs::write(&password, "pw")?;
    let (url, password) = (store.url(), password.display().to_string());
    let arguments = ["--store-url", &url, "--store-username", "sidecar", "--store-password-file", &password];
    let mut setup = Setup::built()?;
    // The smallest that there is: half of it is the most that may be kept without need.
    setup.sidecar_arguments = ["--journal-max-bytes", "1048576"].map(str::to_owned).to_vec();
    let routes = route("openai", &[MODEL], &provider.url());
    let with = file([team_of("kept", &kept), team_of("gone", &gone), routes.clone()].concat());
    let without = file([team_of("kept", &kept), routes].concat());
    let fleet = Fleet::start(setup, &[("all.yaml", with)], &arguments, 1).await?;
    let [sidecar] = &fleet.sidecars[..] else { anyhow::bail!("one sidecar") };

    let caller = Caller::new(&sidecar.base_url(), &key_value("gone"))?;
    let mut served = 0_u64;
    while fleet.sum("vectoll_journal_bytes").await? < 575e3 {
        let calls = (0..50).map(|_| caller.embed(MODEL, json!(NINE_TOKENS)));
        for answer in futures_util::future::join_all(calls).await {
            let answer = answer?;
            ensure!(answer.status == 200, "who has no limit needs no store: {:?}", answer.json);
            served += 1;
        }
    }
    // While the config has the Team its spend is kept, whatever the store says: the right may come.
    tokio::time::sleep(Duration::from_secs(6)).await;
    ensure!(sidecar.log().contains("the store takes nothing of this Team or backend"), "{}", sidecar.log());
    assert!(fleet.sum(GIVEN_UP).await?.abs() < f64::EPSILON, "given up though the Team is there");

    fleet.pair.write_manifest("all.yaml", &without)?;
    let wanted = Some(served.to_string());
    poll::until("the spend to be given up", DEADLINE, async || {
        let given_up = fleet.sum(GIVEN_UP).await?;
        Ok((Some(given_up.to_string()) == wanted).then_some(()))
    })
    .await?;
    let log = sidecar.log();
    let line = log.lines().find(|line| line.contains("is given up")).unwrap_or_default();
    let line: Value = serde_json::from_str(line)?;
    let fields = line.get("fields").cloned().unwrap_or_default();
    println!("{fields}");
    assert_eq!(fields.get("tokens"), Some(&json!(served * 9)));
    assert_eq!(fields.get("name"), Some(&json!("default/gone")));
    poll::until("the journal to have room again", DEADLINE, async || {
        let bytes = fleet.sum("vectoll_journal_bytes").await?;
        // What the store has, or is not asked for any more, is kept for a while as long as it takes less than half of the room.
        ensure!(bytes < 2.1e6, "{bytes} bytes");
        Ok(Some(()))
    })
    .await?;

    // The other Team has lost nothing.
    let caller = caller.with_key(&key_value("kept"));
    ensure!(caller.embed(MODEL, json!(NINE_TOKENS)).await?.status == 200);
    poll::until("the other Team's spend in the ledger", DEADLINE, async || {
        let mut admin = store.admin().await?;
        let all: BTreeMap<String, u64> = redis::cmd("HGETALL").arg(total_key(&kept)).query_async(&mut admin).await?;
        Ok((all.get("t:t") == Some(&9)).then_some(()))
    })
    .await?;
    assert_eq!(Some(fleet.sum(GIVEN_UP).await?.to_string()), wanted, "counted once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_may_not_load_the_functions_says_so_and_goes_on_when_they_are_there() -> anyhow::Result<()> {
    let (store, provider) = (Store::start().await?, Provider::start(Options::new(PROVIDER_KEY)).await?);
    let uid = Uid::new("00000000-0000-4000-8000-000000000001");
    let mut admin = store.admin().await?;
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER").arg("sidecar").arg("on").arg(">pw").arg("-@all").arg(SIDECAR_COMMANDS);
    user.arg(format!("~{}*", team_prefix(&uid))).arg(format!("~{}*", namespace_prefix(None, "default")));
    user.query_async::<()>(&mut admin).await?;
    let folder = tempfile::tempdir()?;
    let password = folder.path().join("password");
    std::fs::write(&password, "pw")?;
    let (url, password) = (store.url(), password.display().to_string());
    let arguments = ["--store-url", &url, "--store-username", "sidecar", "--store-password-file", &password];
    let routes = route("openai", &[MODEL], &provider.url());
    let all = file([team_of("search", &uid), routes].concat());
    let fleet = Fleet::start(Setup::built()?, &[("all.yaml", all)], &arguments, 1).await?;
    let [sidecar] = &fleet.sidecars[..] else { anyhow::bail!("one sidecar") };
    let caller = Caller::new(&sidecar.base_url(), &key_value("search"))?;
    ensure!(caller.embed(MODEL, json!(NINE_TOKENS)).await?.status == 200, "who has no limit needs no store");
    poll::until("the sidecar to say what is missing", DEADLINE, async || {
        let log = sidecar.log();
        Ok((log.contains("the store lacks Vectoll's functions") && log.contains("+function|load")).then_some(()))
    })
    .await?;
    let booked = async || -> anyhow::Result<Option<u64>> {
        let mut admin = store.admin().await?;
        Ok(redis::cmd("HGET").arg(total_key(&uid)).arg("t:t").query_async(&mut admin).await?)
    };
    ensure!(booked().await?.is_none());
    // It asks again by the connection that it has, with pauses: the store has no more to do with it than with one that waits.
    let mut stats = async |name: &str| -> anyhow::Result<u64> {
        let info: String = redis::cmd("INFO").arg("stats").query_async(&mut admin).await?;
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(value.unwrap_or_default().trim().parse()?)
    };
    let counts = ["total_connections_received", "total_commands_processed"];
    let before = [stats(counts[0]).await?, stats(counts[1]).await?];
    tokio::time::sleep(Duration::from_secs(6)).await;
    let [connections, commands] = [stats(counts[0]).await? - before[0], stats(counts[1]).await? - before[1]];
    println!("in 6 s without functions: {connections} connections, {commands} commands");
    ensure!(connections == 0 && commands < 60, "{connections} connections and {commands} commands in 6 s");
    store.load_functions(Library::current().code()).await?;
    poll::until("the spend in the ledger", DEADLINE, async || Ok((booked().await? == Some(9)).then_some(()))).await
}
