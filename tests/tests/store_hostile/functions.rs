//! Functions that are gone, replaced or stuck.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use redis::{Value, aio::MultiplexedConnection, cmd};
use vectoll_config::{
    Uid,
    store::{Function, Library, team_prefix},
};
use vectoll_operator::store::{StoreState, UsersByName};
use vectoll_tests::{
    pair::poll,
    store::{Store, Transport, redis_cluster::RedisCluster},
};

use crate::stage::{DEADLINE, SCOPE, access, apps, exchange, is_good, keep, wanted, with};

#[tokio::test]
async fn what_somebody_wrote_in_place_of_a_function_stops_nobody() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let mut kept = keep(&store.url());
    kept.until(is_good).await?;
    let mut apps = apps(&store).await?;
    let prefix = team_prefix(&Uid::new("t1"));
    for (key, fields) in [
        ("meta", vec!["seen", "99999999999999", "hold", "99999999999999", "n", "junk", "nat", "junk", "users", "-1"]),
        ("live", vec!["ghost", "99999999999999", "other", "junk"]),
        ("w:t", vec!["r99999999999", "5", "t", "junk", "r1", "junk"]),
        ("p:t", vec!["ghost", "junk", "other", "9:99999999999999"]),
        ("m:t:Total/UTC/0", vec!["s", "junk", "r", "junk"]),
        ("mark:one", vec!["spent", "junk"]),
        ("total", vec!["t:r", "junk"]),
    ] {
        cmd("HSET").arg(format!("{prefix}{key}")).arg(fields).query_async::<()>(&mut apps).await?;
    }
    let group = [
        "1",
        "3",
        "r",
        "t",
        "1",
        "1",
        "5",
        "",
        "",
        "p",
        "t",
        "1",
        "1",
        "5",
        "",
        "",
        "m",
        "t",
        "1",
        "1",
        "5",
        "Total/UTC/0",
        "",
    ];
    // The server was started just now: nothing is granted before all who were there could tell again.
    let answer = poll::until("a grant", DEADLINE, async || {
        let number = Timestamp::now().as_millisecond().to_string();
        let head = ["one", "1", &number, "0", "0", "2000", "4000", "5", "0", "0", "0", "0", "0", "0", "0"];
        let answer = format!("{:?}", exchange(&mut apps.clone(), &[&head[..], &group[..]].concat()).await?);
        Ok(answer.contains("array([int(1)").then_some(answer))
    })
    .await?;
    ensure!(answer.contains("int(1)"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn functions_that_are_gone_are_back_within_seconds() -> anyhow::Result<()> {
    let mut store = Store::start().await?;
    let mut kept = keep(&store.url());
    kept.until(is_good).await?;
    for (what, command) in [
        ("flushed", &["FUNCTION", "FLUSH"][..]),
        ("replaced", &[][..]),
        ("lost with the store", &["FUNCTION", "FLUSH"]),
    ] {
        let mut admin = store.admin().await?;
        if let [name, of] = command {
            cmd(name).arg(of).query_async::<()>(&mut admin).await?;
        } else {
            // Under the same name, other code: found when all of it is looked at.
            let (name, function) = (Library::current().name(), Library::current().function(Function::Exchange));
            let code = format!("#!lua name={name}\nredis.register_function('{function}', function() return 0 end)");
            cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(code).query_async::<()>(&mut admin).await?;
            kept.keeper.keep(access(&store.url()), SCOPE, Arc::new(UsersByName::new()));
            kept.keeper.keep(access(&store.url()), SCOPE, wanted());
        }
        if what.contains("store") {
            store.restart().await?;
        }
        let begun = Instant::now();
        poll::until(what, DEADLINE, async || {
            let mut apps = apps(&store).await?;
            let number = Timestamp::now().as_millisecond().to_string();
            let words = with(2, &[&number]);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let answer = exchange(&mut apps, &words).await?;
            ensure!(matches!(answer, Value::Array(_)), "{answer:?}");
            Ok(Some(()))
        })
        .await?;
        println!("figure: functions that were {what} were back after {:.1} s", begun.elapsed().as_secs_f64());
        ensure!(begun.elapsed() < Duration::from_secs(10));
    }
    Ok(())
}

#[tokio::test]
async fn every_master_of_a_cluster_has_the_functions() -> anyhow::Result<()> {
    let cluster = RedisCluster::start(3, 1).await?;
    let url = format!("redis+cluster://{}", cluster.masters.first().context("no master")?.address());
    let mut kept = keep(&url);
    kept.until(is_good).await?;
    let has = async |store: &Store| -> anyhow::Result<bool> {
        let list: Vec<Value> = cmd("FUNCTION").arg("LIST").query_async(&mut store.admin().await?).await?;
        Ok(format!("{list:?}").contains(Library::current().name()))
    };
    poll::until("the functions on all servers", DEADLINE, async || {
        for server in cluster.masters.iter().chain(&cluster.replicas) {
            if !has(server).await? {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn a_script_that_blocks_the_store_is_ended_or_told_of() -> anyhow::Result<()> {
    // As somebody who may: the administrator of a store that others use as well.
    let mut store = Store::start_with(Transport::Plain, &["--busy-reply-threshold", "300"]).await?;
    let mut kept = keep(&store.url());
    kept.until(is_good).await?;
    let block = |connection: MultiplexedConnection, script: &'static str| {
        let mut connection = connection;
        tokio::spawn(async move { cmd("EVAL").arg(script).arg(0).query_async::<Value>(&mut connection).await })
    };
    let begun = Instant::now();
    let blocked = block(store.admin().await?, "while true do end");
    let ended = tokio::time::timeout(DEADLINE, blocked).await.context("nobody ended it")??;
    ensure!(ended.is_err(), "{ended:?}");
    println!("figure: a script that blocked the store was ended after {:.1} s", begun.elapsed().as_secs_f64());
    kept.until(is_good).await?;
    // One that has written cannot be ended.
    let _blocked = block(store.admin().await?, "redis.call('SET','a','1') while true do end");
    kept.until(|state| matches!(state, StoreState::Trouble { busy: true, .. })).await?;
    store.restart().await?;
    kept.until(is_good).await
}
