//! What the API server itself refuses, and in which words: every rule of the schemas, by YAML cases with the words expected.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use vectoll_tests::{
    cluster::Light,
    documents::{block, blocks, pages},
};

/// One case: a kind, a spec in YAML, and what the API server is to say. No words: it is to take it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    kind: String,
    spec: serde_yaml::Value,
    #[serde(default)]
    refused: Option<String>,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cel");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let of_file: Vec<Case> =
                serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            cases.extend(of_file);
        }
    }
    cases
}

#[test]
fn the_api_server_refuses_what_it_should_and_says_why() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let light = runtime.block_on(Light::start()).unwrap();
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() > 30, "only {} cases were found", cases.len());
    for case in &cases {
        let object = serde_json::json!({
            "apiVersion": "vectoll.dev/v1alpha1", "kind": case.kind,
            "metadata": {"name": "case", "namespace": "default"}, "spec": case.spec,
        });
        let arguments = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
        let said = light.kubectl(&arguments, Some(&object.to_string())).map_err(|error| format!("{error:#}"));
        match (&case.refused, said) {
            (None, Ok(_)) => {}
            (None, Err(said)) => wrong.push(format!("{}: refused: {said}", case.name)),
            (Some(words), Err(said)) if said.contains(words) => {}
            (Some(words), Err(said)) => wrong.push(format!("{}: expected {words:?}, got: {said}", case.name)),
            (Some(_), Ok(_)) => wrong.push(format!("{}: taken", case.name)),
        }
    }
    for folder in ["quickstart", "providers", "reference"] {
        for example in std::fs::read_dir(examples().join(folder)).unwrap() {
            let path = example.unwrap().path();
            let manifest = std::fs::read_to_string(&path).unwrap();
            let arguments = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
            if let Err(said) = light.kubectl(&arguments, Some(&manifest)) {
                wrong.push(format!("{}: refused: {said:#}", path.display()));
            }
        }
    }
    wrong.extend(of_the_pages(&light));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The manifests on the pages, and what is refused of them.
fn of_the_pages(light: &Light) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut manifests = vec![("the pod template".to_owned(), deployment().to_string())];
    for page in pages().unwrap() {
        for block in blocks(&page.text).unwrap() {
            if block.language == "yaml" && block.name.is_none() {
                manifests.push((format!("{}:{}", page.path, block.line), block.text));
            }
        }
    }
    assert!(manifests.len() > 8, "only {} manifests were found", manifests.len());
    for (at, manifest) in manifests {
        for document in serde_yaml::Deserializer::from_str(&manifest) {
            let object = serde_json::Value::deserialize(document).unwrap();
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
            light.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}")).unwrap();
            let arguments = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
            if let Err(said) = light.kubectl(&arguments, Some(&object.to_string())) {
                wrong.push(format!("{at}: refused: {said:#}"));
            }
        }
    }
    wrong
}

/// The pod template that the page on injection shows, in a Deployment.
fn deployment() -> serde_json::Value {
    let shown: serde_json::Value = serde_yaml::from_str(&block("pod-template").unwrap()).unwrap();
    let mut template = shown["template"].clone();
    template["metadata"]["labels"]["app"] = "app".into();
    serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "app"}}, "template": template},
    })
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/examples")
}

/// A rule without a case is a rule that nobody has seen at work.
#[test]
fn every_rule_has_a_case() {
    fn messages(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, inner) in fields {
                    if name == "x-kubernetes-validations" {
                        let rules = inner.as_array().into_iter().flatten();
                        found.extend(rules.filter_map(|rule| rule["message"].as_str().map(str::to_owned)));
                    }
                    messages(inner, found);
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| messages(item, found)),
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_) => {}
        }
    }
    let mut rules = BTreeSet::new();
    for crd in vectoll_crds::definitions() {
        messages(&serde_json::to_value(crd).unwrap(), &mut rules);
    }
    assert!(rules.len() >= 8, "{rules:?}");
    let cases = cases();
    let uncovered: Vec<&String> = rules
        .iter()
        .filter(|rule| {
            !cases.iter().any(|case| case.refused.as_ref().is_some_and(|words| rule.contains(words.as_str())))
        })
        .collect();
    assert!(uncovered.is_empty(), "no case for: {uncovered:?}");
}
