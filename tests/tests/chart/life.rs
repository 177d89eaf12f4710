//! From `helm install` to `helm uninstall`, and again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

use crate::cluster::{Cluster, RESTRICTED, eventually};
use crate::tool::{NAMESPACE, helm, read, repository, run};

const CRDS: [&str; 3] = ["apikeys.vectoll.dev", "modelroutes.vectoll.dev", "teams.vectoll.dev"];

impl Cluster {
    /// Helm on the release `vectoll`, with a chart, by default the repository's.
    fn release(&self, verb: &str, chart: &Path, more: &[&str]) -> anyhow::Result<String> {
        self.helm(&[&[verb, "vectoll", &chart.display().to_string()], more].concat())?.ok()
    }

    fn webhook(&self) -> anyhow::Result<Value> {
        Ok(self.get(&["mutatingwebhookconfiguration", "vectoll"])?["webhooks"][0].clone())
    }

    /// What the release made, by kind and name, with what the API server counts up at each write: the version, or, where
    /// controllers write a status, the generation of the rest.
    fn objects(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let kinds = [
            "crds,mutatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings",
            "clusterroles,clusterrolebindings,roles,rolebindings,serviceaccounts,configmaps,services",
            "deployments,statefulsets,poddisruptionbudgets,networkpolicies",
        ];
        let found =
            self.get(&[&kinds.join(","), "--all-namespaces", "--selector=app.kubernetes.io/instance=vectoll"])?;
        let items = found["items"].as_array().context("no list")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let counted = |object: &Value| match object["metadata"]["generation"].as_i64() {
            Some(generation) if object["status"].is_object() => generation.to_string(),
            Some(_) | None => text(&object["metadata"]["resourceVersion"]),
        };
        let named = |object: &Value| format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]));
        let found = items.iter().map(|object| (named(object), counted(object))).collect();
        Ok(found)
    }
}

/// As the operator writes its CA: as itself, by server-side apply.
fn ca_written(cluster: &Cluster) -> anyhow::Result<()> {
    let manifest = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "vectoll"},
        "webhooks": [{"name": "inject.vectoll.dev", "clientConfig": {"caBundle": "Y2E="}}],
    });
    let apply = [
        "apply",
        "--server-side",
        "--field-manager=vectoll-operator",
        "--as=system:serviceaccount:vectoll-system:vectoll",
        // A webhook without the fields that are Helm's is not one by itself.
        "--validate=false",
    ];
    cluster.kubectl_with(&apply, &manifest.to_string())?.ok()?;
    assert_eq!(cluster.webhook()?["clientConfig"]["caBundle"], "Y2E=");
    Ok(())
}

/// The chart with another text in one definition, as a later version might have it.
fn later_chart(folder: &Path) -> anyhow::Result<()> {
    let copied = run(std::process::Command::new("cp").arg("-r").arg(repository("charts/vectoll")).arg(folder))?;
    copied.ok()?;
    let path = folder.join("vectoll/files/crds/vectoll.dev_teams.yaml");
    let text = read(&path)?;
    let later = text.replacen("description: A Team", "description: (later) A Team", 1);
    assert_ne!(text, later);
    fs::write(path, later).context("failed to write the definition")
}

