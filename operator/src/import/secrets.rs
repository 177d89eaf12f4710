//! Credentials: LiteLLM's config names environment variables, or holds them in plain text. Neither is repeated.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{fields::Fields, names::label, notes::Notes};

/// How LiteLLM's config names an environment variable.
const ENVIRONMENT: &str = "os.environ/";

/// The Secrets that routes will read, by name, and where their entries' values come from.
#[derive(Debug, Default)]
pub(super) struct Secrets(BTreeMap<String, BTreeMap<&'static str, String>>);

impl Secrets {
    /// Takes a credential's field, and names the Secret that is to hold it under `entry`. `owner` is what it is called after where it is in
    /// plain text. None: there is no such field.
    pub(super) fn of(
        &mut self,
        fields: &mut Fields,
        name: &str,
        entry: &'static str,
        owner: &str,
        notes: &mut Notes,
    ) -> Option<String> {
        let place = fields.place(name);
        let value = fields.take(name)?;
        // A key of Google's may stand there as the object that it is.
        let text = value.as_str().unwrap_or_default();
        let (secret, source) = if let Some(variable) = text.strip_prefix(ENVIRONMENT) {
            (label(variable), format!("\"${variable}\""))
        } else {
            notes.add(&place, "stands in the config in plain text: give it another value once all of it has moved");
            (label(&format!("{owner}-credential")), format!("'<{place}>'"))
        };
        let secret = self.free(secret, entry, &source);
        self.0.entry(secret.clone()).or_default().insert(entry, source);
        Some(secret)
    }

    /// This name, or one with a number behind it where another value has it.
    fn free(&self, name: String, entry: &str, source: &str) -> String {
        let is_free = |name: &String| {
            self.0.get(name).and_then(|entries| entries.get(entry)).is_none_or(|present| present == source)
        };
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name)
    }

    /// The same as a reference to its entry `key`, as most providers want it.
    pub(super) fn key(&mut self, fields: &mut Fields, name: &str, owner: &str, notes: &mut Notes) -> Option<Value> {
        self.of(fields, name, "key", owner, notes).map(|secret| json!({"name": secret}))
    }

    /// Takes a field whose credential stands beside another one, in that one's Secret.
    pub(super) fn beside(
        &mut self,
        fields: &mut Fields,
        name: &str,
        (secret, entry): (&str, &'static str),
        notes: &mut Notes,
    ) {
        let mut other = Self::default();
        if other.of(fields, name, entry, secret, notes).is_some() {
            let sources = other.0.into_values().flatten();
            self.0.entry(secret.to_owned()).or_default().extend(sources);
        }
    }

    /// The commands that make them.
    pub(super) fn commands(&self, namespace: &str) -> Vec<String> {
        let command = |(name, entries): (&String, &BTreeMap<&str, String>)| {
            let literals: Vec<String> =
                entries.iter().map(|(entry, source)| format!("--from-literal={entry}={source}")).collect();
            format!("kubectl -n {namespace} create secret generic {name} {}", literals.join(" "))
        };
        self.0.iter().map(command).collect()
    }
}

/// A text that may be an environment variable's name: what is no secret is wanted as it is.
pub(super) fn plain(fields: &mut Fields, name: &str, notes: &mut Notes) -> Option<String> {
    let text = fields.text(name, notes)?;
    let Some(variable) = text.strip_prefix(ENVIRONMENT) else { return Some(text) };
    notes.add(&fields.place(name), format!("put the value of {variable} in its place"));
    Some(format!("REPLACE-BY-{}", label(variable)))
}
