//! The commands on the pages about resources, as they stand there.

use anyhow::{Context, ensure};
use serde_json::Value;
use vectoll_tests::{
    documents::{block, repository, with},
    pair::binaries::binary,
};

use crate::world::{World, until};

const NS: &str = "default";

/// What a resource's metadata has at this place.
fn metadata(world: &World, resource: &str, place: &str) -> anyhow::Result<String> {
    let text = world.light.kubectl(&["get", resource, "-n", NS, "-o", "json"], None)?;
    let object: Value = serde_json::from_str(&text)?;
    Ok(object["metadata"].pointer(place).and_then(Value::as_str).unwrap_or_default().to_owned())
}

pub async fn commands(world: &World) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let run = |name: &str, commands: &str| world.light.shell(commands, &repository()).with_context(|| name.to_owned());

    // The first call as far as it goes without a node: the pod is taken, and waits for one.
    let call = block("cluster-first-call")?;
    let (apply, _) = call.split_once("kubectl wait pod/app").context("the page does not wait for the pod")?;
    ensure!(run("cluster-first-call", apply)?.contains("pod/app created"));
    ensure!(metadata(world, "pod/app", "/annotations/vectoll.dev~1api-key")? == "alice");
    world.light.kubectl(&["delete", "pod/app", "-n", NS, "--now"], None)?;

    let said = run("examples", &block("examples")?)?;
    ensure!(said.contains("apikey.vectoll.dev/alice") && said.contains("warnAtPercent"), "{said}");
    let said = run("conditions", &block("conditions")?)?;
    ensure!(said.matches("condition met").count() == 2, "{said}");
    // The operator's own log is where a node runs it.
    let look = with(&block("look")?, "kubectl logs -n vectoll-system deployment/vectoll --tail=50", "true")?;
    ensure!(run("look", &look)?.contains("nightly-index"));

    let before = world.value(NS, "alice").await?;
    let uid = metadata(world, "secret/alice", "/uid")?;
    run("adopt", &block("adopt")?)?;
    let made_anew = until("a new value", async || {
        let secret = world.secret(NS, "alice").await?;
        Ok(secret.is_some_and(|secret| secret.metadata.uid.as_deref() != Some(&uid)).then_some(()))
    });
    made_anew.await?;
    world.until_key(NS, "alice", "Ready", "True/Ready").await?;
    ensure!(world.value(NS, "alice").await? != before, "the same value");

    let prices = block("prices")?.replace("vectoll-operator", &binary("vectoll-operator")?.display().to_string());
    world.light.apply("{apiVersion: v1, kind: Namespace, metadata: {name: vectoll-system}}")?;
    let said = world.light.shell(&prices, scratch.path())?;
    ensure!(said.contains("configmap/vectoll-prices created"), "{said}");

    // Whoever restores has lost the resources, and has the file.
    let accounts = [
        ("team/search", metadata(world, "team/search", "/uid")?),
        ("apikey/alice", metadata(world, "apikey/alice", "/uid")?),
    ];
    let commands = block("restore")?;
    let (backup, restore) = commands.split_once('\n').context("one command only")?;
    world.light.shell(backup, scratch.path())?;
    world.light.kubectl(&["delete", "teams,apikeys", "--all", "-n", NS], None)?;
    world.light.shell(restore, scratch.path())?;
    for (resource, account) in &accounts {
        ensure!(metadata(world, resource, "/annotations/vectoll.dev~1account")? == *account, "{resource}");
        ensure!(metadata(world, resource, "/uid")? != *account, "{resource} was never gone");
    }
    world.until_key(NS, "alice", "Accepted", "True/Accepted").await?;
    world.until_key(NS, "alice", "Ready", "True/Ready").await?;

    let value = world.value(NS, "alice").await?;
    let said = run("keys", &block("keys")?)?;
    ensure!(said.starts_with(&value) && value.starts_with("sk-vt-"), "{said}");
    ensure!(
        said.contains("alice annotated") && said.contains("alice patched\n") && said.contains("alice\" deleted"),
        "{said}"
    );
    until("the key's Secret to go with it", async || Ok(world.secret(NS, "alice").await?.is_none().then_some(()))).await
}