fn team_definition(cluster: &Cluster) -> anyhow::Result<Value> {
    let crd = cluster.get(&["crd", "teams.vectoll.dev"])?;
    Ok(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"].clone())
}

#[test]
fn a_release_lives_from_install_to_uninstall_and_again() -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    let chart = repository("charts/vectoll");
    let notes = cluster.release("install", &chart, &[])?;
    for words in [
        "kind: ApiKey",
        "vectoll.dev/inject: \"true\"",
        "StatefulSet vectoll-store",
        "DeliveryUnconfirmed",
        "helm test",
    ] {
        assert!(notes.contains(words), "the notes lack {words}: {notes}");
    }
    the_commands_of_the_notes_work(&cluster, &notes)?;
    pods_start_where_only_restricted_ones_may(&cluster)?;
    ca_written(&cluster)?;

    // What the notes say of the store depends on which there is.
    let without = cluster.release("upgrade", &chart, &["--set=store.enabled=false"])?;
    assert!(without.contains("PerSidecar"), "{without}");
    assert!(!cluster.objects()?.contains_key("StatefulSet vectoll-store"));
    let own = cluster.release("upgrade", &chart, &["--set=store.url=redis://valkey.example,store.onFailure=Closed"])?;
    assert!(own.contains("redis://valkey.example") && own.contains("limited calls are refused"), "{own}");
    assert!(!cluster.objects()?.contains_key("StatefulSet vectoll-store"));
    cluster.release("upgrade", &chart, &["--reset-values"])?;
    assert!(cluster.objects()?.contains_key("StatefulSet vectoll-store"));

    // Nothing changed, so nothing is written.
    let before = cluster.objects()?;
    assert!(before.len() > 15, "{before:?}");
    cluster.release("upgrade", &chart, &[])?;
    assert_eq!(cluster.objects()?, before);

    // An upgrade, of the definitions too. The CA is not Helm's.
    let folder = tempfile::tempdir()?;
    later_chart(folder.path())?;
    let first = team_definition(&cluster)?;
    let later = folder.path().join("vectoll");
    cluster.release(
        "upgrade",
        &later,
        &["--set=operator.replicas=3,webhook.timeoutSeconds=7,sidecar.logFilter=debug"],
    )?;
    let second = team_definition(&cluster)?;
    assert_eq!(second, json!(format!("(later) {}", first.as_str().context("a text")?)));
    let webhook = cluster.webhook()?;
    assert_eq!((&webhook["timeoutSeconds"], &webhook["clientConfig"]["caBundle"]), (&json!(7), &json!("Y2E=")));
    let deployment =
        |path: &str| anyhow::Ok(cluster.get(&["deployment", "vectoll", "-n", NAMESPACE])?.pointer(path).cloned());
    let checksum = "/spec/template/metadata/annotations/checksum~1injection";
    let (replicas, settings) = (deployment("/spec/replicas")?, deployment(checksum)?);
    assert_eq!(replicas, Some(json!(3)));

    cluster.helm(&["rollback", "vectoll", "1"])?.ok()?;
    assert_eq!(team_definition(&cluster)?, first);
    let webhook = cluster.webhook()?;
    assert_eq!((&webhook["timeoutSeconds"], &webhook["clientConfig"]["caBundle"]), (&json!(5), &json!("Y2E=")));
    assert_eq!(deployment("/spec/replicas")?, Some(json!(2)));
    assert_ne!(deployment(checksum)?, settings, "other injection settings are a rollout");

    // The definitions stay, even if they are no longer asked for, and with them the resources.
    cluster.release("upgrade", &chart, &["--set=crds.install=false"])?;
    cluster.release("upgrade", &chart, &[])?;
    cluster.helm(&["uninstall", "vectoll"])?.ok()?;
    let left: BTreeSet<String> = cluster.objects()?.into_keys().collect();
    assert_eq!(left, CRDS.map(|name| format!("CustomResourceDefinition {name}")).into());
    cluster.get(&["apikey", "app", "--namespace=default"])?;

    // Again, under the same name; then under another one, which is told whose the definitions are.
    cluster.release("install", &chart, &[])?;
    cluster.helm(&["uninstall", "vectoll"])?.ok()?;
    let another = ["install", "another", &chart.display().to_string()];
    let said = cluster.helm(&another)?.refused()?;
    assert!(said.contains("cannot be imported into the current release"), "{said}");
    cluster.helm(&[&another[..], &["--take-ownership"]].concat())?.ok()?;
    cluster.helm(&["uninstall", "another"])?.ok()?;
    cluster.helm(&[&another[..], &["--set=crds.install=false"]].concat())?.ok()?;
    cluster.get(&["apikey", "app", "--namespace=default"])?;
    cluster.helm(&["uninstall", "another"])?.ok()?;

    // What the page on upgrades says of Helm without server-side apply.
    cluster.release("install", &chart, &["--take-ownership", "--server-side=false"])?;
    ca_written(&cluster)?;
    cluster.release("upgrade", &chart, &["--server-side=false", "--set=webhook.timeoutSeconds=7"])?;
    let webhook = cluster.webhook()?;
    assert_eq!((&webhook["timeoutSeconds"], &webhook["clientConfig"]["caBundle"]), (&json!(7), &json!("Y2E=")));
    Ok(())
}

/// What stands between `kubectl apply … <<END` and `END`.
fn the_commands_of_the_notes_work(cluster: &Cluster, notes: &str) -> anyhow::Result<()> {
    let manifest =
        notes.split("<<END\n").nth(1).and_then(|rest| rest.split("\nEND\n").next()).context("no manifest")?;
    cluster.kubectl_with(&["apply", "--namespace=default"], manifest)?.ok()?;
    // kubectl learns of categories as the API server finds the definitions served.
    eventually("what was applied, under its category", || {
        let made = cluster.kubectl(&["get", "vectoll", "--namespace=default", "--output=name"])?;
        let made: BTreeSet<&str> = made.out.lines().collect();
        Ok(made == ["apikey.vectoll.dev/app", "modelroute.vectoll.dev/builtin", "team.vectoll.dev/search"].into())
    })
}

/// The Deployment's pods come to be in a namespace that enforces `restricted`: its `ReplicaSet` would say so otherwise.
fn pods_start_where_only_restricted_ones_may(cluster: &Cluster) -> anyhow::Result<()> {
    let namespace = cluster.get(&["namespace", NAMESPACE])?;
    let enforced = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert!(RESTRICTED.contains("enforce: restricted") && enforced == "restricted", "{namespace}");
    eventually("two pods", || {
        let pods =
            cluster.get(&["pods", "--namespace", NAMESPACE, "--selector=app.kubernetes.io/component=operator"])?;
        Ok(pods["items"].as_array().is_some_and(|pods| pods.len() == 2))
    })
}

#[test]
fn a_chart_archive_holds_what_the_folder_holds() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let chart = repository("charts/vectoll");
    run(helm()?.arg("package").arg(&chart).arg("--destination").arg(folder.path()))?.ok()?;
    let archive = folder.path().join(concat!("vectoll-", env!("CARGO_PKG_VERSION"), ".tgz"));
    let template = |chart: &Path| run(helm()?.args(["template", "vectoll", "--kube-version=1.33"]).arg(chart))?.ok();
    assert_eq!(template(&archive)?, template(&chart)?);
    Ok(())
}
