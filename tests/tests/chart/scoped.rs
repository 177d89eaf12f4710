//! `watchNamespaces`: the operator with the roles that the chart gives it there, and nothing more.

use std::time::Duration;

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use vectoll_config::{read_v1, v1};
use vectoll_tests::{cluster::Operator, pair::poll};

use crate::cluster::Cluster;
use crate::tool::{NAMESPACE, repository};

/// The resources of a namespace, each as small as it can be.
const RESOURCES: &str = "
{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {name: team}, spec: {}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {name: alice}, spec: {teamRef: {name: team}}}
";

#[test]
fn an_operator_of_some_namespaces_works_with_its_roles_and_leaves_the_others_alone() -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    for namespace in ["search", "shop", "elsewhere"] {
        cluster.kubectl(&["create", "namespace", namespace])?.ok()?;
    }
    let chart = repository("charts/vectoll").display().to_string();
    cluster.helm(&["install", "vectoll", &chart, "--set", "watchNamespaces={search,shop}"])?.ok()?;
    for namespace in ["search", "shop", "elsewhere"] {
        cluster.kubectl_with(&["apply", "--namespace", namespace], RESOURCES)?.ok()?;
    }
    // As a pod would: with the token of the chart's ServiceAccount, and the settings that the chart mounts.
    let folder = tempfile::tempdir()?;
    let token = cluster.kubectl(&["create", "token", "vectoll", "--namespace", NAMESPACE])?.ok()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, cluster.kubeconfig_of(token.trim())?)?;
    let path = "jsonpath={.data.injection\\.yaml}";
    let injection =
        cluster.kubectl(&["get", "configmap", "vectoll-injection", "--namespace", NAMESPACE, "--output", path])?;
    let file = folder.path().join("injection.yaml");
    std::fs::write(&file, injection.ok()?)?;
    let arguments = [
        "--watch-namespaces=search,shop",
        "--webhook-listen=127.0.0.1:0",
        &format!("--injection-config={}", file.display()),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let launch = |identity: &str| Operator::launch(&kubeconfig, NAMESPACE, identity, &arguments);
        let mut operator = launch("scoped")?;
        // Ready: it has listed everything, and made the webhook's certificate.
        operator.ready().await?;
        for namespace in ["search", "shop"] {
            poll::until(&format!("the key in {namespace}"), Duration::from_secs(30), async || {
                let key = cluster.get(&["apikey", "alice", "--namespace", namespace])?;
                let conditions = key["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
                let secrets = cluster.get(&["secrets", "--namespace", namespace])?;
                let secrets = secrets["items"].as_array().context("no list")?.len();
                Ok((ready && secrets == 2).then_some(()))
            })
            .await
            .with_context(|| operator.log())?;
        }
        let elsewhere = cluster.get(&["secrets", "--namespace", "elsewhere"])?;
        ensure!(elsewhere["items"].as_array().is_some_and(Vec::is_empty), "{elsewhere}");
        let bundle = cluster.get(&["mutatingwebhookconfiguration", "vectoll"])?;
        ensure!(bundle["webhooks"][0]["clientConfig"]["caBundle"].is_string(), "the API server knows no CA: {bundle}");
        ensure!(operator.end(Signal::SIGTERM).await?.success(), "{}", operator.log());
        let log = operator.log();
        ensure!(!log.contains("forbidden") && !log.contains("Forbidden"), "it lacks a privilege: {log}");
        let mut operator = launch("again")?;
        operator.ready().await?;
        brought(&cluster).await.with_context(|| operator.log())?;
        close(&cluster)?;
        // What is known of it is old.
        cluster.kubectl_with(&["apply", "--namespace", "search"], &secret("sk-another-value-of-bob"))?.ok()?;
        until_key(&cluster, "bob", "ResolvedRefs", "False/SecretUnreadable").await.with_context(|| operator.log())?;
        others_end(&cluster, "alice").await.with_context(|| operator.log())?;
        // Nothing is known of it.
        ensure!(operator.end(Signal::SIGTERM).await?.success(), "{}", operator.log());
        cluster.kubectl_with(&["apply", "--namespace", "search"], &key("carol", ""))?.ok()?;
        let mut operator = launch("anew")?;
        operator.ready().await?;
        until_key(&cluster, "carol", "Ready", "True/Ready").await.with_context(|| operator.log())?;
        until_key(&cluster, "bob", "ResolvedRefs", "False/SecretUnreadable").await.with_context(|| operator.log())?;
        others_end(&cluster, "carol").await.with_context(|| operator.log())?;
        let before = config(&cluster)?;
        ensure!(before.keys.len() == 1 && !before.keys[0].suspended, "{before:?}");
        cluster
            .kubectl_with(
                &["apply", "--namespace", "search"],
                &key("bob", ", suspended: true, secretRef: {name: brought, key: k}"),
            )?
            .ok()?;
        until_config(&cluster, "has the edit", |config| config.keys.iter().any(|key| key.suspended))
            .await
            .with_context(|| operator.log())?;
        let after = config(&cluster)?;
        ensure!(after.keys[0].credentials == before.keys[0].credentials, "the value that is in force is another one");
        // Elsewhere it may be anything.
        cluster
            .kubectl_with(&["apply", "--namespace", "search"], &key("bob", ", secretRef: {name: gone, key: k}"))?
            .ok()?;
        until_config(&cluster, "has nothing of it", |config| config.keys.is_empty())
            .await
            .with_context(|| operator.log())?;
        ensure!(operator.end(Signal::SIGTERM).await?.success(), "{}", operator.log());
        Ok(())
    })
}

