//! What an operator cannot read is one resource's fault: the reported inputs, and their kind.

use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use vectoll_tests::cluster::{Light, Operator};

use crate::world::{World, api_key, team_and_key, until};

/// With everything in the log that a log can have.
const LOUD: [&str; 2] = ["--log-filter", "trace"];

pub async fn one_fault() -> anyhow::Result<()> {
    let light = Light::start().await?;
    let operator = Operator::start(&light, "one", &LOUD).await?;
    let client = light.client().await?;
    let mut world = World { operator, client, light };
    for namespace in ["typo", "innocent"] {
        world.namespace(namespace)?;
        world.light.apply(&team_and_key(namespace, "alice", ""))?;
        world.until_key(namespace, "alice", "Ready", "True/Ready").await?;
    }
    never(&world).await?;
    newer(&world).await?;
    unreadable(&world).await?;
    restarted(&mut world).await?;
    let value = world.value("innocent", "alice").await?;
    let encoded =
        world.light.kubectl(&["get", "secret", "alice", "-n", "innocent", "-o", "jsonpath={.data.key}"], None)?;
    let log = world.operator.log();
    ensure!(log.contains("\"level\":\"DEBUG\""), "the log is not as loud as it can be");
    ensure!(!log.contains(&value) && !log.contains(&encoded), "the log holds a key's value");
    world.operator.end(Signal::SIGTERM).await?;
    Ok(())
}

/// The usual way to write "never".
async fn never(world: &World) -> anyhow::Result<()> {
    world.light.apply(&api_key("typo", "forever", ", expiresAt: '9999-12-31T23:59:59Z'"))?;
    let has = |config: &vectoll_config::v1::Config, name: &str| config.keys.iter().any(|key| key.name.name() == name);
    world.until_key("typo", "forever", "Ready", "True/Ready").await?;
    world.until_config("typo", "has the key for ever", |config, _| has(config, "forever").then_some(())).await?;
    let edit = r#"{"spec": {"suspended": true}}"#;
    world.light.kubectl(&["patch", "apikey", "forever", "-n", "typo", "--type=merge", "-p", edit], None)?;
    world
        .until_config("typo", "has its edit", |config, _| {
            config.keys.iter().any(|key| key.name.name() == "forever" && key.suspended).then_some(())
        })
        .await?;
    world.light.kubectl(&["delete", "apikey", "forever", "-n", "typo", "--wait=false"], None)?;
    world.until_config("typo", "has it no more", |config, _| (!has(config, "forever")).then_some(())).await?;
    // It stays for the restart below.
    world.light.apply(&api_key("typo", "forever", ", expiresAt: '9999-12-31T23:59:59Z'"))?;
    world.until_key("typo", "forever", "Ready", "True/Ready").await.map(|_| ())
}

/// A `CustomResourceDefinition` of a version to come: the API server fills in its new defaults wherever an object is read.
async fn newer(world: &World) -> anyhow::Result<()> {
    let at = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let patch = format!(
        r#"[{{"op": "add", "path": "{at}/newer", "value": {{"type": "object", "default": {{"a": 1}}, "properties": {{"a": {{"type": "integer"}}}}}}}},
            {{"op": "add", "path": "{at}/limits/properties/perFortnight", "value": {{"type": "integer", "default": 7}}}}]"#
    );
    world.light.kubectl(&["patch", "crd", "apikeys.vectoll.dev", "--type=json", "-p", &patch], None)?;
    until("the new default", async || {
        let field = "jsonpath={.spec.newer.a}";
        let found = world.light.kubectl(&["get", "apikey", "alice", "-n", "innocent", "-o", field], None)?;
        Ok((found == "1").then_some(()))
    })
    .await?;
    world.light.apply(&api_key("innocent", "bob", ", limits: {requestsPerMinute: 5}"))?;
    world.until_other("apikey", "innocent", "bob", "Ready", "True/Ready").await?;
    world.until_config("innocent", "has both", |config, _| (config.keys.len() == 2).then_some(())).await
}

