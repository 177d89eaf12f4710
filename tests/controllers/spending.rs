//! What an edit takes while all keys spend: sidecars' writes into the store, without the sidecars.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use tokio::{sync::watch, task::JoinHandle};
use vectoll_config::{
    PicoUsd, Uid, ZoneName,
    store::{money_key, month_key, period_name, total_key},
    stretch,
    v1::{Budget, Period},
};
use vectoll_crds::{ApiKey, Team};
use vectoll_tests::{
    cluster::{Light, Operator},
    pair::poll,
    store::Store,
};

use crate::setting::setting;

/// Edits that are measured, one a second.
const EDITS: usize = 30;
/// What a key spends in a second, in pico-USD: a hundredth of a budget of 10 USD in 100 s, so each status is due about once a minute.
const SPENT: u64 = 1_000_000_000;
/// Commands in one pipeline.
const BATCH: usize = 2_000;

/// A store, and what an operator is told of it.
pub struct Stage {
    store: Store,
    pub arguments: Vec<String>,
}

impl Stage {
    pub async fn start() -> anyhow::Result<Self> {
        let store = Store::start().await?;
        let arguments = store.operator_arguments()?;
        Ok(Self { store, arguments })
    }

    /// Measures edits while all keys spend.
    pub async fn measure(&self, light: &Light, client: &Client, operator: &Operator) -> anyhow::Result<()> {
        let spenders = Spenders::find(client).await?;
        let (keys, before) = (spenders.keys, statuses(light)?);
        let (stop, stopped) = watch::channel(false);
        let mut spending = spenders.spend(self.store.admin().await?, stopped);
        let began = Instant::now();
        let mut took = Vec::with_capacity(EDITS);
        for n in 0..EDITS {
            tokio::select! {
                edited = edit(client, n) => took.push(edited?),
                ended = &mut spending => ended??,
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        poll::until("what was spent to be told", Duration::from_mins(2), async || {
            let told = Api::<ApiKey>::namespaced(client.clone(), "scale-0").list(&ListParams::default()).await?;
            let spends = |key: &ApiKey| key.status.as_ref().is_some_and(|status| status.spend.is_some());
            Ok(told.items.iter().any(spends).then_some(()))
        })
        .await?;
        let seconds = began.elapsed().as_secs_f64();
        let _ = stop.send(true);
        spending.await??;
        took.sort_unstable();
        let (median, worst) = (took.get(EDITS / 2).context("no edits")?, took.last().context("no edits")?);
        let written = statuses(light)? - before;
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let rate = written as f64 / seconds;
        eprintln!(
            "figure: while {keys} keys spend, {EDITS} edits were in their config Secrets after {:.2} s in the middle and {:.2} s at most; \
             {written} statuses were written in {seconds:.0} s ({rate:.0} a second); the operator took {} MiB at most",
            median.as_secs_f64(),
            worst.as_secs_f64(),
            operator.peak_mib()?
        );
        // Five times what is promised.
        ensure!(*worst < Duration::from_secs(5), "an edit took {worst:?}");
        Ok(())
    }
}

/// How many statuses the operator has written.
fn statuses(light: &Light) -> anyhow::Result<usize> {
    let is_status = |one: &vectoll_tests::cluster::Request| {
        one.writes() && one.agent.starts_with("vectoll-operator/") && one.subresource == "status"
    };
    Ok(light.requests()?.iter().filter(|one| is_status(one)).count())
}

/// One key's edit, in a namespace that is another one each time.
async fn edit(client: &Client, n: usize) -> anyhow::Result<Duration> {
    let namespaces = setting("VECTOLL_SCALE_NAMESPACES", 20);
    let namespace = format!("scale-{}", n % namespaces);
    let user = format!("edited-{n}");
    let name = format!("key-{}", n % namespaces);
    let began = Instant::now();
    let patch = Patch::Merge(serde_json::json!({"spec": {"user": user}}));
    Api::<ApiKey>::namespaced(client.clone(), &namespace).patch(&name, &PatchParams::default(), &patch).await?;
    let secrets = Api::<Secret>::namespaced(client.clone(), &namespace);
    poll::until("the edit", Duration::from_secs(20), async || {
        let file = secrets.get("vectoll-sidecar").await?.data.unwrap_or_default().remove("config.v1.yaml");
        let config = vectoll_config::read_v1(std::str::from_utf8(&file.context("no config")?.0)?)?;
        let key = config.keys.into_iter().find(|key| key.name.name() == name);
        Ok(key.filter(|key| key.user.as_ref() == Some(&user)).map(|_| ()))
    })
    .await?;
    Ok(began.elapsed())
}

/// The keys, by their Teams.
struct Spenders {
    keys: usize,
    teams: Vec<(Uid, Vec<Uid>)>,
}

impl Spenders {
    async fn find(client: &Client) -> anyhow::Result<Self> {
        let uid = |uid: Option<String>| uid.map(|uid| Uid::new(&uid)).context("no UID");
        let mut by_namespace: HashMap<Option<String>, Vec<Uid>> = HashMap::new();
        let mut count = 0;
        for key in Api::<ApiKey>::all(client.clone()).list(&ListParams::default()).await? {
            by_namespace.entry(key.namespace()).or_default().push(uid(key.uid())?);
            count += 1;
        }
        let mut teams = Vec::new();
        for team in Api::<Team>::all(client.clone()).list(&ListParams::default()).await? {
            let keys = by_namespace.remove(&team.namespace()).unwrap_or_default();
            teams.push((uid(team.uid())?, keys));
        }
        Ok(Self { keys: count, teams })
    }

    /// Writes what each key has spent, once a second, until it is told to stop.
    fn spend(
        self,
        mut store: redis::aio::MultiplexedConnection,
        mut stopped: watch::Receiver<bool>,
    ) -> JoinHandle<anyhow::Result<()>> {
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            for n in 1u64.. {
                tokio::select! {
                    _ = tick.tick() => {}
                    _ = stopped.wait_for(|stop| *stop) => break,
                }
                let mut commands = self.commands(n * SPENT, n)?.into_iter().peekable();
                while commands.peek().is_some() {
                    let mut batch = redis::pipe();
                    for command in commands.by_ref().take(BATCH) {
                        batch.add_command(command).ignore();
                    }
                    batch.query_async::<()>(&mut store).await.context("failed to spend")?;
                }
            }
            Ok(())
        })
    }

