//! Every expression of every rule and panel, evaluated by a Prometheus that scraped a real run.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, ensure};
use vectoll_tests::pair::poll;

use crate::{
    files::{dashboards, list, paths, queries, rules, series, text},
    prometheus::{Prometheus, Target},
    stage::Stage,
};

/// Panels that have nothing to show in a run in which nothing is wrong, and why.
const EMPTY: &[(&str, &str)] = &[];
/// Series that are there only when something is wrong, and what it is.
const ABSENT: &[(&str, &str)] = &[("vectoll_operator_watch_errors_total", "no watch has failed")];

/// How long calls are made. Rates need two scrapes, and the operator reads users and models every half a minute.
const TRAFFIC: Duration = Duration::from_secs(15);
const TOTALS: Duration = Duration::from_mins(2);

/// What Grafana puts in place of its variables, where everything is chosen.
fn with_variables(expr: &str) -> anyhow::Result<String> {
    let mut expr = expr.replace("$__rate_interval", "1m").replace("$__range", "10m");
    for name in ["namespace", "team", "model"] {
        expr = expr.replace(&format!("\"${name}\""), "\".*\"");
    }
    ensure!(!expr.contains('$'), "an unknown variable: {expr}");
    Ok(expr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expression_has_data_from_a_real_run() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    let operator = stage.operator.admin_url("").trim_start_matches("http://").parse()?;
    let targets = [
        Target { job: "operator", address: operator, namespace: "vectoll-system", pod: "operator" },
        Target { job: "sidecars", address: stage.home.admin, namespace: "default", pod: "home" },
        Target { job: "sidecars", address: stage.guest.admin, namespace: "web", pod: "guest" },
    ];
    let prometheus = Prometheus::start(&targets, &paths("rules", "yaml")?).await?;
    let looked = look(&stage, &prometheus).await;
    looked.with_context(|| format!("{}\n{}", prometheus.log(), stage.operator.log()))
}

async fn look(stage: &Stage, prometheus: &Prometheus) -> anyhow::Result<()> {
    let begun = std::time::Instant::now();
    while begun.elapsed() < TRAFFIC {
        stage.call().await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    poll::until("the cluster's totals of users and models", TOTALS, async || {
        // Rates have something to see until the end.
        stage.call().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let both = "count(increase(vectoll_cluster_user_spend_usd_total[10m]) > 0) + count(increase(vectoll_cluster_model_spend_usd_total[10m]) > 0)";
        Ok((!prometheus.query(both).await?.is_empty()).then_some(()))
    })
    .await?;
    let mut wrong = Vec::new();
    panels(prometheus, &mut wrong).await?;
    variables(prometheus, &mut wrong).await?;
    alerts(prometheus, &mut wrong).await?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Each query has a number, under the names that its legend shows, or is listed as one that has none.
async fn panels(prometheus: &Prometheus, wrong: &mut Vec<String>) -> anyhow::Result<()> {
    let mut listed = BTreeSet::new();
    for query in queries()? {
        let (place, expr) = (&query.place, with_variables(&query.expr)?);
        let found = prometheus.query(&expr).await.with_context(|| place.clone())?;
        let numbers = found.iter().filter(|series| text(&series["value"][1]) != "NaN").count();
        let empty = EMPTY.iter().find(|(name, _)| name == place);
        listed.extend(empty.map(|(name, _)| *name));
        match (numbers, empty) {
            (0, None) => wrong.push(format!("{place}: no data: {expr}: {found:?}")),
            (1.., Some((_, reason))) => wrong.push(format!("{place} has data, and is listed as without: {reason}")),
            _ => {}
        }
        for label in query.legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            if !found.is_empty() && !found.iter().any(|series| series["metric"][label].is_string()) {
                wrong.push(format!("{place}: no series has the label {label}: {expr}"));
            }
        }
    }
    for (name, _) in EMPTY.iter().filter(|(name, _)| !listed.contains(name)) {
        wrong.push(format!("{name} is listed, and no panel"));
    }
    Ok(())
}

/// What one can choose from.
async fn variables(prometheus: &Prometheus, wrong: &mut Vec<String>) -> anyhow::Result<()> {
    for dashboard in dashboards()? {
        for variable in list(&dashboard["templating"]["list"]).iter().filter(|variable| variable["type"] == "query") {
            let query = text(&variable["definition"]);
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (series, label) = inner.and_then(|inner| inner.split_once(", ")).with_context(|| query.clone())?;
            if prometheus.label_values(label, series).await?.is_empty() {
                wrong.push(format!("{}: nothing to choose from: {query}", text(&dashboard["title"])));
            }
        }
    }
    Ok(())
}

/// All rules are evaluated without an error, all that they record is there, and so is each series that they name.
async fn alerts(prometheus: &Prometheus, wrong: &mut Vec<String>) -> anyhow::Result<()> {
    let evaluated = prometheus.rules().await?;
    let rules = rules()?;
    ensure!(evaluated.len() == rules.len(), "{} of {} rules were taken", evaluated.len(), rules.len());
    for rule in &evaluated {
        if rule["health"] != "ok" {
            wrong.push(format!("rule {}: {}", rule["name"], rule["lastError"]));
        }
    }
    let mut named = BTreeSet::new();
    for rule in &rules {
        prometheus.query(&rule.expr).await.with_context(|| rule.name.clone())?;
        named.extend(series(&rule.expr));
        if !rule.is_alert {
            let scope = text(&rule.whole["labels"]["scope"]);
            let expr = if scope.is_empty() { rule.name.clone() } else { format!("{}{{scope={scope:?}}}", rule.name) };
            if prometheus.query(&expr).await?.is_empty() {
                wrong.push(format!("nothing is recorded as {expr}"));
            }
        }
    }
    for name in &named {
        let is_there = !prometheus.query(name).await?.is_empty();
        match (is_there, ABSENT.iter().find(|(absent, _)| absent == name)) {
            (false, None) => wrong.push(format!("there is no series {name}")),
            (true, Some((_, reason))) => wrong.push(format!("{name} is there, and is listed as absent: {reason}")),
            _ => {}
        }
    }
    // What was done in this run is seen.
    let firing: BTreeSet<String> =
        evaluated.iter().filter(|rule| rule["state"] == "firing").map(|rule| text(&rule["name"])).collect();
    println!("firing: {firing:?}");
    for expected in ["VectollBudgetRefusals", "VectollUnpricedTokens", "VectollProviderCredentialRefused"] {
        if !firing.contains(expected) {
            wrong.push(format!("{expected} does not fire"));
        }
    }
    for other in [
        "VectollOperatorNoLeader",
        "VectollOperatorAway",
        "VectollStoreAway",
        "VectollConfigRefused",
        "VectollKeyExpiring",
        "VectollWebhookCertificateExpiring",
        "VectollJournalFilling",
    ] {
        if firing.contains(other) {
            wrong.push(format!("{other} fires"));
        }
    }
    Ok(())
}
