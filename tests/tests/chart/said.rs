//! What the chart says of itself is true.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};

use crate::tool::{read, repository};

/// Each value by its path; maps that are empty by default are values, too.
fn leaves(path: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
    match value.as_object() {
        Some(fields) if path.is_empty() || !fields.is_empty() => {
            for (name, field) in fields {
                leaves(&format!("{path}{}{name}", if path.is_empty() { "" } else { "." }), field, found);
            }
        }
        _ => drop(found.insert(path.to_owned(), value.clone())),
    }
}

fn values() -> anyhow::Result<Value> {
    Ok(serde_yaml::from_str(&read(repository("charts/vectoll/values.yaml"))?)?)
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_page_of_values_lists_every_one_with_its_default() -> anyhow::Result<()> {
    let mut expected = BTreeMap::new();
    leaves("", &values()?, &mut expected);
    // Five tables of a few numbers each: the page has them as a sentence, under one name.
    let resources =
        ["gateway.resources", "operator.resources", "report.resources", "sidecar.resources", "valkey.resources"];
    expected.retain(|path, _| !resources.iter().any(|prefix| path.starts_with(prefix)));
    let mut named: BTreeSet<String> = resources.map(str::to_owned).into();
    named.extend(expected.keys().cloned());

    let page = read(repository("charts/vectoll/docs/values.md"))?;
    let table = page.split("\n## ").find(|section| section.starts_with("Values\n")).context("no section on values")?;
    let mut listed = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let (values, defaults) = (quoted(cells[0]), quoted(cells[1]));
        let mut previous = String::new();
        for (index, name) in values.iter().enumerate() {
            // `.tag` stands for the sibling of the one before it.
            let path = match name.strip_prefix('.') {
                Some(last) => format!("{}.{last}", previous.rsplit_once('.').context("a sibling of nothing")?.0),
                None => (*name).to_owned(),
            };
            if let Some(value) = expected.get(&path) {
                let default = defaults.get(if defaults.len() == 1 { 0 } else { index }).context("no default")?;
                let default: Value = serde_yaml::from_str(default)?;
                ensure!(default == *value, "the page says {default} of {path}, the chart {value}");
            }
            ensure!(listed.insert(path.clone()), "{path} stands twice");
            previous = path;
        }
    }
    assert_eq!(listed, named);
    Ok(())
}

#[test]
fn the_schema_knows_every_value_and_nothing_else() -> anyhow::Result<()> {
    fn compare(path: &str, value: &Map<String, Value>, schema: &Value) -> anyhow::Result<()> {
        // What is free inside, such as labels, says so by a reference or lists no properties.
        let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
        ensure!(schema["additionalProperties"] == json!(false), "{path} takes unknown values");
        let known: BTreeSet<&String> = properties.keys().filter(|name| *name != "global").collect();
        if !value.is_empty() {
            assert_eq!(value.keys().collect::<BTreeSet<_>>(), known, "below {path:?}");
        }
        for (name, field) in value {
            if let Some(field) = field.as_object() {
                compare(&format!("{path}/{name}"), field, &properties[name])?;
            }
        }
        Ok(())
    }
    let schema: Value = serde_json::from_str(&read(repository("charts/vectoll/values.schema.json"))?)?;
    compare("", values()?.as_object().context("values are a map")?, &schema)
}

#[test]
fn every_rule_says_why_it_is_there() -> anyhow::Result<()> {
    for file in ["rbac.yaml", "userroles.yaml"] {
        let text = read(repository("charts/vectoll/templates").join(file))?;
        let lines: Vec<&str> = text.lines().collect();
        let begins = |line: &str| ["- apiGroups:", "- nonResourceURLs:"].iter().any(|begin| line.starts_with(begin));
        let rules = lines.iter().enumerate().filter(|(_, line)| begins(line.trim_start()));
        let mut count = 0;
        for (number, rule) in rules {
            let before = lines[number - 1].trim_start();
            assert!(before.starts_with("# "), "{file}:{}: {rule} has no comment", number + 1);
            count += 1;
        }
        assert_eq!(count, text.matches("verbs:").count(), "{file}: a rule is written in another way");
    }
    Ok(())
}

#[test]
fn chart_and_dockerfile_have_the_version_of_the_programs() -> anyhow::Result<()> {
    let chart: Value = serde_yaml::from_str(&read(repository("charts/vectoll/Chart.yaml"))?)?;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((&chart["version"], &chart["appVersion"]), (&json!(version), &json!(version)));
    let dockerfile = read(repository("Dockerfile"))?;
    assert!(dockerfile.contains(&format!("org.opencontainers.image.version=\"{version}\"")), "Dockerfile: {version}");
    let toolchain = read(repository("rust-toolchain.toml"))?;
    let rust = toolchain.split('"').nth(1).context("a channel")?;
    assert!(dockerfile.contains(&format!("RUSTUP_TOOLCHAIN={rust}\n")), "Dockerfile: Rust {rust}");
    Ok(())
}
