//! What a provider says went wrong.
//!
//! Source: each provider's reference on its errors; the shapes stand in the tests. They are read by what is there, not by who
//! answers: between the sidecar and a model there may be a gateway with a shape of its own.

use serde_json::Value;

/// How deep a message may lie: `{"message": {"detail": [{"msg": …}]}}` is the deepest that is seen.
const DEPTH: u8 = 4;

/// Names under which a message stands, the best first.
const MESSAGES: [&str; 6] = ["error", "message", "Message", "detail", "errors", "msg"];

/// Message and code of a provider's error.
pub fn explanation(body: &[u8]) -> (Option<String>, Option<String>) {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    (message(&json, DEPTH), code(&json))
}

/// The words in an error: a text, an object's, or those of each in a list.
fn message(json: &Value, depth: u8) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    match json {
        Value::String(text) => (!text.trim().is_empty()).then(|| text.clone()),
        Value::Object(fields) => MESSAGES.iter().find_map(|name| message(fields.get(*name)?, depth)),
        Value::Array(list) => {
            let words: Vec<String> = list.iter().filter_map(|one| message(one, depth)).collect();
            (!words.is_empty()).then(|| words.join("; "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// The name that programs know an error by. A number only repeats the status.
fn code(json: &Value) -> Option<String> {
    // Google answers with a list where a stream was asked for.
    let json = json.get(0).unwrap_or(json);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).filter(|code| !code.is_empty()).map(str::to_owned);
    let error = json.get("error");
    let first = json.get("errors").and_then(|errors| errors.get(0));
    text(error.and_then(|error| error.get("code")))
        .or_else(|| text(error.and_then(|error| error.get("status"))))
        .or_else(|| text(first.and_then(|first| first.get("code"))))
        .or_else(|| ["code", "error_code", "error_type", "ErrorCode"].iter().find_map(|name| text(json.get(name))))
        // AWS: `com.amazon.coral.service#ValidationException:http://…`.
        .or_else(|| text(json.get("__type")).map(|name| shape_name(&name).to_owned()))
}

/// The name of an AWS error without its namespace and its address.
fn shape_name(name: &str) -> &str {
    let name = name.split_once('#').map_or(name, |(_, name)| name);
    name.split_once(':').map_or(name, |(name, _)| name)
}
