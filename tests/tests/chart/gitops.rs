//! A release that Argo CD or Flux keeps: rendered, applied by server-side apply, lived in, and still as it was rendered.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use vectoll_tests::cluster::Operator;
use vectoll_tests::pair::poll;
use vectoll_tests::store::{PASSWORD, Store, free_port};

use crate::admitted;
use crate::cluster::Cluster;
use crate::health::{self, Health};
use crate::people;
use crate::tool::{NAMESPACE, helm, repository, run};

const MANAGER: &str = "--field-manager=argocd-controller";

/// Resources in every state that is quickly reached, and what is to be said of each.
const RESOURCES: &str = "
{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {name: team}, spec: {}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {name: paused}, spec: {suspended: true}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {name: wrong, annotations: {vectoll.dev/account: nobody}}, spec: {}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {name: alice}, spec: {teamRef: {name: team}}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {name: paused}, spec: {teamRef: {name: team}, suspended: true}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {name: over}, spec: {teamRef: {name: team}, expiresAt: \"2026-01-01T00:00:00Z\"}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {name: orphan}, spec: {teamRef: {name: nobody}}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {name: builtin}, spec: {models: [builtin], backends: [{name: one, builtin: {}}]}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {name: half}, spec: {models: [builtin, other], backends: [{name: one, builtin: {}}]}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {name: metadata}, spec: {models: [far], backends: [{name: one, model: far,
  openAI: {baseURL: 'http://169.254.169.254/v1'}}]}}
";

const FOUND: &[(&str, &str, &str, &str)] = &[
    ("team", "team", "Healthy", "Current"),
    ("team", "paused", "Healthy: Suspended: ", "Current"),
    ("team", "wrong", "Degraded: Invalid: metadata.annotations[vectoll.dev/account]", "Failed"),
    ("apikey", "alice", "Healthy", "Current"),
    ("apikey", "paused", "Healthy: Suspended: ", "Current"),
    ("apikey", "over", "Healthy: Expired: the key expired at 2026-01-01T00:00:00Z", "Current"),
    ("apikey", "orphan", "Degraded: TeamNotFound: ", "InProgress"),
    ("modelroute", "builtin", "Healthy", "Current"),
    ("modelroute", "half", "Healthy: ModelTaken: ", "Current"),
    ("modelroute", "metadata", "Degraded: HostNotAllowed: ", "Failed"),
];

/// What Argo CD and Flux apply: what the chart renders, but for the pod of `helm test`.
fn rendered(values: &str, set: &str) -> anyhow::Result<String> {
    let mut template = helm()?;
    template.args(["template", "vectoll", "--skip-tests", "--kube-version=1.33", "--namespace", NAMESPACE]);
    template.args(["--set", set, "--values"]).arg(repository("tests/chart/values").join(values));
    run(template.arg(repository("charts/vectoll")))?.ok()
}

impl Cluster {
    /// Where the cluster differs from what is rendered, as a tool sees it that applies it again without force.
    fn differs(&self, more: &[&str], manifest: &str) -> anyhow::Result<()> {
        let said = self.kubectl_with(&[&["diff", "--server-side", MANAGER], more].concat(), manifest)?;
        ensure!(said.well && said.out.is_empty(), "the release differs from its chart:\n{}{}", said.out, said.err);
        Ok(())
    }
}

#[test]
fn the_same_values_render_the_same_bytes() -> anyhow::Result<()> {
    for values in ["default.yaml", "everything.yaml"] {
        ensure!(rendered(values, "")? == rendered(values, "")?, "{values}");
    }
    Ok(())
}

