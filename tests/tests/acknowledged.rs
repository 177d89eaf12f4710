//! What a sidecar says of itself in the store: which config it serves by, among the sidecars of its own namespace only.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use redis::cmd;
use serde_json::json;
use vectoll_config::store::{Acknowledgement, live_key};
use vectoll_tests::{
    manifest::{api_key, builtin, file, team},
    pair::{Pair, Setup, poll},
    store::Store,
};

const DEADLINE: Duration = Duration::from_secs(20);
const NS: &str = "default";

/// Generations that are acknowledged under a scope.
async fn said(store: &Store, scope: Option<&str>) -> anyhow::Result<Vec<u64>> {
    let mut admin = store.admin().await?;
    let all: BTreeMap<String, String> = cmd("HGETALL").arg(live_key(scope, NS)).query_async(&mut admin).await?;
    let read = |text: &String| Acknowledgement::read(text).map(|said| said.generation).context("unreadable");
    all.values().map(read).collect()
}

async fn until_said(store: &Store, scope: Option<&str>, generation: u64) -> anyhow::Result<()> {
    poll::until(&format!("generation {generation} under {scope:?}"), DEADLINE, async || {
        Ok((said(store, scope).await? == [generation]).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_sidecar_says_what_it_serves_by_under_its_own_scope() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let mut all = vec![team("search", json!({})), builtin("builtin", &["builtin"])];
    all.extend(api_key("alice", "search", json!({})));
    let mut setup = Setup::built()?;
    setup.operator_arguments = store.operator_arguments()?;
    let mut pair = Pair::operator_only(setup, &[("world.yaml", file(all))]).await?;
    pair.start_sidecar().await?;
    let path = pair.config_dir().join("config.v1.yaml");
    let config = vectoll_config::read_v1(&std::fs::read_to_string(&path)?)?;
    until_said(&store, None, config.generation).await?;

    // As an operator in a cluster writes it.
    pair.stop_operator().await?;
    let generation = config.generation + 1;
    let mut edited = vectoll_config::v1::Config { generation, ..config };
    edited.store.as_mut().context("no store")?.scope = Some("system.one".to_owned());
    std::fs::write(&path, vectoll_config::write_v1(&edited)?)?;
    until_said(&store, Some("system.one"), generation).await?;
    assert_eq!(said(&store, None).await?, [config.generation], "what it said elsewhere is said there no more");
    assert!(said(&store, Some("system.two")).await?.is_empty());
    Ok(())
}
