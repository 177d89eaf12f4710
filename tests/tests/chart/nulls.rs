//! Values that are missing: set to null, or unknown to the release that is upgraded.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::tool::{NAMESPACE, helm, read, repository, run};

/// What the chart renders with these settings.
fn rendered(values: &Path, settings: &[String]) -> anyhow::Result<String> {
    let mut template = helm()?;
    template.args(["template", "vectoll"]).arg(repository("charts/vectoll"));
    template.args(["--namespace", NAMESPACE, "--kube-version", "1.33", "--values"]).arg(values);
    for setting in settings {
        template.args(["--set", setting]);
    }
    run(&mut template)?.ok()
}

#[test]
fn the_defaults_of_missing_values_are_those_of_the_chart() -> anyhow::Result<()> {
    let (values, defaults) = ("charts/vectoll/values.yaml", "charts/vectoll/files/defaults.yaml");
    ensure!(read(repository(values))? == read(repository(defaults))?, "{defaults} is not {values}: make generate");
    Ok(())
}

/// Each value by itself is as good as not set; but for the users, which null leaves to the platform, and what is the user's own map.
#[test]
fn a_value_that_is_null_is_its_default() -> anyhow::Result<()> {
    let file = repository("charts/vectoll/values.yaml");
    let values: Value = serde_yaml::from_str(&read(&file)?)?;
    // With everything on that a value could be needed for.
    let monitors = repository("tests/chart/values/monitors-and-network-policy.yaml");
    let usual = rendered(&monitors, &[])?;
    let given: Value = serde_yaml::from_str(&read(&monitors)?)?;
    let mut count = 0;
    for (name, value) in values.as_object().context("a map")? {
        let inner = value.as_object().into_iter().flatten().map(|(inner, _)| format!("{name}.{inner}"));
        for path in [name.clone()].into_iter().chain(inner) {
            count += 1;
            let text = rendered(&monitors, &[format!("{path}=null")]).with_context(|| format!("{path}=null"))?;
            let pointer = format!("/{}", path.replace('.', "/"));
            let differs = path.ends_with(".runAsUser") || given.pointer(&pointer).is_some();
            ensure!(differs || text == usual, "{path}=null is not the default");
        }
    }
    ensure!(count > 80, "{count} values");
    Ok(())
}

#[test]
fn all_of_it_null_is_the_default_chart() -> anyhow::Result<()> {
    let default = repository("tests/chart/values/default.yaml");
    let values: Value = serde_yaml::from_str(&read(repository("charts/vectoll/values.yaml"))?)?;
    let all: Vec<String> = values.as_object().context("a map")?.keys().map(|name| format!("{name}=null")).collect();
    ensure!(rendered(&default, &all)? == rendered(&default, &[])?);
    Ok(())
}

/// `OpenShift`'s admission refuses a pod that names a user outside the namespace's range.
#[test]
fn a_user_that_is_null_is_left_to_the_platform() -> anyhow::Result<()> {
    let names = ["operator", "sidecar", "valkey", "test"];
    let nulls: Vec<String> = names.iter().map(|name| format!("{name}.runAsUser=null")).collect();
    let text = rendered(&repository("tests/chart/values/default.yaml"), &nulls)?;
    let found: BTreeSet<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| ["runAsUser", "runAsGroup", "fsGroup"].iter().any(|field| line.starts_with(field)))
        .collect();
    // The injection's settings, in which null says so.
    assert_eq!(found, ["runAsUser: null"].into());
    assert_eq!(text.matches("runAsNonRoot: true").count(), 3);
    Ok(())
}

