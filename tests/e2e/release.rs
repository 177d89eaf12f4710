//! The chart's life: test, upgrade, rollback, uninstall.

use anyhow::{Context, ensure};
use vectoll_tests::documents::block;

use crate::cluster::{Cluster, DEADLINE, START, SYSTEM, pod};

pub fn helm_test(cluster: &Cluster) -> anyhow::Result<()> {
    // As the chart's page says it; the command before it has been run already.
    let commands = block("chart-install")?;
    let test = commands.lines().find(|line| line.starts_with("helm test ")).context("the page has no helm test")?;
    let said = cluster.inside(&["bash", "-euc", &format!("{test} --timeout=2m")], None)?;
    ensure!(said.contains("Succeeded"), "{said}");
    Ok(())
}

/// Pods keep the sidecar that they were made with, serve on through an upgrade, start again, and take edits.
///
/// There is one version of the contract so far, so the older sidecar is the same program under another version's name.
pub fn older_sidecars(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = "e2e-older";
    cluster.namespace(ns)?;
    cluster.api_key(ns, "alice", "")?;
    cluster.tag_image("sidecar", "0.0.1")?;
    // As another user, and asked by a process in its container: what a platform or a mesh may want.
    cluster.release("upgrade", &["--set", "sidecar.image.tag=0.0.1,sidecar.runAsUser=1234,sidecar.probe=Exec"])?;
    // Two operators answer during a rollout, also for a moment after it: one that goes still injects what it knows.
    let start = |name: &str, version: &str| -> anyhow::Result<String> {
        cluster.until(&format!("a pod with the sidecar {version}"), DEADLINE * 3, || {
            cluster.apply(&pod(ns, name, "vectoll.dev/api-key: alice"))?;
            let image = image(cluster, ns, name)?;
            if image.ends_with(&format!(":{version}")) {
                return Ok(Some(image));
            }
            cluster.kubectl(&["delete", "pod", name, "-n", ns, "--now"])?;
            Ok(None)
        })
    };
    let serves = |name: &str| -> anyhow::Result<()> {
        cluster.wait(ns, "condition=Ready", &format!("pod/{name}"))?;
        cluster.call(ns, name, None, 10).map(|_| ())
    };
    let older = start("older", "0.0.1")?;
    serves("older")?;
    let path = "jsonpath={.spec.initContainers[0].securityContext.runAsUser} {.spec.initContainers[0].readinessProbe.exec.command}";
    let said = cluster.kubectl(&["get", "pod", "older", "-n", ns, "-o", path])?;
    ensure!(said == r#"1234 ["/vectoll-sidecar","health"]"#, "{said}");
    cluster.release("upgrade", &[])?;
    start("newer", env!("CARGO_PKG_VERSION"))?;
    serves("newer")?;
    cluster.call(ns, "older", None, 5)?;

    // It starts again as what it was, and an edit reaches both.
    let id = "jsonpath={.status.initContainerStatuses[0].containerID}";
    let id = || cluster.kubectl(&["get", "pod", "older", "-n", ns, "-o", id]);
    let before = id()?;
    cluster.kill_container(before.trim_start_matches("containerd://"))?;
    cluster.until("the older sidecar to start again", START, || Ok((id()? != before).then_some(())))?;
    // With the books that it wrote as that user.
    cluster.call(ns, "older", None, 30)?;
    ensure!(image(cluster, ns, "older")? == older, "the sidecar is another one");
    cluster.api_key(ns, "alice", ", suspended: true")?;
    for name in ["older", "newer"] {
        cluster.until("the suspension", DEADLINE, || {
            let refused = cluster.call(ns, name, None, 0).is_err_and(|error| format!("{error:#}").contains("401"));
            Ok(refused.then_some(()))
        })?;
    }
    Ok(())
}

/// The image of a pod's sidecar.
fn image(cluster: &Cluster, ns: &str, name: &str) -> anyhow::Result<String> {
    cluster.kubectl(&["get", "pod", name, "-n", ns, "-o", "jsonpath={.spec.initContainers[0].image}"])
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
    cluster.release("upgrade", &["--set", "operator.logFilter=debug"])?;
    ensure!(bundle()? == before, "the upgrade took the CA away");
    cluster.call(ns, "app", None, 10)?;
    // The Service leads to the new pods a moment after they are ready.
    cluster.until("the webhook to answer", DEADLINE, || {
        Ok(cluster.apply(&pod(ns, "second", "vectoll.dev/api-key: alice")).ok())
    })?;
    cluster.wait(ns, "condition=Ready", "pod/second")?;
    cluster.helm(&["rollback", "vectoll", "--namespace", SYSTEM, "--wait", "--timeout=3m"])?;
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
    // The API server takes a moment to let go of a policy that was deleted.
    cluster.until("a pod after the uninstall", DEADLINE, || Ok(cluster.apply(&pod(ns, "plain", "")).ok()))?;
    let inits = cluster.kubectl(&["get", "pod", "plain", "-n", ns, "-o", "jsonpath={.spec.initContainers}"])?;
    ensure!(inits.is_empty(), "{inits}");
    let roles =
        cluster.kubectl(&["get", "clusterroles,clusterrolebindings,validatingadmissionpolicies", "-o", "name"])?;
    ensure!(!roles.contains("vectoll"), "{roles}");
    // And it comes back, over what stayed.
    cluster.release("install", &[])?;
    cluster.api_key(ns, "carol", "")?;
    // The Lease outlived the release: whoever goes loses the right to give it back, so it has to run out.
    cluster.until("a key after the return", DEADLINE * 4, || Ok(cluster.value(ns, "carol").ok()))?;
    cluster.call(ns, "app", None, 5).map(|_| ())
}
