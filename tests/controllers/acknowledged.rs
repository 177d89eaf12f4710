//! `Programmed`, as sidecars say in the store what they serve by. Redis, the function that they call there, and the API server are real.

use std::time::Duration;

use anyhow::{Context, ensure};
use redis::aio::MultiplexedConnection;
use vectoll_config::store::{Function, Library, live_key};
use vectoll_tests::{pair::poll, store::Store};

use crate::{
    config::pod,
    world::{DEADLINE, SCOPE, World, api_key, team_and_key, until},
};

const NS: &str = "acknowledged";
/// How often the operator reads what is acknowledged.
const READ_EVERY: Duration = Duration::from_secs(2);

/// A sidecar, what it serves by, and its pod.
type Word<'a> = (&'a str, u64, &'a str);

/// What sidecars say, as they say it. All at once: the operator must not read between two of them.
async fn say(scope: &str, store: &mut MultiplexedConnection, words: &[Word<'_>]) -> anyhow::Result<()> {
    let acknowledge = Library::current().function(Function::Acknowledge);
    let mut said = redis::pipe();
    said.atomic();
    for (sidecar, generation, pod) in words {
        said.cmd("FCALL").arg(&acknowledge).arg(1).arg(live_key(Some(scope), NS));
        said.arg(sidecar).arg(generation).arg(pod).ignore();
    }
    Ok(said.query_async(store).await?)
}

/// Waits for a key's `Programmed` while sidecars go on saying the same.
async fn until_programmed(
    world: &World,
    store: &mut MultiplexedConnection,
    words: &[Word<'_>],
    key: &str,
    wanted: &str,
) -> anyhow::Result<String> {
    poll::until(&format!("{key} Programmed={wanted}"), DEADLINE, async || {
        say(SCOPE, store, words).await?;
        let status = world.key(NS, key).await?.and_then(|key| key.status);
        let found = status.into_iter().flat_map(|status| status.conditions).find(|found| found.type_ == "Programmed");
        let found = found.filter(|found| format!("{}/{}", found.status, found.reason) == wanted);
        Ok(found.map(|found| found.message))
    })
    .await
}

/// The kubelet's word that a pod's sidecar runs.
fn runs(world: &World, name: &str) -> anyhow::Result<()> {
    let status = r#"{"status": {"phase": "Running", "initContainerStatuses": [{"name": "vectoll-sidecar", "image": "none",
        "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}}"#;
    let patch = ["patch", "pod", name, "-n", NS, "--subresource=status", "--type=merge", "-p", status];
    world.light.kubectl(&patch, None).map(|_| ())
}

pub async fn acknowledged(world: &World, store: &Store) -> anyhow::Result<()> {
    let mut store = store.admin().await?;
    world.namespace(NS)?;
    world.light.apply(&team_and_key(NS, "alice", ""))?;
    world.light.apply(&api_key(NS, "bob", ""))?;
    world.until_key(NS, "alice", "Programmed", "True/NoSidecars").await?;
    world.until_key(NS, "bob", "Programmed", "True/NoSidecars").await?;
    until("the default ServiceAccount", async || Ok(world.light.apply(&pod(NS, "one")).ok())).await?;
    runs(world, "one")?;
    let generation = world
        .until_config(NS, "has both keys and a password", |config, files| {
            (config.keys.len() == 2 && !files.is_empty()).then_some(config.generation)
        })
        .await?;

    // Another cluster has a namespace of this name, and a sidecar there that is behind: nobody here waits for it.
    say("another", &mut store, &[("c", 0, "")]).await?;
    tokio::time::sleep(2 * READ_EVERY + Duration::from_secs(1)).await;
    let status = world.key(NS, "bob").await?.and_then(|key| key.status).context("no status")?;
    let programmed =
        status.conditions.into_iter().find(|found| found.type_ == "Programmed").context("no Programmed")?;
    ensure!(programmed.reason == "NoSidecars", "{programmed:?}");

    // One of two sidecars serves by what was before.
    let behind = [("a", 0, "one"), ("b", generation, "")];
    let message = until_programmed(world, &mut store, &behind, "bob", "False/Pending").await?;
    ensure!(message == "1 of 2 sidecars do not serve by it yet: one", "{message}");
    world.until_key(NS, "bob", "Ready", "False/Pending").await?;
    let all = [("a", generation, "one"), ("b", generation, "")];
    until_programmed(world, &mut store, &all, "alice", "True/Programmed").await?;
    until_programmed(world, &mut store, &all, "bob", "True/Programmed").await?;
    world.until_key(NS, "bob", "Ready", "True/Ready").await?;

    // An edit of one key. The other is not touched by it, however long it takes.
    let found =
        async |key: &str| anyhow::Ok(world.key(NS, key).await?.map(|key| (key.metadata.resource_version, key.status)));
    let before = found("bob").await?;
    world.light.apply(&api_key(NS, "alice", ", models: [one]"))?;
    // Sidecars that say nothing for long are gone, which is told of all keys.
    let edited = until("the config has the edit", async || {
        say(SCOPE, &mut store, &all).await?;
        let generation_now = world.config(NS).await?.map(|(config, _)| config.generation);
        Ok(generation_now.filter(|now| *now > generation))
    })
    .await?;
    until_programmed(world, &mut store, &all, "alice", "False/Pending").await?;
    let all = [("a", edited, "one"), ("b", edited, "")];
    until_programmed(world, &mut store, &all, "alice", "True/Programmed").await?;
    let after = found("bob").await?;
    ensure!(after == before, "an edit of alice wrote the status of bob: {before:?}, then {after:?}");

    // Who falls silent does not live any more.
    world.light.apply(&api_key(NS, "alice", ", models: [two]"))?;
    let last = world
        .until_config(NS, "has the last edit", |config, _| (config.generation > edited).then_some(config.generation))
        .await?;
    until_programmed(world, &mut store, &[("b", last, "")], "alice", "True/Programmed").await?;
    Ok(())
}
