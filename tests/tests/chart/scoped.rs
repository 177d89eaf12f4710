//! `watchNamespaces`: the operator with the roles that the chart gives it there, and nothing more.

use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
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
        let mut operator = Operator::launch(&kubeconfig, NAMESPACE, "scoped", &arguments)?;
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
        Ok(())
    })
}
