//! Resources as YAML, to be read by people.

use serde_json::{Value, json};

use super::{notes::Notes, secrets::Secrets};

/// Resources of a namespace, in the order in which they are written.
#[derive(Debug)]
pub(super) struct Manifests {
    namespace: String,
    all: Vec<Value>,
}

impl Manifests {
    /// None yet.
    pub(super) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), all: Vec::new() }
    }

    /// Adds one.
    pub(super) fn add(&mut self, kind: &str, name: &str, spec: &Value) {
        self.all.push(json!({
            "apiVersion": "vectoll.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }));
    }

    /// All of them, below what is to be done before they are applied.
    pub(super) fn text(&self, secrets: &Secrets, notes: &Notes) -> Result<String, serde_yaml::Error> {
        let count = |kind: &str| self.all.iter().filter(|one| one["kind"] == kind).count();
        let (routes, teams, keys) = (count("ModelRoute"), count("Team"), count("ApiKey"));
        let mut text = format!(
            "# Imported from LiteLLM: {routes} ModelRoutes, {teams} Teams, {keys} ApiKeys. Review them before you apply them.\n# What was \
             spent so far is not carried over: budgets begin with their full amounts.\n"
        );
        let mut section = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                text.extend(["#\n# ", title, "\n"]);
                for line in lines {
                    text.extend(["#   ", &one_line(&line), "\n"]);
                }
            }
        };
        section("Make these Secrets first:", secrets.commands(&self.namespace));
        section("To be decided by you:", notes.iter().map(|note| format!("- {note}")).collect());
        for one in &self.all {
            text += "---\n";
            text += &serde_yaml::to_string(&ordered(one)?)?;
        }
        Ok(text)
    }
}

/// A text that ends no comment: what callers and teams wrote stands in it.
fn one_line(text: &str) -> String {
    let ends_a_line = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}');
    text.chars().map(|letter| if ends_a_line(letter) { ' ' } else { letter }).collect()
}

/// What people look for first stands first.
const FIRST: [&str; 12] = [
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "name",
    "displayName",
    "teamRef",
    "user",
    "keyHash",
    "models",
    "model",
    "limit",
];

/// The same with each mapping's fields in the order in which they are read.
fn ordered(value: &Value) -> Result<serde_yaml::Value, serde_yaml::Error> {
    if let Some(all) = value.as_array() {
        return all.iter().map(ordered).collect();
    }
    let Some(fields) = value.as_object() else { return serde_yaml::to_value(value) };
    let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    let ordered = fields.into_iter().map(|(name, value)| Ok((name.as_str().into(), ordered(value)?)));
    Ok(serde_yaml::Value::Mapping(ordered.collect::<Result<_, serde_yaml::Error>>()?))
}
