//! The sections of a page: one table of fields for each object of the schema, in the order in which they are met.

use std::{collections::HashMap, fmt::Write};

use serde_json::Value;

use super::{
    bounds::bounds,
    cell::{cell, description},
};

/// Objects that were met, by their path.
#[derive(Debug, Default)]
pub(super) struct Sections {
    text: String,
    /// Where fields of this form are listed: `limits` and `userLimits` have the same.
    listed: HashMap<String, String>,
}

impl Sections {
    /// The page so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Adds an object, and then all that are in it.
    pub(super) fn add(&mut self, path: &str, schema: &Value) {
        let empty = serde_json::Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let level = if path.contains('.') { "###" } else { "##" };
        let mut inner = Vec::new();
        let mut rows = String::new();
        let (must, may): (Vec<_>, Vec<_>) = properties.iter().partition(|(name, _)| required.contains(&name.as_str()));
        for (name, property) in must.into_iter().chain(may) {
            let (kind, object) = kind(property);
            let kind = match object {
                Some((object, is_list)) => {
                    let at = format!("{path}.{name}{}", if is_list { "[]" } else { "" });
                    let listed = self.listed.entry(form(object)).or_insert_with(|| {
                        inner.push((at.clone(), object));
                        at
                    });
                    format!("[{kind}](#{})", anchor(listed))
                }
                None => kind,
            };
            let default = match property.get("default") {
                _ if required.contains(&name.as_str()) => "required".to_owned(),
                Some(default) => format!("`{}`", cell(&default.to_string())),
                None => "–".to_owned(),
            };
            let bounds = bounds(property).join("; ");
            let bounds = if bounds.is_empty() { String::new() } else { format!(" {}", cell(&bounds)) };
            let _ = writeln!(rows, "| `{name}` | {kind} | {default} |{bounds} | {} |", description(property));
        }
        let _ = write!(self.text, "{level} {path}\n\n");
        if rows.is_empty() {
            self.text.push_str("It has no fields: write `{}`.\n\n");
        } else {
            let _ = write!(self.text, "| field | type | default | bounds | what |\n|---|---|---|---|---|\n{rows}\n");
        }
        self.rules(schema);
        for (at, object) in inner {
            self.add(&at, object);
        }
    }

    /// The rules on an object, and those on its lists and maps.
    fn rules(&mut self, schema: &Value) {
        let own = std::iter::once((None, schema));
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        // Rules of objects stand in their own sections.
        let fields = properties
            .filter(|(_, property)| property.get("properties").is_none())
            .map(|(name, property)| (Some(name.as_str()), property));
        let mut rows = String::new();
        for (field, schema) in own.chain(fields) {
            for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                let text = |name: &str| cell(rule.get(name).and_then(Value::as_str).unwrap_or_default());
                let of = field.map(|field| format!("of `{field}`: ")).unwrap_or_default();
                let _ = writeln!(rows, "| {of}`{}` | {} |", text("rule"), text("message"));
            }
        }
        if !rows.is_empty() {
            let _ = write!(self.text, "| the API server refuses it unless | with the words |\n|---|---|\n{rows}\n");
        }
    }
}

/// What a field is, and the object with fields of its own that it holds, perhaps in a list.
fn kind(schema: &Value) -> (String, Option<(&Value, bool)>) {
    let text = |name: &str| schema.get(name).and_then(Value::as_str);
    let has_fields = |schema: &Value| schema.get("properties").is_some();
    match (text("type"), schema.get("items"), schema.get("additionalProperties")) {
        (_, Some(items), _) if has_fields(items) => ("list of objects".to_owned(), Some((items, true))),
        (_, Some(items), _) => (format!("list of {}", kind(items).0), None),
        (_, _, Some(values)) => (format!("map of names to {}", kind(values).0), None),
        (Some("string"), ..) if text("format") == Some("date-time") => ("time (RFC 3339)".to_owned(), None),
        (Some("object"), ..) if has_fields(schema) => ("object".to_owned(), Some((schema, false))),
        (Some("object"), ..) => ("object without fields: `{}`".to_owned(), None),
        (other, ..) => (other.unwrap_or("any").to_owned(), None),
    }
}

/// What an object may hold, whatever it is there for.
fn form(schema: &Value) -> String {
    let part = |name: &str| schema.get(name).map(Value::to_string).unwrap_or_default();
    format!("{}{}{}", part("properties"), part("required"), part("x-kubernetes-validations"))
}

/// The anchor that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}
