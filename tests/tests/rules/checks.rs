//! What can be judged without a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context, ensure};
use vectoll_tests::documents::repository;

use crate::files::{dashboards, list, paths, queries, rules, series, text, yaml};

fn promtool(arguments: &[&str], files: &[PathBuf]) -> anyhow::Result<()> {
    let output = Command::new("promtool")
        .args(arguments)
        .args(files)
        .output()
        .context("missing: promtool (Debian: apt-get install prometheus)")?;
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    ensure!(output.status.success(), "promtool {arguments:?}: {said}");
    Ok(())
}

#[test]
fn promtool_finds_nothing_wrong() -> anyhow::Result<()> {
    promtool(&["check", "rules", "--lint-fatal"], &paths("rules", "yaml")?)
}

#[test]
fn alerts_fire_when_they_should_and_not_else() -> anyhow::Result<()> {
    promtool(&["test", "rules"], &paths("rules/tests", "yaml")?)
}

/// Each alert has a case in which it fires and one in which it does not; where it fires, the words are compared.
#[test]
fn every_alert_has_a_case_of_both_kinds() -> anyhow::Result<()> {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for path in paths("rules/tests", "yaml")? {
        for case in list(&yaml(&path)?["tests"]).iter().flat_map(|test| list(&test["alert_rule_test"])) {
            let (name, expected) = (text(&case["alertname"]), list(&case["exp_alerts"]));
            for alert in expected {
                ensure!(alert["exp_annotations"]["summary"].is_string(), "{name}: no words are expected");
            }
            if expected.is_empty() {
                silent.insert(name)
            } else {
                fires.insert(name)
            };
        }
    }
    let mut severities: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rule in rules()?.into_iter().filter(|rule| rule.is_alert) {
        severities.entry(rule.name).or_default().insert(text(&rule.whole["labels"]["severity"]));
    }
    let alerts: BTreeSet<String> = severities.keys().cloned().collect();
    ensure!(alerts.len() > 25, "{alerts:?}");
    assert_eq!(fires, alerts, "fires in a test");
    assert_eq!(silent, alerts, "is silent in a test");
    Ok(())
}

#[test]
fn every_alert_says_what_it_is_and_what_to_do() -> anyhow::Result<()> {
    let page = fs::read_to_string(repository().join("charts/vectoll/docs/alerts.md"))?;
    let sections: BTreeMap<&str, &str> =
        page.split("\n### ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    let mut alerts = BTreeSet::new();
    let rules = rules()?;
    for rule in rules.iter().filter(|rule| rule.is_alert) {
        let (name, notes) = (&rule.name, &rule.whole["annotations"]);
        for note in ["summary", "description"] {
            ensure!(notes[note].as_str().is_some_and(|text| text.len() > 15), "{name} has no {note}");
        }
        assert_eq!(notes["runbook"], format!("docs/alerts.md#{}", name.to_lowercase()));
        let section = sections.get(&**name).with_context(|| format!("alerts.md has no section {name}"))?;
        ensure!(section.contains("- Means: ") && section.contains("- Do: "), "alerts.md says too little of {name}");
        let severity = text(&rule.whole["labels"]["severity"]);
        ensure!(["info", "warning", "critical"].contains(&&*severity), "{name}: severity {severity}");
        alerts.insert(&**name);
    }
    assert_eq!(sections.into_keys().collect::<BTreeSet<_>>(), alerts, "sections of alerts.md");
    Ok(())
}

#[test]
fn every_panel_has_a_title_a_unit_and_a_description() -> anyhow::Result<()> {
    let mut titles = BTreeSet::new();
    for dashboard in dashboards()? {
        let name = text(&dashboard["title"]);
        let places: Vec<_> = list(&dashboard["panels"]).iter().map(|panel| panel["gridPos"].to_string()).collect();
        assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), places.len(), "{name}: panels cover each other");
        for panel in list(&dashboard["panels"]) {
            let title = text(&panel["title"]);
            let unit = &panel["fieldConfig"]["defaults"]["unit"];
            ensure!(!title.is_empty() && unit.is_string(), "{name}: {title}: {unit}");
            ensure!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{name}: {title}");
            ensure!(!list(&panel["targets"]).is_empty(), "{name}: {title} asks nothing");
            ensure!(titles.insert((name.clone(), title.clone())), "{name}: {title} is there twice");
        }
        // Every variable is used, and every one that is used is there.
        let panels = dashboard["panels"].to_string();
        let known: BTreeSet<String> =
            list(&dashboard["templating"]["list"]).iter().map(|variable| text(&variable["name"])).collect();
        for variable in &known {
            ensure!(
                panels.contains(&format!("${variable}")) || panels.contains(&format!("${{{variable}}}")),
                "{name}: nobody uses ${variable}"
            );
        }
        for used in panels.split("=~\\\"$").skip(1).filter_map(|rest| rest.split('\\').next()) {
            ensure!(known.contains(used), "{name}: there is no ${used}");
        }
    }
    ensure!(titles.len() > 30, "{titles:?}");
    Ok(())
}

/// What rules record is used, and what is used of it is recorded.
#[test]
fn recorded_series_are_used() -> anyhow::Result<()> {
    let rules = rules()?;
    let recorded: BTreeSet<&str> = rules.iter().filter(|rule| !rule.is_alert).map(|rule| &*rule.name).collect();
    let of_panels = queries()?.into_iter().map(|query| query.expr);
    let used: BTreeSet<String> =
        rules.iter().map(|rule| rule.expr.clone()).chain(of_panels).flat_map(|expr| series(&expr)).collect();
    let used: BTreeSet<&str> = used.iter().map(String::as_str).filter(|name| name.contains(':')).collect();
    assert_eq!(used, recorded);
    Ok(())
}
