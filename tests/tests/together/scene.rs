//! Several sidecars over one store, and calls at all of them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    fleet::Fleet,
    manifest::{PROVIDER_KEY, file, key_value, route},
    pair::Setup,
    provider::{Options, Provider},
    store::{PASSWORD, Store},
};

/// 9 tokens in cl100k; at 0.02 USD a million 180,000 pico-USD.
pub const NINE_TOKENS: &str = "The quick brown fox jumps over the lazy dog";
pub const PRICE: u64 = 20_000;
pub const MODEL: &str = "text-embedding-3-small";
pub const MINUTE: Duration = Duration::from_mins(1);

/// One at a time: they measure, and the machine is small.
pub static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub struct Scene {
    pub provider: Provider,
    pub store: Store,
    pub fleet: Fleet,
    _password: tempfile::TempDir,
}

impl Scene {
    /// Other documents at a price, in force with all sidecars.
    pub async fn edit(&self, price: &str, documents: Vec<serde_json::Value>) -> anyhow::Result<()> {
        self.apply(&priced(documents, &self.provider.url(), price)).await
    }

    /// Another manifest, in force with all sidecars.
    pub async fn apply(&self, manifest: &str) -> anyhow::Result<()> {
        let sidecars = f64::from(u32::try_from(self.fleet.sidecars.len())?);
        let generation = self.fleet.sum("vectoll_config_generation").await?;
        self.fleet.pair.write_manifest("all.yaml", manifest)?;
        let applied = async || {
            let present = self.fleet.sum("vectoll_config_generation").await?;
            anyhow::ensure!(present >= generation + sidecars, "not applied by all");
            Ok(Some(()))
        };
        self.fleet.pair.wait_for("the edit", Duration::from_secs(20), applied).await
    }
}

/// Documents and the route to a provider, at a price in USD a million tokens.
fn priced(documents: Vec<serde_json::Value>, url: &str, price: &str) -> String {
    let mut all = documents;
    let mut routes = route("openai", &[MODEL], url);
    routes[0]["spec"]["backends"][0]["price"]["inputPerMillionTokens"] = json!(price);
    all.extend(routes);
    file(all)
}

/// A fleet whose keys are those of `documents`, over a store and a provider.
pub async fn scene(sidecars: usize, further: &[&str], documents: Vec<serde_json::Value>) -> anyhow::Result<Scene> {
    scene_at("0.02", sidecars, further, documents).await
}

/// The same at a price in USD a million tokens.
pub async fn scene_at(
    price: &str,
    sidecars: usize,
    further: &[&str],
    documents: Vec<serde_json::Value>,
) -> anyhow::Result<Scene> {
    scene_over(Store::start().await?, price, sidecars, further, documents).await
}

/// The same over a store that runs already.
pub async fn scene_over(
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
    let all = priced(documents, &provider.url(), price);
    let (url, password) = (store.url(), password.display().to_string());
    let mut arguments = vec!["--store-url", &*url, "--store-password-file", &*password];
    arguments.extend(further);
    let fleet = Fleet::start(Setup::built()?, &[("all.yaml", all)], &arguments, sidecars).await?;
    Ok(Scene { provider, store, fleet, _password: folder })
}

/// When a call was admitted, and its tokens.
pub type Admitted = Arc<Mutex<Vec<(Duration, u64)>>>;

/// Calls of one key at all sidecars, `pace` apart at each, until a moment. Returns what was admitted, and how many calls there were.
pub async fn storm(
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

/// The ledger of the Team, from the store: requests, tokens and pico-USD by field.
pub async fn ledger(store: &Store) -> anyhow::Result<BTreeMap<String, u64>> {
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
pub async fn held(store: &Store) -> anyhow::Result<u64> {
    let mut admin = store.admin().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg("vectoll:*:m:*").query_async(&mut admin).await?;
    let mut sum = 0;
    for key in keys {
        let held: Option<u64> = redis::cmd("HGET").arg(key).arg("r").query_async(&mut admin).await?;
        sum += held.unwrap_or_default();
    }
    Ok(sum)
}
