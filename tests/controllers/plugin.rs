//! `kubectl vectoll` and the bill, as people run them: with a kubeconfig, against a real API server, an operator and a store.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use vectoll_config::{
    PicoUsd, Uid,
    store::{ModelAt, Series},
};
use vectoll_limits::store::protocol::Entry;
use vectoll_tests::{
    documents::{block, repository},
    pair::{binaries::binary, poll},
};

use crate::{
    store::{Stage, stage_with},
    sums::book,
    world::{World, until},
};

const NS: &str = "plugin";

/// What somebody sees who runs a command.
struct Said {
    is_good: bool,
    out: String,
    err: String,
}

fn said(program: &str, kubeconfig: &Path, arguments: &[&str]) -> anyhow::Result<Said> {
    let mut command = Command::new(binary(program)?);
    command.args(arguments).env("KUBECONFIG", kubeconfig).stdin(Stdio::null());
    let output = command.output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Said { is_good: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) })
}

/// Prints what was said, for the pages; and that it went as it should.
fn plugin(world: &World, arguments: &[&str], is_good: bool) -> anyhow::Result<String> {
    let said = said("kubectl-vectoll", world.light.kubeconfig(), arguments)?;
    eprintln!("--- kubectl vectoll {}\n{}{}", arguments.join(" "), said.out, said.err);
    ensure!(said.is_good == is_good, "{arguments:?}: {}{}", said.out, said.err);
    Ok(if is_good || !said.out.is_empty() { said.out } else { said.err })
}

fn has(text: &str, parts: &[&str]) -> anyhow::Result<()> {
    for part in parts {
        ensure!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    Ok(())
}

const RESOURCES: &str = "
{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {name: search, namespace: plugin, labels: {app: shop}}, spec: {budget: {limit: '100.00', period: Yearly}, costCenter: '4700'}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {name: alice, namespace: plugin}, spec: {teamRef: {name: search},
  limits: {tokensPerMinute: 5000}, budget: {limit: '25.00', period: Monthly}, metadata: {costCenter: '4711'}, costCenter: '4711'}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {name: bob, namespace: plugin}, spec: {teamRef: {name: gone}}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {name: moved, namespace: plugin}, spec: {teamRef: {name: search},
  keyHash: 'sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae'}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {name: builtin, namespace: plugin}, spec: {models: [builtin], backends: [{name: own, builtin: {}}]}}
";

/// What people look at and change by hand, and the bill.
pub async fn looked_at_and_billed() -> anyhow::Result<()> {
    let stage = stage_with(&["--spend-labels=app"]).await?;
    commands(&stage).await.with_context(|| stage.world.operator.log())
}

async fn commands(stage: &Stage) -> anyhow::Result<()> {
    let world = &stage.world;
    world.namespace(NS)?;
    world.light.apply(RESOURCES)?;
    world.until_key(NS, "alice", "Ready", "True/Ready").await?;
    world.until_key(NS, "bob", "Ready", "False/TeamNotFound").await?;
    world.until_key(NS, "moved", "Ready", "True/Ready").await?;
    world.until_other("modelroute", NS, "builtin", "Ready", "True/Ready").await?;
    looked_at(world).context("looking")?;
    explained(world).context("explain")?;
    changed(world).await.context("changing")?;
    refused(world).context("refusals")?;
    billed(stage).await.context("the bill")?;
    on_the_page(world).context("the page")?;
    Ok(())
}

fn looked_at(world: &World) -> anyhow::Result<()> {
    let text = plugin(world, &["status", "-n", NS], true)?;
    has(&text, &["search", "alice", "TeamNotFound"])?;
    ensure!(!text.contains("NAMESPACE"), "{text}");
    has(
        &plugin(world, &["status", "-A", "-o", "wide"], true)?,
        &["NAMESPACE", "MESSAGE", "there is no Team plugin/gone"],
    )?;
    let json: Value = serde_json::from_str(&plugin(world, &["status", "-n", NS, "-o", "json"], true)?)?;
    let keys: Vec<(&str, bool)> = json["keys"]
        .as_array()
        .context("no keys")?
        .iter()
        .map(|key| (key["name"].as_str().unwrap_or_default(), key["ready"] == true))
        .collect();
    ensure!(keys == [("alice", true), ("bob", false), ("moved", true)], "{json}");

    let text = plugin(world, &["check"], false)?;
    has(
        &text,
        &[
            "✓ teams.vectoll.dev is that of version",
            "× no Deployment of the operator is there",
            "× ApiKey plugin/bob: TeamNotFound",
        ],
    )?;
    has(&text, &["✓ SharedStore, said of"])?;
    // As the chart makes it; whoever runs there is the operator of this test.
    let labels =
        "{app.kubernetes.io/part-of: vectoll, app.kubernetes.io/component: operator, app.kubernetes.io/version: 0.1.0}";
    let deployment = format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: vectoll, namespace: default, labels: {labels}}}, spec: {{replicas: 1, \
         selector: {{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: operator, image: o}}]}}}}}}}}"
    );
    world.light.apply(&deployment)?;
    let text = plugin(world, &["check", "-n", NS], false)?;
    has(
        &text,
        &["✓ Lease default/vectoll-operator is held by one", "× MutatingWebhookConfiguration vectoll is not there"],
    )?;
    has(&text, &["× Deployment default/vectoll: no replica is available", "✓ the operator is of version 0.1.0"])?;
    world.light.kubectl(&["delete", "deployment", "vectoll", "-n", "default"], None)?;
    has(&plugin(world, &["completion", "bash"], true)?, &["explain", "--all-namespaces"])?;
    Ok(())
}

