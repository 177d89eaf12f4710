//! The pages: every fenced block is run, applied or read by a test, and every link leads somewhere.
//!
//! | block | is |
//! |---|---|
//! | `text` | a picture, or what a command prints: not run, and no command |
//! | `yaml` with `apiVersion` | decoded here, and applied to a real API server by `cel/` |
//! | all others | named (`<!-- run: NAME -->`), and taken by name (`block("NAME")`) by the test that runs it |

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod commands;
mod desk;
mod links;
mod places;
mod plugin;

use std::fs;

use anyhow::ensure;
use serde::Deserialize;
use vectoll_crds::{ApiKey, ModelRoute, Team};
use vectoll_tests::documents::{blocks, files, pages, repository};

/// Programs that pages have readers run.
const PROGRAMS: [&str; 9] =
    ["helm ", "kubectl ", "make ", "curl ", "jq ", "cargo ", "vectoll-operator ", "vectoll-sidecar ", "$ "];

#[test]
fn every_fenced_block_is_claimed() {
    let mut sources = String::new();
    for path in files("rs").unwrap().iter().filter(|path| path.starts_with("tests/")) {
        sources += &fs::read_to_string(repository().join(path)).unwrap();
    }
    let mut wrong = Vec::new();
    for page in pages().unwrap() {
        for block in blocks(&page.text).unwrap_or_else(|error| panic!("{}: {error}", page.path)) {
            let claimed = match (block.language.as_str(), &block.name) {
                (_, Some(name)) => sources.contains(&format!("block({name:?})")),
                ("text", None) => !block
                    .text
                    .lines()
                    .any(|line| PROGRAMS.iter().any(|program| line.trim_start().starts_with(program))),
                ("yaml", None) => documents(&block.text).iter().all(|document| decoded(document).is_ok()),
                _ => false,
            };
            if !claimed {
                wrong.push(format!("{}:{}: {}", page.path, block.line, block.text.lines().next().unwrap_or_default()));
            }
        }
    }
    assert!(wrong.is_empty(), "no test runs these blocks; see the head of this file:\n{}", wrong.join("\n"));
}

/// The documents of a block in YAML.
fn documents(text: &str) -> Vec<serde_yaml::Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| serde_yaml::Value::deserialize(document).unwrap_or_else(|error| panic!("{error}: {text}")))
        .collect()
}

/// Whether a manifest is one of ours that the types take, to the last field.
fn decoded(manifest: &serde_yaml::Value) -> anyhow::Result<()> {
    ensure!(manifest["apiVersion"] == "vectoll.dev/v1alpha1", "not one of ours");
    let manifest = manifest.clone();
    match manifest["kind"].as_str() {
        Some("ApiKey") => drop(serde_yaml::from_value::<ApiKey>(manifest)?),
        Some("Team") => drop(serde_yaml::from_value::<Team>(manifest)?),
        Some("ModelRoute") => drop(serde_yaml::from_value::<ModelRoute>(manifest)?),
        other => anyhow::bail!("no kind of ours: {other:?}"),
    }
    Ok(())
}

#[test]
fn a_manifest_with_a_mistake_is_not_claimed() {
    let of = |text: &str| decoded(&documents(text)[0]);
    of("{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {name: a}, spec: {tags: [b]}}").unwrap();
    assert!(of("{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {name: a}, spec: {tag: [b]}}").is_err());
    assert!(of("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {}}").is_err());
}
