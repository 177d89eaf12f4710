//! The cluster's totals by key, user and model: whatever sidecars book, all of them sum to what the Team has. The store's function
//! writes, as for a sidecar.

#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, and amounts that a float holds")]

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;
use redis::aio::MultiplexedConnection;
use vectoll_config::{
    PicoUsd, Uid,
    store::{Function, Library, ModelAt, Series, team_prefix},
};
use vectoll_limits::store::{
    encode,
    protocol::{Entry, Exchange, Identity, Spend},
};
use vectoll_tests::{
    pair::{metrics::Metrics, poll},
    store::Store,
};

use crate::world::{World, api_key, team_and_key};

const NS: &str = "sums";
/// More than are told apart.
const USERS: u64 = 1_300;
/// Users and models are read every 30 seconds.
const DEADLINE: Duration = Duration::from_mins(1);

/// A call of each of these users, with one of the keys and one of the models: what it costs depends on all of them.
fn calls(users: impl Iterator<Item = u64>, keys: &[Uid; 2]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for user in users {
        let model = if user.is_multiple_of(3) { "a|b" } else { "text-embedding-3-small" };
        let key = keys[usize::from(user.is_multiple_of(2))].clone();
        let model = ModelAt { provider: "openai".into(), backend: "sums/route/one".into(), model: model.into() };
        for series in [Series::Team, Series::Key(key), Series::User(format!("user: {user}")), Series::Model(model)] {
            let (month, field) = ("2026-11".into(), series.to_string().into());
            let money = PicoUsd::new(1_000_000_007 + user);
            entries.push(Entry { month, field, requests: 1, tokens: user, money });
        }
    }
    entries
}

/// Has the store's function write entries into the ledger.
pub async fn book(
    store: &mut MultiplexedConnection,
    team: &Uid,
    number: u64,
    entries: Vec<Entry>,
) -> anyhow::Result<()> {
    let identity = Identity { sidecar: "one".into(), epoch: 1 };
    let spend = Spend { from: number - 1, to: number, charges: Vec::new(), entries };
    let exchange = Exchange { number, after: number - 1, most_users: 100_000, spend, ..Exchange::default() };
    let mut call = redis::cmd("FCALL");
    call.arg(Library::current().function(Function::Exchange)).arg(1).arg(team_prefix(team));
    call.arg(encode(&identity, "ns:sums", &exchange)).query_async::<redis::Value>(store).await?;
    Ok(())
}

/// Calls, tokens and pico-USD of all series of a family.
fn sums(metrics: &Metrics, family: &str) -> [u64; 3] {
    [("requests", 1.0), ("tokens", 1.0), ("spend_usd", 1e12)].map(|(what, unit)| {
        let name = format!("vectoll_cluster_{family}_{what}_total");
        metrics.samples(&name, &[("team", "sums/team")]).map(|sample| (sample.value * unit).round() as u64).sum()
    })
}

fn users(metrics: &Metrics) -> BTreeMap<String, u64> {
    let samples = metrics.samples("vectoll_cluster_user_requests_total", &[("team", "sums/team")]);
    samples.map(|sample| (sample.labels["user"].clone(), sample.value.round() as u64)).collect()
}

/// Waits until all families say that there were so many calls, and checks that they agree in all.
async fn agree(world: &World, calls: u64) -> anyhow::Result<Metrics> {
    let families = ["team", "key", "user", "model"];
    let metrics = poll::until(&format!("{calls} calls in all families"), DEADLINE, async || {
        let metrics = world.operator.metrics().await?;
        Ok(families.iter().all(|family| sums(&metrics, family)[0] == calls).then_some(metrics))
    })
    .await?;
    let all = families.map(|family| sums(&metrics, family));
    ensure!(all.iter().all(|sums| *sums == all[0]), "{all:?}");
    Ok(metrics)
}

pub async fn sum_up(world: &World, store: &Store) -> anyhow::Result<()> {
    let mut store = store.admin().await?;
    world.namespace(NS)?;
    world.light.apply(&team_and_key(NS, "alice", ""))?;
    world.light.apply(&api_key(NS, "bob", ""))?;
    world.until_key(NS, "bob", "Ready", "True/Ready").await?;
    let uid = |resource: &str, name: &str| -> anyhow::Result<Uid> {
        let uid = world.light.kubectl(&["get", resource, name, "-n", NS, "-o", "jsonpath={.metadata.uid}"], None)?;
        Ok(Uid::new(&uid))
    };
    let (team, keys) = (uid("team", "team")?, [uid("apikey", "alice")?, uid("apikey", "bob")?]);

    book(&mut store, &team, 1, calls(0..USERS, &keys)).await?;
    let metrics = agree(world, USERS).await?;
    let first = users(&metrics);
    ensure!(first.len() == 1_001 && first["_other"] == 300, "{} users", first.len());
    let models = metrics.samples("vectoll_cluster_model_requests_total", &[("model", "a|b"), ("provider", "openai")]);
    ensure!(models.count() == 1);

    // Those who were told apart stay so, though others call more; and no counter goes back.
    for number in 2..5 {
        book(&mut store, &team, number, calls(USERS - 500..USERS + 100, &keys)).await?;
    }
    let second = users(&agree(world, USERS + 3 * 600).await?);
    ensure!(first.keys().eq(second.keys()), "other users are told apart");
    ensure!(first.iter().all(|(user, calls)| second[user] >= *calls));
    Ok(())
}