fn explained(world: &World) -> anyhow::Result<()> {
    let text = plugin(world, &["explain", "alice", "builtin", "-n", NS], true)?;
    has(&text, &["plugin/alice may call builtin", "plugin/builtin, by its name builtin", "tokensPerMinute", "25.00"])?;
    let text = plugin(world, &["explain", "alice", "gpt", "-n", NS], false)?;
    has(&text, &["plugin/alice may not call gpt", "ModelNotFound"])?;
    has(&plugin(world, &["explain", "bob", "builtin", "-n", NS], false)?, &["TeamNotFound"])?;
    let text = plugin(world, &["explain", "nobody", "builtin", "-n", NS], false)?;
    has(&text, &["there is none of that name", "kubectl get apikeys.vectoll.dev -n plugin"])
}

async fn changed(world: &World) -> anyhow::Result<()> {
    let value = plugin(world, &["key", "alice", "-n", NS], true)?;
    ensure!(value.trim_end() == world.value(NS, "alice").await?, "{value}");
    has(&plugin(world, &["key", "moved", "-n", NS], false)?, &["only the hash is known"])?;
    has(&plugin(world, &["rotate", "moved", "-n", NS], false)?, &["only the hash is known"])?;
    has(&plugin(world, &["rotate", "alice", "-n", NS], true)?, &["a new value is being made"])?;
    until("a new value", async || Ok((world.value(NS, "alice").await? != value.trim_end()).then_some(()))).await?;

    for (name, word) in [("alice", "apikey.vectoll.dev/alice"), ("team/search", "team.vectoll.dev/search")] {
        has(&plugin(world, &["suspend", name, "-n", NS], true)?, &[word, "suspended"])?;
        has(&plugin(world, &["suspend", name, "-n", NS], true)?, &["is suspended already"])?;
        has(&plugin(world, &["explain", "alice", "builtin", "-n", NS], false)?, &["Suspended"])?;
        let kind = if name == "alice" { "apikey" } else { "team" };
        world.until_other(kind, NS, name.rsplit('/').next().unwrap_or(name), "Suspended", "True/Suspended").await?;
        has(&plugin(world, &["status", "-n", NS], true)?, &["Suspended"])?;
        has(&plugin(world, &["resume", name, "-n", NS], true)?, &[word, "resumed"])?;
    }
    has(&plugin(world, &["suspend", "user/ada", "-n", NS], false)?, &["neither a key nor a team"])
}

