//! The store: who is told of it, with what password, and what is said while it is away. Redis is real.

#![allow(clippy::float_cmp, reason = "counts")]

use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use redis::{aio::MultiplexedConnection, cmd};
use tokio::runtime::Handle;
use vectoll_config::{
    Uid,
    store::{backend_account, namespace_prefix, team_prefix, user_name},
    v1::OnStoreFailure,
};
use vectoll_tests::{
    cluster::{Light, Operator},
    pair::poll,
    store::{PASSWORD, Store},
};

use crate::{
    acknowledged::acknowledged,
    config::pod,
    spent::spent,
    sums::sum_up,
    world::{SCOPE, World, api_key, entry, team_and_key, until},
};

const NS: &str = "store-apps";
async fn writes(connection: &mut MultiplexedConnection, key: &str) -> bool {
    cmd("HSET").arg(key).arg("a").arg(1).query_async::<()>(connection).await.is_ok()
}

async fn metric(world: &World, name: &str) -> anyhow::Result<f64> {
    world.operator.metrics().await?.value(name, &[]).with_context(|| format!("no {name}"))
}

/// The password in the config Secret, as soon as it is there.
async fn handed_out(world: &World) -> anyhow::Result<String> {
    until("a password of the store", async || {
        Ok(world.secret(NS, "vectoll-sidecar").await?.and_then(|secret| entry(&secret, "store.password")))
    })
    .await
}

fn team_uid(world: &World, name: &str) -> anyhow::Result<Uid> {
    let uid = world.light.kubectl(&["get", "team", name, "-n", NS, "-o", "jsonpath={.metadata.uid}"], None)?;
    Ok(Uid::new(&uid))
}

/// Longer than trouble lasts before it is told.
async fn until_exact(world: &World, wanted: &str) -> anyhow::Result<()> {
    poll::until(&format!("LimitsExact={wanted}"), Duration::from_mins(2), async || {
        Ok(world.until_key(NS, "alice", "LimitsExact", wanted).await.ok())
    })
    .await
    .map(|_| ())
}

/// An API server, a store, and an operator with both.
pub struct Stage {
    pub world: World,
    pub store: Store,
    /// What the operator is told of the store.
    pub arguments: Vec<String>,
    _password: tempfile::TempDir,
}

pub async fn stage() -> anyhow::Result<Stage> {
    stage_with(&[]).await
}

/// The same with more arguments for the operator.
pub async fn stage_with(more: &[&str]) -> anyhow::Result<Stage> {
    let light = Light::start().await?;
    let store = Store::start().await?;
    let folder = tempfile::tempdir()?;
    let password = folder.path().join("password");
    std::fs::write(&password, format!("{PASSWORD}\n"))?;
    let url = format!("--store-url={}", store.url());
    let password = format!("--store-password-file={}", password.display());
    let arguments = vec![url, password, "--on-store-failure=Closed".to_owned()];
    let operator = Operator::start(&light, "one", &[&words(&arguments), more].concat()).await?;
    let client = light.client().await?;
    Ok(Stage { world: World { operator, client, light }, store, arguments, _password: folder })
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

pub async fn shared() -> anyhow::Result<()> {
    let Stage { mut world, mut store, arguments, _password } = stage().await?;
    let done = scenario(&mut world, &mut store, &words(&arguments)).await;
    done.with_context(|| world.operator.log())
}

/// What sidecars write into the store, told where people look.
pub async fn books() -> anyhow::Result<()> {
    let Stage { world, mut store, arguments: _, _password } = stage().await?;
    let done = async {
        at_once(&world, &store)?;
        spent(&world, &mut store).await.context("what was spent")
    };
    done.await.with_context(|| world.operator.log())
}

/// The commands on the pages about resources.
pub async fn pages() -> anyhow::Result<()> {
    let Stage { world, store: _store, arguments: _, _password } = stage().await?;
    crate::documents::commands(&world).await.with_context(|| world.operator.log())
}

/// Two scenarios in namespaces of their own, which mostly wait. Each has a thread: kubectl of the one does not hold up the other.
fn at_once(world: &World, store: &Store) -> anyhow::Result<()> {
    let runtime = &Handle::current();
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let one = scope.spawn(|| runtime.block_on(acknowledged(world, store)).context("what sidecars acknowledge"));
            let other = scope.spawn(|| runtime.block_on(sum_up(world, store)).context("what it sums up to"));
            [one, other].into_iter().try_for_each(|thread| thread.join().unwrap())
        })
    })
}