/// A value that the operator's type cannot hold, because a later version's can.
async fn unreadable(world: &World) -> anyhow::Result<()> {
    world.light.apply(&api_key("typo", "bob", ", user: bob"))?;
    world.until_other("apikey", "typo", "bob", "Ready", "True/Ready").await?;
    let at = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/user";
    let patch = format!(
        r#"[{{"op": "replace", "path": "{at}", "value": {{"x-kubernetes-preserve-unknown-fields": true}}}},
            {{"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations"}}]"#
    );
    world.light.kubectl(&["patch", "crd", "apikeys.vectoll.dev", "--type=json", "-p", &patch], None)?;
    let patch_key = |spec: &str| {
        let patch = format!(r#"{{"spec": {spec}}}"#);
        world.light.kubectl(&["patch", "apikey", "bob", "-n", "typo", "--type=merge", "-p", &patch], None)
    };
    until("the looser schema", async || Ok(patch_key(r#"{"user": {"name": "bob"}}"#).ok())).await?;
    let message = world.until_other("apikey", "typo", "bob", "Accepted", "False/Unreadable").await?;
    ensure!(message.starts_with("spec.user: ") && message.contains("stays in force"), "{message}");
    let user = |config: &vectoll_config::v1::Config| {
        config.keys.iter().find(|key| key.name.name() == "bob").and_then(|key| key.user.clone())
    };
    let (config, _) = world.config("typo").await?.context("no config")?;
    ensure!(user(&config).as_deref() == Some("bob"), "its last state is not in force: {config:?}");
    // Nobody else is any the worse.
    world.light.apply(&api_key("innocent", "carol", ""))?;
    world.until_other("apikey", "innocent", "carol", "Ready", "True/Ready").await?;
    // What takes away counts.
    patch_key(r#"{"suspended": true}"#)?;
    world
        .until_config("typo", "has it suspended", |config, _| {
            config.keys.iter().any(|key| key.name.name() == "bob" && key.suspended).then_some(())
        })
        .await?;
    patch_key(r#"{"user": "rob", "suspended": false}"#)?;
    world.until_other("apikey", "typo", "bob", "Ready", "True/Ready").await?;
    world.until_config("typo", "is healed", |config, _| (user(config).as_deref() == Some("rob")).then_some(())).await?;
    patch_key(r#"{"user": {"name": "bob"}}"#)?;
    world.until_other("apikey", "typo", "bob", "Accepted", "False/Unreadable").await?;
    world.light.apply(&api_key("typo", "gone", ", user: gone"))?;
    world.until_other("apikey", "typo", "gone", "Ready", "True/Ready").await?;
    let patch = r#"{"spec": {"user": 7}}"#;
    world.light.kubectl(&["patch", "apikey", "gone", "-n", "typo", "--type=merge", "-p", patch], None)?;
    world.until_other("apikey", "typo", "gone", "Accepted", "False/Unreadable").await?;
    world.light.kubectl(&["delete", "apikey", "gone", "-n", "typo", "--wait=false"], None)?;
    world
        .until_config("typo", "has the deleted one no more", |config, _| {
            (!config.keys.iter().any(|key| key.name.name() == "gone")).then_some(())
        })
        .await
}

/// An operator that starts with all of that in place serves everybody else.
async fn restarted(world: &mut World) -> anyhow::Result<()> {
    world.operator.end(Signal::SIGTERM).await?;
    let log = world.operator.log();
    world.operator = Operator::start(&world.light, "two", &LOUD).await.with_context(|| log)?;
    world.light.apply(&api_key("innocent", "dave", ""))?;
    world.until_other("apikey", "innocent", "dave", "Ready", "True/Ready").await?;
    world.until_other("apikey", "typo", "forever", "Ready", "True/Ready").await?;
    let message = world.until_other("apikey", "typo", "bob", "Accepted", "False/Unreadable").await?;
    ensure!(message.contains("nothing of it is in force"), "{message}");
    world.light.kubectl(&["delete", "apikey", "dave", "-n", "innocent", "--wait=false"], None)?;
    world
        .until_config("innocent", "has the deleted one no more", |config, _| {
            (!config.keys.iter().any(|key| key.name.name() == "dave")).then_some(())
        })
        .await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let metrics = world.operator.metrics().await?;
    let errors = metrics.sum("vectoll_operator_watch_errors_total", &[]);
    ensure!(errors == 0.0, "{errors} lists or watches failed");
    Ok(())
}
