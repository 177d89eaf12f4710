//! The commands on the chart's pages, as they stand there. Nothing is waited for that needs a node: that is for `e2e/`.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vectoll_tests::documents::{block, with};

use crate::cluster::{Cluster, eventually};
use crate::tool::NAMESPACE;

/// Commands without what waits for pods.
fn without_nodes(commands: &str) -> anyhow::Result<String> {
    with(commands, " --wait", "")
}

fn values(cluster: &Cluster) -> anyhow::Result<Value> {
    let said = cluster.helm(&["get", "values", "vectoll", "--output", "json"])?.ok()?;
    serde_json::from_str(&said).context("helm get values")
}

#[test]
fn the_commands_of_the_pages_work() -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    let run = |commands: &str| cluster.shell(commands)?.ok();

    // The test of the release needs a node.
    let install = with(&block("chart-install")?, "helm test vectoll --namespace vectoll-system\n", "")?;
    run(&without_nodes(&install)?)?;
    let said = run(&without_nodes(&block("upgrade")?)?)?;
    ensure!(said.contains("REVISION: 2") && said.contains("Rollback was a success"), "{said}");

    // The operator makes the Secret; here nobody runs it.
    cluster.kubectl(&["create", "secret", "generic", "vectoll-store-master", "--namespace", NAMESPACE])?.ok()?;
    let said = run(&block("store-passwords")?)?;
    ensure!(
        said.contains("deployment.apps/vectoll restarted") && said.contains("statefulset.apps/vectoll-store restarted"),
        "{said}"
    );

    run(&block("own-store")?)?;
    let store = values(&cluster)?["store"].clone();
    ensure!(store["url"] == "rediss://valkey.example.com:6380", "{store}");
    ensure!(store["existingSecret"] == json!({"name": "valkey", "usernameKey": "username"}), "{store}");
    run(&block("secret-writers")?)?;
    let now = values(&cluster)?;
    ensure!(now["admissionPolicies"]["secretWriters"] == json!(["system:serviceaccount:velero:velero"]), "{now}");
    ensure!(now["store"] == store, "{now}");

    cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: argocd}}")?;
    cluster.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: argocd-cm, namespace: argocd}, data: {url: https://cd.example}}")?;
    run(&block("argocd")?)?;
    let patched = cluster.get(&["configmap", "argocd-cm", "--namespace=argocd"])?["data"].clone();
    let lists = |name: &str| patched[name].as_str().is_some_and(|text| text.contains("Healthy"));
    ensure!(patched["url"] == "https://cd.example", "{patched}");
    ensure!(lists("resource.customizations.health.vectoll.dev_ApiKey"), "{patched}");

    run(&block("uninstall")?)?;
    run(&block("crds-by-hand")?)?;
    cluster.get(&["crd", "teams.vectoll.dev"])?;

    // Again, over the definitions that stayed.
    run(&without_nodes(&block("chart-install-pinned")?)?)?;
    let deployment = cluster.get(&["deployment", "vectoll", "--namespace", NAMESPACE])?;
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().context("no image")?;
    ensure!(image == format!("registry.example.com/vectoll/operator@sha256:{}", "0".repeat(64)), "{image}");
    run(&block("uninstall")?)?;
    gone(&cluster)?;
    run(&without_nodes(&block("openshift")?)?)?;
    for workload in ["deployment/vectoll", "statefulset/vectoll-store"] {
        let text = cluster.get(&[workload, "--namespace", NAMESPACE])?.to_string();
        ensure!(text.contains("runAsNonRoot") && !text.contains("runAsUser") && !text.contains("runAsGroup"), "{text}");
    }
    Ok(())
}

/// Helm does not wait for what it deletes.
fn gone(cluster: &Cluster) -> anyhow::Result<()> {
    eventually("the Deployment is gone", || {
        Ok(!cluster.kubectl(&["get", "deployment", "vectoll", "--namespace", NAMESPACE])?.well)
    })
}
