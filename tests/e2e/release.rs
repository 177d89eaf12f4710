//! The chart's life: test, upgrade, rollback, uninstall.

use anyhow::ensure;

use crate::cluster::{Cluster, DEADLINE, SYSTEM, pod};

pub fn helm_test(cluster: &Cluster) -> anyhow::Result<()> {
    let said = cluster.helm(&["test", "vectoll", "--namespace", SYSTEM, "--timeout=2m"])?;
    ensure!(said.contains("Succeeded"), "{said}");
    Ok(())
}

pub fn upgrade_and_uninstall(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = "e2e-release";
    cluster.namespace(ns)?;
    cluster.api_key(ns, "alice", "")?;
    cluster.apply(&pod(ns, "app", "vectoll.dev/api-key: alice"))?;
    cluster.wait(ns, "condition=Ready", "pod/app")?;
    cluster.call(ns, "app", None, 10)?;
    let bundle = "jsonpath={.items[?(@.metadata.name=='vectoll')].webhooks[0].clientConfig.caBundle}";
    let bundle = || cluster.kubectl(&["get", "mutatingwebhookconfigurations", "-o", bundle]);
    let before = bundle()?;
    ensure!(!before.is_empty(), "the API server knows no CA");
    let upgrade = [
        "upgrade",
        "vectoll",
        "charts/vectoll",
        "--namespace",
        SYSTEM,
        "--wait",
        "--timeout=3m",
        "--values",
        "tests/e2e/values.yaml",
    ];
    cluster.helm(&[&upgrade[..], &["--set", "operator.logFilter=debug"]].concat())?;
    ensure!(bundle()? == before, "the upgrade took the CA away");
    cluster.call(ns, "app", None, 10)?;
    // The Service leads to the new pods a moment after they are ready.
    cluster.until("the webhook to answer", DEADLINE, || {
        Ok(cluster.apply(&pod(ns, "second", "vectoll.dev/api-key: alice")).ok())
    })?;
    cluster.wait(ns, "condition=Ready", "pod/second")?;
    cluster.helm(&["rollback", "vectoll", "1", "--namespace", SYSTEM, "--wait", "--timeout=3m"])?;
    ensure!(bundle()? == before, "the rollback took the CA away");
    cluster.api_key(ns, "bob", "")?;
    cluster.until("a key after the rollback", DEADLINE, || Ok(cluster.value(ns, "bob").ok()))?;

    cluster.helm(&["uninstall", "vectoll", "--namespace", SYSTEM, "--wait", "--timeout=3m"])?;
    // What stays: definitions, resources, keys, configs, and pods that go on calling.
    cluster.call(ns, "app", None, 5)?;
    ensure!(!cluster.value(ns, "alice")?.is_empty());
    let left = cluster.kubectl(&["get", "crds", "-o", "name"])?;
    ensure!(left.matches("vectoll.dev").count() == 3, "{left}");
    // What goes: nothing is injected, nothing is in the way of pods.
    cluster.apply(&pod(ns, "plain", ""))?;
    let inits = cluster.kubectl(&["get", "pod", "plain", "-n", ns, "-o", "jsonpath={.spec.initContainers}"])?;
    ensure!(inits.is_empty(), "{inits}");
    let roles =
        cluster.kubectl(&["get", "clusterroles,clusterrolebindings,validatingadmissionpolicies", "-o", "name"])?;
    ensure!(!roles.contains("vectoll"), "{roles}");
    // And it comes back, over what stayed.
    cluster.helm(&[
        "install",
        "vectoll",
        "charts/vectoll",
        "--namespace",
        SYSTEM,
        "--wait",
        "--timeout=3m",
        "--values",
        "tests/e2e/values.yaml",
    ])?;
    cluster.api_key(ns, "carol", "")?;
    // The Lease outlived the release: whoever goes loses the right to give it back, so it has to run out.
    cluster.until("a key after the return", DEADLINE * 4, || Ok(cluster.value(ns, "carol").ok()))?;
    cluster.call(ns, "app", None, 5).map(|_| ())
}