fn secret(value: &str) -> String {
    format!("{{apiVersion: v1, kind: Secret, metadata: {{name: brought}}, stringData: {{k: {value}}}}}")
}

fn key(name: &str, more: &str) -> String {
    format!(
        "{{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {{name: {name}}}, spec: {{teamRef: {{name: team}}{more}}}}}"
    )
}

/// A key whose value is in a Secret of its owner's.
async fn brought(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.kubectl_with(&["apply", "--namespace", "search"], &secret("sk-a-value-of-bob-s"))?.ok()?;
    let bob = key("bob", ", secretRef: {name: brought, key: k}");
    cluster.kubectl_with(&["apply", "--namespace", "search"], &bob)?.ok()?;
    until_key(cluster, "bob", "Ready", "True/Ready").await?;
    until_config(cluster, "has both keys", |config| config.keys.len() == 2).await
}

/// The namespace's administrator takes away that the Secret may be read, which is theirs to do.
fn close(cluster: &Cluster) -> anyhow::Result<()> {
    let mut role = cluster.get(&["role", "vectoll-operator-watch", "--namespace", "search"])?;
    let rules = role["rules"].as_array_mut().context("no rules")?;
    for rule in rules.iter_mut().filter(|rule| rule["resources"] == json!(["secrets"])) {
        let verbs = rule["verbs"].as_array_mut().context("no verbs")?;
        verbs.retain(|verb| verb != "get");
    }
    rules.push(json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["vectoll-sidecar", "alice", "carol"]}));
    cluster.kubectl_with(&["replace"], &role.to_string())?.ok().map(drop)
}

async fn until_key(cluster: &Cluster, name: &str, kind: &str, wanted: &str) -> anyhow::Result<()> {
    poll::until(&format!("{name}: {kind}={wanted}"), Duration::from_secs(40), async || {
        let key = cluster.get(&["apikey", name, "--namespace", "search"])?;
        let conditions = key["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is_so = |one: &Value| {
            let found = format!(
                "{}/{}",
                one["status"].as_str().unwrap_or_default(),
                one["reason"].as_str().unwrap_or_default()
            );
            one["type"] == kind && found == wanted
        };
        Ok(conditions.iter().any(is_so).then_some(()))
    })
    .await
}

/// The config that the sidecars of the namespace have.
fn config(cluster: &Cluster) -> anyhow::Result<v1::Config> {
    let secret = cluster.get(&["secret", "vectoll-sidecar", "--namespace", "search"])?;
    let file = secret["data"][v1::FILE].as_str().context("no config")?;
    read_v1(std::str::from_utf8(&STANDARD.decode(file)?)?).map_err(Into::into)
}

async fn until_config(cluster: &Cluster, what: &str, is_so: impl Fn(&v1::Config) -> bool) -> anyhow::Result<()> {
    poll::until(&format!("a config that {what}"), Duration::from_secs(40), async || {
        Ok(is_so(&config(cluster)?).then_some(()))
    })
    .await
}

/// A key that is deleted ends although the Secret of another cannot be read, and that other goes on.
async fn others_end(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    cluster.kubectl(&["delete", "apikey", name, "--namespace", "search", "--wait=false"])?.ok()?;
    let has = |config: &v1::Config, name: &str| config.keys.iter().any(|key| key.name.name() == name);
    until_config(cluster, "has the deleted key no more", |config| !has(config, name)).await?;
    ensure!(has(&config(cluster)?, "bob"), "the key whose Secret cannot be read has ended");
    Ok(())
}