async fn scenario(world: &mut World, store: &mut Store, arguments: &[&str]) -> anyhow::Result<()> {
    world.namespace(NS)?;
    world.light.apply(&team_and_key(NS, "alice", ", limits: {requestsPerMinute: 5}"))?;
    world.until_key(NS, "alice", "LimitsExact", "True/SharedStore").await?;
    // Nobody there has a use for a password.
    let user = user_name(SCOPE, NS);
    world
        .until_config(NS, "names the store, without a password", |config, files| {
            let store = config.store.as_ref().filter(|store| store.scope.as_deref() == Some(SCOPE))?;
            let told = (store.username.as_deref(), store.password_file.as_deref(), store.on_failure);
            (told == (Some(&*user), Some("store.password"), OnStoreFailure::Closed) && files.is_empty()).then_some(())
        })
        .await?;
    ensure!(metric(world, "vectoll_operator_store_users").await? == 0.0);

    // A sidecar comes: from the moment that it can know its password, the password works.
    until("the default ServiceAccount", async || Ok(world.light.apply(&pod(NS, "one")).ok())).await?;
    let password = handed_out(world).await?;
    let mut apps = store.log_in(&user, &password).await.context("it was handed out before it worked")?;
    let team = team_prefix(&team_uid(world, "team")?);
    ensure!(
        writes(&mut apps, &format!("{team}spend")).await
            && writes(&mut apps, &format!("{}a", namespace_prefix(Some(SCOPE), NS))).await
    );
    ensure!(!writes(&mut apps, "elsewhere").await);
    ensure!(metric(world, "vectoll_operator_store_users").await? == 1.0);
    ensure!(metric(world, "vectoll_operator_store_up").await? == 1.0);

    // Another Team's keys: not before a key of the namespace belongs to it.
    world.light.apply(&format!(
        "{{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {{name: other, namespace: {NS}}}, spec: {{}}}}"
    ))?;
    let other = team_prefix(&team_uid(world, "other")?);
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(!writes(&mut apps, &format!("{other}spend")).await);
    world.light.apply(&api_key(NS, "bob", "").replace("name: team", "name: other"))?;
    until("the other Team's keys", async || Ok(writes(&mut apps, &format!("{other}spend")).await.then_some(())))
        .await?;
    // And for a while after: what was called before must still be booked.
    world.light.kubectl(&["delete", "apikey", "bob", "-n", NS], None)?;
    world.until_config(NS, "has one key", |config, _| (config.keys.len() == 1).then_some(())).await?;
    ensure!(writes(&mut apps, &format!("{other}spend")).await);

    // What a backend with limits was asked for is counted by all sidecars that may call it, and by no others.
    let account = |name: &str| team_prefix(&backend_account(Some(SCOPE), &format!("{NS}/{name}/one")));
    world.light.apply(&format!(
        "{{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {{name: limited, namespace: {NS}}}, spec: {{models: \
         [m], backends: [{{name: one, builtin: {{}}, limits: {{requestsPerMinute: 5}}}}]}}}}"
    ))?;
    until("the backend's keys", async || {
        Ok(writes(&mut apps, &format!("{}spend", account("limited"))).await.then_some(()))
    })
    .await?;
    ensure!(!writes(&mut apps, &format!("{}spend", account("other"))).await);

    // The store goes: keys come and go all the same, and after half a minute it is said.
    store.kill().await?;
    world.light.apply(&api_key(NS, "carol", ""))?;
    world.until_config(NS, "has the new key", |config, _| (config.keys.len() == 2).then_some(())).await?;
    until_exact(world, "False/StoreUnreachable").await?;
    ensure!(metric(world, "vectoll_operator_store_up").await? == 0.0);
    let complaints = world.operator.log().matches("the store's users cannot be kept").count();
    ensure!((1..=3).contains(&complaints), "{complaints} complaints about one trouble");
    store.restart().await?;
    until_exact(world, "True/SharedStore").await?;
    store.log_in(&user, &password).await.context("the user was not recreated")?;

    // Another operator goes on where this one was: nothing is written anew.
    let (config, _) = world.config(NS).await?.context("no config")?;
    ensure!(world.operator.end(Signal::SIGTERM).await?.success());
    let log = world.operator.log();
    world.operator = Operator::start(&world.light, "two", arguments).await?;
    poll::until("the next operator's users", Duration::from_secs(30), async || {
        Ok((metric(world, "vectoll_operator_store_up").await? == 1.0).then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (after, files) = world.config(NS).await?.context("no config")?;
    ensure!(after.generation == config.generation, "{} after {}", after.generation, config.generation);
    ensure!(files.get("store.password") == Some(&password), "another password");

    // The last sidecar goes, and the password with it. The user stays for a while.
    world.light.kubectl(&["delete", "pod", "one", "-n", NS, "--force", "--grace-period=0"], None)?;
    world.until_config(NS, "has no password any more", |_, files| files.is_empty().then_some(())).await?;
    store.log_in(&user, &password).await.context("who would book its last calls?")?;
    let logs = format!("{log}{}", world.operator.log());
    ensure!(!logs.contains(&password) && !logs.contains(PASSWORD), "a password stands in the log");
    Ok(())
}