    /// What sidecars leave in the store when each key has spent so much in so many calls.
    fn commands(&self, spent: u64, calls: u64) -> anyhow::Result<Vec<redis::Cmd>> {
        let now = Timestamp::now();
        let time_zone = ZoneName::try_from("UTC".to_owned())?;
        let budget = Budget::new(PicoUsd::ZERO, Period::Monthly, time_zone);
        let period = period_name(Period::Monthly, &budget.time_zone, stretch(&budget, now).start);
        let month = now.strftime("%Y-%m").to_string();
        let mut commands = Vec::with_capacity(self.keys + 2 * self.teams.len());
        for (team, keys) in &self.teams {
            let all = u64::try_from(keys.len())?;
            let mut ledger: BTreeMap<String, u64> =
                [("r", calls), ("t", 100 * calls), ("p", spent)].map(|(of, sum)| (format!("t:{of}"), all * sum)).into();
            for key in keys {
                let sums = [("r", calls), ("t", 100 * calls), ("p", spent)];
                ledger.extend(sums.map(|(of, sum)| (format!("k:{key}:{of}"), sum)));
                let mut money = redis::cmd("HSET");
                money.arg(money_key(team, &format!("k:{key}"), &period)).arg("s").arg(spent);
                commands.push(money);
            }
            for hash in [total_key(team), month_key(team, &month)] {
                let mut command = redis::cmd("HSET");
                command.arg(hash);
                for (field, sum) in &ledger {
                    command.arg(field).arg(sum);
                }
                commands.push(command);
            }
        }
        Ok(commands)
    }
}
