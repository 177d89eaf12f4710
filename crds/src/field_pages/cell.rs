//! Text in a cell of a table.

use serde_json::Value;

/// What a schema says of itself, on one line, fit for a cell of a table.
pub(super) fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    cell(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A text in which no character ends a cell of a table.
pub(super) fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
