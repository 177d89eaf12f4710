//! Spend in statuses and metrics, as sidecars write it into the store.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use redis::{Cmd, aio::MultiplexedConnection, cmd};
use serde_json::Value;
use vectoll_config::{
    PicoUsd, Uid, ZoneName,
    store::{money_key, month_key, period_name, total_key},
    stretch,
    v1::{Budget, Period},
};
use vectoll_tests::{pair::poll, store::Store};

use crate::world::{DEADLINE, World, api_key, team_and_key, until};

const NS: &str = "spent";

fn status(world: &World, resource: &str, name: &str) -> anyhow::Result<Value> {
    let text = world.light.kubectl(&["get", resource, name, "-n", NS, "-o", "json"], None)?;
    Ok(serde_json::from_str::<Value>(&text)?["status"].clone())
}

async fn until_spend(world: &World, resource: &str, name: &str, amount: &str) -> anyhow::Result<Value> {
    poll::until(&format!("{resource} {name} to have spent {amount}"), DEADLINE, async || {
        let spend = status(world, resource, name)?["spend"].clone();
        Ok((spend["amount"] == amount).then_some(spend))
    })
    .await
}

fn field(name: &str) -> String {
    name.to_owned()
}

fn write(key: &str, fields: &[(String, &str)]) -> Cmd {
    let mut command = cmd("HSET");
    command.arg(key);
    for (name, value) in fields {
        command.arg(name).arg(value);
    }
    command
}

/// What is said of a budget as it is spent, and the events beside it.
async fn budgets(world: &World, admin: &mut MultiplexedConnection, balance: &str) -> anyhow::Result<()> {
    world.until_key(NS, "alice", "BudgetExceeded", "False/WithinBudget").await?;
    world.until_key(NS, "alice", "BudgetWarning", "False/BelowThreshold").await?;
    // Four fifths.
    write(balance, &[(field("s"), "20000000000000")]).query_async::<()>(admin).await?;
    world.until_key(NS, "alice", "BudgetWarning", "True/ThresholdReached").await?;
    // Sidecars have refused a call: what is left was too little.
    let refused = [(field("s"), "24900000000000"), (field("x"), "25000000000000"), (field("y"), "200000000000")];
    write(balance, &refused).query_async::<()>(admin).await?;
    let key = world.until_key(NS, "alice", "BudgetExceeded", "True/CallsRefused").await?;
    let conditions = key.status.map(|status| status.conditions).unwrap_or_default();
    let message = |kind: &str| conditions.iter().find(|found| found.type_ == kind).map(|found| found.message.clone());
    let exceeded = message("BudgetExceeded").context("no message")?;
    ensure!(exceeded.starts_with("24.90 of 25.00 USD are spent, and the rest"), "{exceeded}");
    ensure!(message("Ready").as_deref() == Some(""), "a key without money works as it should");
    // A higher limit clears it at once, though the store has not forgotten.
    let budget = "{limit: '40.00', period: Monthly, timeZone: Europe/Berlin, warnAtPercent: 80}";
    world.light.apply(&api_key(NS, "alice", &format!(", budget: {budget}")))?;
    world.until_key(NS, "alice", "BudgetExceeded", "False/WithinBudget").await?;
    world.until_key(NS, "alice", "BudgetWarning", "False/BelowThreshold").await?;
    // An event follows the status that it tells of.
    until("an event for each turn", async || {
        let mut events = world.events(NS, "alice")?;
        events.retain(|reason| reason.contains("Budget") || reason.contains("Threshold"));
        events.sort();
        ensure!(events == ["BelowThreshold", "BudgetExceeded", "BudgetWarning", "WithinBudget"], "{events:?}");
        Ok(Some(()))
    })
    .await?;
    write(balance, &[(field("s"), "1230000000000")]).query_async::<()>(admin).await?;
    until_spend(world, "apikey", "alice", "1.23").await?;
    Ok(())
}