/// Somebody without any rights.
fn nobody(world: &World) -> anyhow::Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let mut config: serde_yaml::Value = serde_yaml::from_str(&std::fs::read_to_string(world.light.kubeconfig())?)?;
    config["users"][0]["user"]["as"] = "nobody".into();
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, serde_yaml::to_string(&config)?)?;
    Ok((folder, path))
}

fn refused(world: &World) -> anyhow::Result<()> {
    let (_folder, nobody) = nobody(world)?;
    let ask = |arguments: &[&str]| said("kubectl-vectoll", &nobody, arguments);
    let status = ask(&["status", "-n", NS])?;
    ensure!(!status.is_good);
    has(&status.err, &["you may not list teams.vectoll.dev in namespace plugin", "the verb list", "vectoll-view"])?;
    has(
        &ask(&["suspend", "alice", "-n", NS])?.err,
        &["you may not get apikeys.vectoll.dev/alice in namespace plugin"],
    )?;
    // What may not be looked at stops no other part, and is no fault.
    let check = ask(&["check"])?;
    ensure!(check.is_good, "{}{}", check.out, check.err);
    has(&check.out, &["‼ not checked: you may not list customresourcedefinitions.apiextensions.k8s.io"])?;
    let nowhere = said("kubectl-vectoll", Path::new("/nowhere"), &["status"])?;
    has(&nowhere.err, &["failed to find the cluster"])?;
    has(&ask(&["report", "--month", "2026-01"])?.err, &["--store-url"])
}

/// A call of each user in a month, with one of the keys; some of them unsettled, some to a model without a price.
fn calls(month: &str, keys: &[Uid; 2]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for user in 0..50_u64 {
        let is_free = user % 10 == 0;
        let model = if is_free { "bge-m3" } else { "text-embedding-3-small" };
        let key = keys[usize::from(user.is_multiple_of(2))].clone();
        let name = if user == 7 { "=HYPERLINK(\"http://x\")".to_owned() } else { format!("user, {user}") };
        let model = ModelAt { provider: "openai".into(), backend: "plugin/route/one".into(), model: model.into() };
        let mut all = vec![Series::Team, Series::Key(key), Series::User(name), Series::Model(model)];
        if user % 7 == 1 {
            all.push(Series::Unsettled);
        }
        let tags = ["nightly", "batch"].into_iter().zip([5, 15]).filter(|(_, each)| user.is_multiple_of(*each));
        all.extend(Series::of_tags(tags.map(|(tag, _)| tag)));
        for series in all {
            let (month, field) = (month.into(), series.to_string().into());
            let money = PicoUsd::new(if is_free { 0 } else { 1_000_000_007 + user });
            entries.push(Entry { month, field, requests: 1, tokens: user + 1, money });
        }
    }
    entries
}

/// The records of a CSV file, by column. Quoted cells may hold commas.
fn records(csv: &str) -> Vec<BTreeMap<String, String>> {
    let cells = |line: &str| {
        let (mut cells, mut quoted) = (vec![String::new()], false);
        let mut rest = line.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '"' if quoted && rest.peek() == Some(&'"') => {
                    rest.next();
                    cells.last_mut().unwrap().push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(String::new()),
                c => cells.last_mut().unwrap().push(c),
            }
        }
        cells
    };
    let mut lines = csv.split("\r\n").filter(|line| !line.is_empty());
    let head = cells(lines.next().unwrap());
    lines.map(|line| head.iter().cloned().zip(cells(line)).collect()).collect()
}

fn sum<'a>(records: impl Iterator<Item = &'a BTreeMap<String, String>>, column: &str) -> anyhow::Result<PicoUsd> {
    let amounts = records.map(|record| &record[column]).filter(|cell| !cell.is_empty());
    amounts
        .map(|cell| Ok(cell.parse::<PicoUsd>()?))
        .try_fold(PicoUsd::ZERO, |sum, amount: anyhow::Result<_>| Ok(sum.plus(amount?)))
}

