//! The files that the chart ships: rules, and panels of dashboards.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use serde_json::Value;
use vectoll_tests::documents::repository;

/// A rule of Prometheus.
pub struct Rule {
    /// The alert's name, or that of the series that is recorded.
    pub name: String,
    /// Whether it is an alert.
    pub is_alert: bool,
    pub expr: String,
    /// All of it.
    pub whole: Value,
}

/// A query of a panel or of a variable.
pub struct Query {
    /// Dashboard, and panel or variable.
    pub place: String,
    pub expr: String,
    /// How its series are called.
    pub legend: String,
}

/// Files with this extension of a folder of the chart.
pub fn paths(folder: &str, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let folder = repository().join("charts/vectoll/files").join(folder).canonicalize()?;
    let mut found = Vec::new();
    for entry in folder.read_dir()? {
        found.push(entry?.path());
    }
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    found.sort();
    ensure!(found.len() >= 3, "{}: {found:?}", folder.display());
    Ok(found)
}

pub fn yaml(path: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_yaml::from_str(&text).with_context(|| path.display().to_string())
}

/// A list in JSON; empty where there is none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub fn rules() -> anyhow::Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for path in paths("rules", "yaml")? {
        for whole in list(&yaml(&path)?["groups"]).iter().flat_map(|group| list(&group["rules"])) {
            let is_alert = whole["alert"].is_string();
            let name = text(&whole[if is_alert { "alert" } else { "record" }]);
            rules.push(Rule { name, is_alert, expr: text(&whole["expr"]), whole: whole.clone() });
        }
    }
    Ok(rules)
}

pub fn dashboards() -> anyhow::Result<Vec<Value>> {
    let read = |path: PathBuf| -> anyhow::Result<Value> { Ok(serde_json::from_str(&fs::read_to_string(path)?)?) };
    paths("dashboards", "json")?.into_iter().map(read).collect()
}

/// All queries of all panels.
pub fn queries() -> anyhow::Result<Vec<Query>> {
    let mut queries = Vec::new();
    for dashboard in dashboards()? {
        for panel in list(&dashboard["panels"]) {
            for target in list(&panel["targets"]) {
                let place = format!("{} / {}", text(&dashboard["title"]), text(&panel["title"]));
                queries.push(Query { place, expr: text(&target["expr"]), legend: text(&target["legendFormat"]) });
            }
        }
    }
    Ok(queries)
}

/// The names of series in an expression: all of them are ours.
pub fn series(expr: &str) -> BTreeSet<String> {
    let words = expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.starts_with("vectoll_") || word.starts_with("vectoll:")).map(str::to_owned).collect()
}