pub async fn spent(world: &World, store: &mut Store) -> anyhow::Result<()> {
    let mut admin = store.admin().await?;
    world.namespace(NS)?;
    world.light.apply(&team_and_key(
        NS,
        "alice",
        ", budget: {limit: '25.00', period: Monthly, timeZone: Europe/Berlin, warnAtPercent: 80}",
    ))?;
    world.light.apply(&api_key(NS, "bob", ""))?;
    world.until_key(NS, "alice", "Ready", "True/Ready").await?;
    let uid = |resource: &str, name: &str| -> anyhow::Result<Uid> {
        let uid = world.light.kubectl(&["get", resource, name, "-n", NS, "-o", "jsonpath={.metadata.uid}"], None)?;
        Ok(Uid::new(&uid))
    };
    let (team, alice, bob) = (uid("team", "team")?, uid("apikey", "alice")?, uid("apikey", "bob")?);
    let time_zone = ZoneName::try_from("Europe/Berlin".to_owned())?;
    let budget = Budget::new(PicoUsd::ZERO, Period::Monthly, time_zone);
    let now = Timestamp::now();
    let present = stretch(&budget, now);
    let period = period_name(Period::Monthly, &budget.time_zone, present.start);
    let balance = money_key(&team, &format!("k:{alice}"), &period);
    let month = month_key(&team, &now.strftime("%Y-%m").to_string());
    let total = [
        (field("t:r"), "3"),
        (field("t:t"), "400"),
        (field("t:p"), "1730000000000"),
        (format!("k:{alice}:r"), "2"),
        (format!("k:{alice}:t"), "300"),
        (format!("k:{alice}:p"), "1230000000000"),
        (field("unsettled:r"), "1"),
    ];
    write(&total_key(&team), &total).query_async::<()>(&mut admin).await?;
    let monthly = [(field("t:p"), "1730000000000"), (format!("k:{bob}:p"), "500000000000")];
    write(&month, &monthly).query_async::<()>(&mut admin).await?;
    write(&balance, &[(field("s"), "1230000000000"), (field("r"), "5")]).query_async::<()>(&mut admin).await?;

    let spend = until_spend(world, "apikey", "alice", "1.23").await?;
    ensure!(spend["limit"] == "25.00" && spend["remaining"] == "23.77", "{spend}");
    let resets: Timestamp = spend["resetsAt"].as_str().context("no resetsAt")?.parse()?;
    ensure!(Some(resets) == present.end, "{spend}");
    let spend = until_spend(world, "apikey", "bob", "0.50").await?;
    ensure!(spend.get("limit").is_none() && spend.get("remaining").is_none(), "{spend}");
    until_spend(world, "team", "team", "1.73").await?;

    // The exact totals, by name.
    let metrics = world.operator.metrics().await?;
    let key = format!("{NS}/alice");
    let labels = [("team", "spent/team"), ("key", &*key)];
    ensure!(metrics.value("vectoll_cluster_key_tokens_total", &labels) == Some(300.0));
    ensure!(metrics.value("vectoll_cluster_key_spend_usd_total", &labels) == Some(1.23));
    let labels = [("team", "spent/team")];
    ensure!(metrics.value("vectoll_cluster_team_requests_total", &labels) == Some(3.0));
    ensure!(metrics.value("vectoll_cluster_unsettled_requests_total", &labels) == Some(1.0));

    budgets(world, &mut admin, &balance).await?;

    // What is little of the budget waits for the key's own moment, which comes once in a minute; a hundredth of it does not.
    let (mut writes, mut last) = (0, String::new());
    for cents in 24..54 {
        write(&balance, &[(field("s"), &*format!("1{cents}0000000000"))]).query_async::<()>(&mut admin).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let amount = status(world, "apikey", "alice")?["spend"]["amount"].as_str().unwrap_or_default().to_owned();
        if amount != last {
            last = amount;
            writes += 1;
        }
    }
    // The first one is what stood there before.
    ensure!((1..=2).contains(&writes), "{} writes in half a minute", writes - 1);
    let begun = Timestamp::now();
    write(&balance, &[(field("s"), "1990000000000")]).query_async::<()>(&mut admin).await?;
    until_spend(world, "apikey", "alice", "1.99").await?;
    let took = Timestamp::now().duration_since(begun).as_secs();
    ensure!(took <= 20, "a hundredth of the budget was told after {took} s");

    // A reset: the budget's count begins anew, and the ledger's goes on.
    let reset = Timestamp::from_second(Timestamp::now().as_second())?;
    let annotation = format!("vectoll.dev/reset-budgets={reset}");
    world.light.kubectl(&["annotate", "apikey", "alice", "-n", NS, &annotation], None)?;
    let anew = period_name(Period::Monthly, &budget.time_zone, reset);
    let anew = money_key(&team, &format!("k:{alice}"), &anew);
    write(&anew, &[(field("s"), "450000000000")]).query_async::<()>(&mut admin).await?;
    until_spend(world, "apikey", "alice", "0.45").await?;
    let conditions = status(world, "apikey", "alice")?["conditions"].to_string();
    ensure!(conditions.contains(&format!("0.45 of 40.00 USD are spent since it was reset at {reset}")), "{conditions}");
    let metrics = world.operator.metrics().await?;
    let labels = [("team", "spent/team"), ("key", &*key)];
    ensure!(metrics.value("vectoll_cluster_key_spend_usd_total", &labels) == Some(1.23));

    // The store goes: what was told stays. A key that goes takes its series along.
    store.kill().await?;
    world.light.kubectl(&["delete", "apikey", "bob", "-n", NS], None)?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    ensure!(!status(world, "apikey", "alice")?["spend"]["amount"].is_null());
    let metrics = world.operator.metrics().await?;
    ensure!(
        metrics.value("vectoll_cluster_key_tokens_total", &[("team", "spent/team"), ("key", "spent/bob")]).is_none()
    );
    poll::until("the silence to be told", Duration::from_mins(2), async || {
        Ok(world.until_key(NS, "alice", "Programmed", "Unknown/DeliveryUnconfirmed").await.ok())
    })
    .await?;
    Ok(())
}