async fn billed(stage: &Stage) -> anyhow::Result<()> {
    let Stage { world, store, arguments, .. } = stage;
    let mut admin = store.admin().await?;
    let uid = |resource: &str, name: &str| -> anyhow::Result<Uid> {
        let uid = world.light.kubectl(&["get", resource, name, "-n", NS, "-o", "jsonpath={.metadata.uid}"], None)?;
        Ok(Uid::new(&uid))
    };
    let (team, keys) = (uid("team", "search")?, [uid("apikey", "alice")?, uid("apikey", "moved")?]);
    let now = Timestamp::now();
    let this = now.strftime("%Y-%m").to_string();
    let first = now.to_zoned(TimeZone::UTC).date().first_of_month().to_zoned(TimeZone::UTC)?.timestamp();
    let last = (first - SignedDuration::from_hours(1)).strftime("%Y-%m").to_string();
    let entries: Vec<Entry> = [calls(&last, &keys), calls(&this, &keys)].concat();
    let expected = |entries: &[Entry]| {
        let of_team = entries.iter().filter(|entry| *entry.month == *last && *entry.field == *"t");
        of_team.fold(PicoUsd::ZERO, |sum, entry| sum.plus(entry.money))
    };
    let expected = expected(&entries);
    book(&mut admin, &team, 1, entries).await?;

    let of_store: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.contains("failure")).collect();
    let report = |more: &[&str]| {
        [&["report", "--month", &last][..], &of_store, more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let ask = |more: &[&str]| {
        let arguments = report(more);
        plugin(world, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), true)
    };
    let all = records(&ask(&["--by", "team,key,user,model,tag"])?);
    for part in ["team", "key", "user", "model", "tag"] {
        let sum = sum(all.iter().filter(|record| record["by"] == part), "spend_usd")?;
        ensure!(sum == expected, "by {part} it is {sum}, and not {expected}");
    }
    let kinds =
        |part: &str, kind: &str| all.iter().filter(|record| record["by"] == part && record["kind"] == kind).count();
    ensure!(kinds("team", "unsettled") == 1 && kinds("key", "unsettled") == 1 && kinds("model", "unpriced") == 1);
    ensure!(kinds("team", "difference") == 0 && kinds("user", "usage") == 50);
    let of_tags = |tags: &str| all.iter().find(|record| record["by"] == "tag" && record["tags"] == tags);
    let calls = [r#"["nightly"]"#, r#"["batch","nightly"]"#, ""]
        .map(|tags| of_tags(tags).map(|record| record["requests"].as_str()));
    ensure!(calls == [Some("6"), Some("4"), Some("40")], "{calls:?}");
    ensure!(all.iter().any(|record| record["key"] == "plugin/alice" && record["metadata"] == "costCenter=4711"));
    ensure!(all.iter().any(|record| record["user"] == "'=HYPERLINK(\"http://x\")"), "a formula");
    for part in ["team", "key", "user", "model", "tag"] {
        let rows = records(&ask(&["--by", part, "-o", "focus"])?);
        ensure!(sum(rows.iter(), "BilledCost")? == expected, "{part}");
    }
    let json: Value = serde_json::from_str(&ask(&["-o", "json"])?)?;
    ensure!(json["total"]["spendUsd"] == expected.to_string(), "{json}");
    if let Some(folder) = std::env::var_os("VECTOLL_KEEP_FOCUS") {
        std::fs::write(Path::new(&folder).join("focus.csv"), ask(&["--by", "model", "-o", "focus"])?)?;
    }

    let top = [&["top", "users", "-n", NS, "--limit", "3"][..], &of_store].concat();
    has(&plugin(world, &top, true)?, &["user, 49", "plugin/search"])?;
    has(&plugin(world, &["top", "users", "-n", NS], false)?, &["--store-url"])?;
    let top: Value = serde_json::from_str(&plugin(
        world,
        &[&["top", "tags", "-n", NS, "-o", "json"][..], &of_store].concat(),
        true,
    )?)?;
    let calls = |name: &str| {
        let entry = top["entries"].as_array().into_iter().flatten().find(|entry| entry["name"] == name);
        entry.and_then(|entry| entry["requests"].as_str())
    };
    // A call with two tags counts at both.
    let calls = ["nightly", "batch", "(none)"].map(calls);
    ensure!(calls == [Some("10"), Some("4"), Some("40")], "{top}");
    until("what was spent to be in a status", async || {
        let text = plugin(world, &["top", "keys", "-n", NS], true)?;
        Ok(text.contains("plugin/alice").then_some(()))
    })
    .await?;
    allocated(world, &of_store, (&last, expected)).await.context("cost centres")?;
    archived(world, &mut admin, &report(&[]), (&last, &team, &keys)).await
}

/// Within a minute the operator has allocated what was spent to what keys and Teams say.
async fn allocated(world: &World, store: &[&str], (month, expected): (&str, PicoUsd)) -> anyhow::Result<()> {
    let ask = |arguments: &[&str]| plugin(world, &[arguments, store].concat(), true);
    let by = |part: &str| ask(&["report", "--month", month, "--by", part]);
    let found = poll::until("spend by cost centre", Duration::from_secs(100), async || {
        let found = records(&by("costCenter")?);
        let centers = found.iter().filter(|record| record["kind"] == "usage");
        let mut centers: Vec<String> = centers.map(|record| record["cost_center"].clone()).collect();
        centers.sort();
        Ok((centers == ["4700", "4711"]).then_some(found))
    })
    .await?;
    ensure!(sum(found.iter(), "spend_usd")? == expected, "{found:?}");
    let labels = records(&by("label")?);
    ensure!(sum(labels.iter(), "spend_usd")? == expected, "{labels:?}");
    ensure!(
        labels.iter().filter(|record| record["kind"] == "usage").all(|record| record["labels"] == "app=shop"),
        "{labels:?}"
    );
    let keys = records(&by("key")?);
    ensure!(keys.iter().any(|record| record["key"] == "plugin/moved" && record["cost_center"] == "4700"), "{keys:?}");
    let focus = records(&ask(&["report", "--month", month, "--by", "costCenter", "-o", "focus"])?);
    ensure!(sum(focus.iter(), "BilledCost")? == expected && focus.iter().any(|row| row["x_CostCenter"] == "4711"));
    has(&ask(&["top", "cost-centers", "-n", NS])?, &["4711", "4700", "plugin/search"])?;
    has(&ask(&["top", "labels", "-n", NS])?, &["app=shop"])
}

/// What a job of the chart does, month by month: what was written stays as it was.
async fn archived(
    world: &World,
    admin: &mut MultiplexedConnection,
    report: &[String],
    (month, team, keys): (&str, &Uid, &[Uid; 2]),
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join(format!("vectoll-{month}.csv"));
    let mut arguments: Vec<&str> = report.iter().map(String::as_str).collect();
    let directory = folder.path().display().to_string();
    arguments.extend(["--directory", &directory]);
    let write = || said("vectoll-operator", world.light.kubeconfig(), &arguments);
    let first = write()?;
    ensure!(first.is_good, "{}", first.err);
    let before = std::fs::read_to_string(&file)?;
    ensure!(before.contains("plugin/search"), "{before}");
    book(admin, team, 2, calls(month, keys)).await?;
    ensure!(write()?.is_good);
    ensure!(std::fs::read_to_string(&file)? == before, "a bill has changed");
    let now = Timestamp::now().strftime("%Y-%m").to_string();
    let at = arguments.iter().position(|argument| *argument == month).context("no month")?;
    arguments[at] = &now;
    has(&said("vectoll-operator", world.light.kubeconfig(), &arguments)?.err, &["is not over"])
}

/// The commands of the page, by kubectl.
fn on_the_page(world: &World) -> anyhow::Result<()> {
    let path = binary("kubectl-vectoll")?.parent().context("no folder")?.display().to_string();
    let commands =
        format!("export PATH={path}:$PATH\nkubectl config set-context --current --namespace={NS} >/dev/null\n");
    let said = world.light.shell(&format!("{commands}{}", block("kubectl-use")?), &repository())?;
    has(&said, &["alice", "may call builtin", "suspended", "resumed", "sk-vt-"])
}
