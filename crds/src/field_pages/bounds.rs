//! What a schema allows, in words.

use serde_json::Value;

/// The bounds of a field, and of the entries of a list or map.
pub(super) fn bounds(schema: &Value) -> Vec<String> {
    let mut found = own(schema);
    if let Some(items) = schema.get("items").filter(|items| items.get("properties").is_none()) {
        found.extend(own(items).into_iter().map(|bound| format!("each {bound}")));
    }
    if let Some(values) = schema.get("additionalProperties") {
        found.extend(own(values).into_iter().map(|bound| format!("each {bound}")));
    }
    let keys: Vec<String> = strings(schema, "x-kubernetes-list-map-keys").map(|key| format!("`{key}`")).collect();
    if !keys.is_empty() {
        found.push(format!("one entry for each {}", keys.join(", ")));
    }
    found
}

fn own(schema: &Value) -> Vec<String> {
    let number = |name: &str| schema.get(name).and_then(Value::as_f64);
    let mut found: Vec<String> = [
        range(number("minLength"), number("maxLength"), " characters"),
        range(number("minimum"), number("maximum"), ""),
        range(number("minItems"), number("maxItems"), " entries"),
        range(number("minProperties"), number("maxProperties"), " entries"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let values: Vec<String> = strings(schema, "enum").map(|value| format!("`{value}`")).collect();
    if !values.is_empty() {
        found.push(values.join(", "));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        found.push(format!("`{pattern}`"));
    }
    found
}

fn strings<'a>(schema: &'a Value, name: &str) -> impl Iterator<Item = &'a str> {
    schema.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn range(least: Option<f64>, most: Option<f64>, of: &str) -> Option<String> {
    match (least.map(digits), most.map(digits)) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}{of}")),
        (Some(least), None) => Some(format!("at least {least}{of}")),
        (None, Some(most)) => Some(format!("at most {most}{of}")),
        (None, None) => None,
    }
}

/// A whole number as people write it: 1,000,000. Schemas keep bounds as floats.
fn digits(number: f64) -> String {
    let plain = format!("{number:.0}");
    let (sign, plain) = plain.strip_prefix('-').map_or(("", plain.as_str()), |rest| ("-", rest));
    let mut out = String::new();
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    format!("{sign}{out}")
}