/// The chart of before: its values know nothing of what has come since.
fn older_chart(folder: &Path) -> anyhow::Result<()> {
    run(Command::new("cp").arg("-r").arg(repository("charts/vectoll")).arg(folder))?.ok()?;
    let chart = folder.join("vectoll");
    std::fs::copy(repository("tests/chart/older-values.yaml"), chart.join("values.yaml"))?;
    std::fs::copy(repository("tests/chart/older-values.yaml"), chart.join("files/defaults.yaml"))?;
    std::fs::remove_file(chart.join("values.schema.json"))?;
    // Templates that ask for no more than those values have.
    for entry in std::fs::read_dir(chart.join("templates"))? {
        let path = entry?.path();
        let keep = ["_helpers.tpl", "serviceaccount.yaml"];
        if !path.file_name().and_then(|name| name.to_str()).is_some_and(|name| keep.contains(&name)) {
            if path.is_dir() { std::fs::remove_dir_all(&path)? } else { std::fs::remove_file(&path)? }
        }
    }
    Ok(())
}

/// `--reuse-values` gives the new templates the old release's values and nothing else.
#[test]
fn a_release_of_an_older_chart_is_upgraded_with_its_own_values() -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    let folder = tempfile::tempdir()?;
    older_chart(folder.path())?;
    let older = folder.path().join("vectoll").display().to_string();
    let chart = repository("charts/vectoll").display().to_string();
    cluster.helm(&["install", "vectoll", &older, "--set=operator.replicas=1,sidecar.logFilter=debug"])?.ok()?;
    cluster.helm(&["upgrade", "vectoll", &chart, "--reuse-values"])?.ok()?;
    let deployment = cluster.get(&["deployment", "vectoll", "--namespace", NAMESPACE])?;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(deployment["spec"]["replicas"], 1);
    let arguments = container["args"].as_array().context("no arguments")?;
    ensure!(arguments.iter().any(|one| one == "--metrics-authentication"), "{arguments:?}");
    let injection = cluster.get(&["configmap", "vectoll-injection", "--namespace", NAMESPACE])?;
    let injection = injection["data"]["injection.yaml"].as_str().context("no settings")?;
    ensure!(injection.contains("logFilter: \"debug\"") && injection.contains("probe: Auto"), "{injection}");
    // A user that the older chart did not know is not one that somebody has set to null.
    let users = || {
        let found = cluster.get(&["deployment,statefulset", "--namespace", NAMESPACE])?;
        let items = found["items"].as_array().context("no list")?;
        let user = |item: &Value| item["spec"]["template"]["spec"]["securityContext"]["runAsUser"].clone();
        let mut users: Vec<Value> = items.iter().map(user).collect();
        let injection = cluster.get(&["configmap", "vectoll-injection", "--namespace", NAMESPACE])?;
        let injection: Value = serde_yaml::from_str(injection["data"]["injection.yaml"].as_str().context("none")?)?;
        users.push(injection["runAsUser"].clone());
        anyhow::Ok(users)
    };
    let (ours, none) = (json!(65532), Value::Null);
    assert_eq!(users()?, [ours.clone(), ours.clone(), ours.clone()]);
    // One that is null stays so, also when it is said with the upgrade itself, or later not at all.
    cluster.helm(&["rollback", "vectoll", "1"])?.ok()?;
    // Helm hands on a null of what the older values lack: it is refused by its name.
    let said =
        cluster.helm(&["upgrade", "vectoll", &chart, "--reuse-values", "--set=sidecar.probe=null"])?.refused()?;
    ensure!(said.contains("at '/sidecar/probe'"), "{said}");
    cluster.helm(&["upgrade", "vectoll", &chart, "--reuse-values", "--set=sidecar.runAsUser=null"])?.ok()?;
    assert_eq!(users()?, [ours.clone(), ours.clone(), none.clone()]);
    cluster.helm(&["upgrade", "vectoll", &chart, "--reset-values", "--set=operator.runAsUser=null"])?.ok()?;
    cluster.helm(&["upgrade", "vectoll", &chart, "--reuse-values", "--set=operator.replicas=1"])?.ok()?;
    assert_eq!(users()?, [none, ours.clone(), ours]);
    Ok(())
}