#[test]
fn a_release_that_is_applied_stays_as_rendered_and_its_health_is_told() -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    cluster.kubectl(&["create", "namespace", "search"])?.ok()?;
    let manifest = rendered("default.yaml", admitted::SETTINGS)?;
    let apply = ["apply", "--server-side", MANAGER];
    cluster.kubectl_with(&apply, &manifest)?.ok()?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        anyhow::Ok(path)
    };
    let token = cluster.kubectl(&["create", "token", "vectoll", "--namespace", NAMESPACE])?.ok()?;
    let kubeconfig = file("kubeconfig", &cluster.kubeconfig_of(token.trim())?)?;
    let injection = cluster.get(&["configmap", "vectoll-injection", "--namespace", NAMESPACE])?;
    let injection = file("injection.yaml", injection["data"]["injection.yaml"].as_str().context("no settings")?)?;
    let password = file("password", PASSWORD)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (store, port) = (Store::start().await?, free_port()?);
        let arguments = [
            &format!("--webhook-listen=127.0.0.1:{port}"),
            &format!("--injection-config={}", injection.display()),
            &format!("--store-url={}", store.url()),
            "--store-username=default",
            &format!("--store-password-file={}", password.display()),
        ];
        let mut operator = Operator::launch(&kubeconfig, NAMESPACE, "applied", &arguments)?;
        operator.ready().await?;
        cluster.kubectl_with(&["apply", "--namespace=search", "--server-side", MANAGER], RESOURCES)?.ok()?;
        let health = Health::new(&cluster, &store)?;
        for (kind, name, argo, flux) in FOUND {
            let what = format!("{kind} {name} {argo}, {flux}");
            let mut last = None;
            let found = poll::until(&what, Duration::from_mins(1), async || {
                let object = cluster.get(&[kind, name, "--namespace=search"])?;
                let said = health.of(&object).await?;
                // Nothing stands behind a plain word.
                let is_so = if argo.contains(": ") { said.0.starts_with(argo) } else { said.0 == *argo };
                let is_so = is_so && said.1 == *flux;
                last = Some(said);
                Ok(is_so.then_some(()))
            });
            found.await.with_context(|| format!("last: {last:?}\n{}", operator.log()))?;
        }
        health::written(&health, &cluster.get(&["apikey", "alice", "--namespace=search"])?).await?;
        // What the operator has written by now: the CA, its Secrets, the Lease, statuses. And the API server its defaults.
        let webhook = cluster.get(&["mutatingwebhookconfiguration", "vectoll"])?;
        ensure!(webhook["webhooks"][0]["clientConfig"]["caBundle"].is_string(), "no CA was written: {webhook}");
        let made = |kind: &str| anyhow::Ok(names(&cluster.get(&[kind, "--namespace", NAMESPACE])?));
        ensure!(
            made("secrets")?.is_superset(&["vectoll-webhook-tls", "vectoll-store-master"].map(str::to_owned).into())
        );
        ensure!(made("leases")?.contains("vectoll-operator"));
        cluster.differs(&[], &manifest)?;
        cluster.differs(&["--namespace=search"], RESOURCES)?;
        // Applied again without force: nobody else has taken a field, and nothing is taken away.
        cluster.kubectl_with(&apply, &manifest)?.ok()?;
        let after = cluster.get(&["mutatingwebhookconfiguration", "vectoll"])?;
        ensure!(after == webhook, "applying again changed the webhook configuration");
        nothing_of_the_operators_is_the_releases(&cluster)?;
        people::each_role_does_what_it_says(&cluster)?;
        admitted::pods(&cluster, port).with_context(|| operator.log())?;
        ensure!(operator.end(Signal::SIGTERM).await?.success(), "{}", operator.log());
        Ok(())
    })
}

fn names(list: &Value) -> BTreeSet<String> {
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.iter().filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)).collect()
}

/// By the label `app.kubernetes.io/instance` Argo CD may go, and would prune what is not in the chart.
fn nothing_of_the_operators_is_the_releases(cluster: &Cluster) -> anyhow::Result<()> {
    let kinds = "secrets,leases,configmaps,events";
    let found = cluster.get(&[kinds, "--all-namespaces", "--selector=app.kubernetes.io/instance"])?;
    assert_eq!(names(&found), ["vectoll-injection", "vectoll-store"].map(str::to_owned).into());
    Ok(())
}
