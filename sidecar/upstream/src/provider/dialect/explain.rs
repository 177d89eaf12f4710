//! What a provider says went wrong.
//!
//! Source: each provider's reference on its errors; the shapes stand in the tests. They are read by what is there, not by who
//! answers: between the sidecar and a model there may be a gateway with a shape of its own.

use serde_json::Value;

/// How deep a message may lie: `{"message": {"detail": [{"msg": …}]}}` is the deepest that is seen.
const DEPTH: u8 = 5;

/// Names under which a message stands, the best first.
const MESSAGES: [&str; 6] = ["error", "message", "Message", "detail", "errors", "msg"];

/// Message and code of a provider's error.
pub(super) fn of(json: &Value) -> (Option<String>, Option<String>) {
    (message(json, DEPTH), code(json))
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
pub(super) fn shape_name(name: &str) -> &str {
    let name = name.split_once('#').map_or(name, |(_, name)| name);
    name.split_once(':').map_or(name, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::of;

    fn explanation(body: &[u8]) -> (Option<String>, Option<String>) {
        of(&serde_json::from_slice(body).unwrap_or_default())
    }

    #[track_caller]
    fn says(body: &str, message: Option<&str>, code: Option<&str>) {
        assert_eq!(explanation(body.as_bytes()), (message.map(str::to_owned), code.map(str::to_owned)), "{body}");
    }

    #[test]
    fn openais_object_is_read_and_azures() {
        says(
            r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
            Some("Incorrect API key provided"),
            Some("invalid_api_key"),
        );
        says(
            r#"{"error":{"message":"no","type":"invalid_request_error","param":"input","code":null}}"#,
            Some("no"),
            None,
        );
        says(
            r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist."}}"#,
            Some("The API deployment does not exist."),
            Some("DeploymentNotFound"),
        );
        // Azure's gateway, and vLLM: the number is the status again.
        says(r#"{"statusCode":401,"message":"Unauthorized."}"#, Some("Unauthorized."), None);
        says(r#"{"object":"error","message":"too long","type":"BadRequestError","code":400}"#, Some("too long"), None);
    }

    #[test]
    fn googles_status_is_the_code() {
        let google =
            r#"{"error":{"code":400,"message":"The text content is empty.","status":"INVALID_ARGUMENT","details":[]}}"#;
        says(google, Some("The text content is empty."), Some("INVALID_ARGUMENT"));
        says(&format!("[{google}]"), Some("The text content is empty."), Some("INVALID_ARGUMENT"));
    }

    #[test]
    fn awss_shape_is_the_code() {
        for kind in [
            "ValidationException",
            "com.amazon.coral.service#ValidationException",
            "com.amazon.coral.service#ValidationException:http://internal.amazon.com/",
            "ValidationException:http://internal.amazon.com/",
        ] {
            for name in ["message", "Message"] {
                says(
                    &format!(r#"{{"__type":"{kind}","{name}":"Malformed input request"}}"#),
                    Some("Malformed input request"),
                    Some("ValidationException"),
                );
            }
        }
        says(
            r#"{"message":"Too many tokens, please wait before trying again."}"#,
            Some("Too many tokens, please wait before trying again."),
            None,
        );
        says(
            r#"{"ErrorCode":"CLIENT_ERROR_FROM_MODEL","LogStreamArn":"arn:aws:logs","Message":"Received client error (422) from primary with message \"no\"","OriginalMessage":"no","OriginalStatusCode":422}"#,
            Some("Received client error (422) from primary with message \"no\""),
            Some("CLIENT_ERROR_FROM_MODEL"),
        );
    }

    #[test]
    fn others_have_shapes_of_their_own() {
        // Cohere.
        says(r#"{"id":"a","message":"texts must not be empty"}"#, Some("texts must not be empty"), None);
        // Voyage, Jina.
        says(r#"{"detail":"Provided API key is invalid."}"#, Some("Provided API key is invalid."), None);
        // Ollama.
        says(r#"{"error":"model 'all-minilm' not found"}"#, Some("model 'all-minilm' not found"), None);
        // Text Embeddings Inference, on either of its routes.
        says(r#"{"error":"Batch is empty","error_type":"empty"}"#, Some("Batch is empty"), Some("empty"));
        says(r#"{"message":"Model is overloaded","code":429,"type":"overloaded"}"#, Some("Model is overloaded"), None);
        // watsonx.
        says(
            r#"{"errors":[{"code":"model_not_supported","message":"Model 'x' is not supported"}],"trace":"a","status_code":404}"#,
            Some("Model 'x' is not supported"),
            Some("model_not_supported"),
        );
        // Databricks.
        says(
            r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"The endpoint does not exist."}"#,
            Some("The endpoint does not exist."),
            Some("RESOURCE_DOES_NOT_EXIST"),
        );
        // Mistral, and others that check their fields one by one.
        says(
            r#"{"object":"error","message":{"detail":[{"type":"missing","loc":["body","model"],"msg":"Field required"},{"msg":"Input should be a string"}]},"type":"invalid_request_error","code":null}"#,
            Some("Field required; Input should be a string"),
            None,
        );
        says(
            r#"{"object":"error","message":"Too many inputs in request, split into more batches.","type":"invalid_request_prompt","param":null,"code":"3210"}"#,
            Some("Too many inputs in request, split into more batches."),
            Some("3210"),
        );
    }

    #[test]
    fn where_nothing_is_said_nothing_is_read() {
        for body in [
            "",
            "<html>502 Bad Gateway</html>",
            "null",
            "{}",
            "[]",
            "{\"error\":null}",
            "{\"error\":\" \"}",
            "{\"error\":{}}",
            "7",
        ] {
            says(body, None, None);
        }
        says(r#"{"error":{"code":""},"message":"later"}"#, Some("later"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(body in prop::collection::vec(any::<u8>(), 0..256), depth in 0..200_usize) {
            explanation(&body);
            let nested = format!("{}1{}", "{\"error\":[".repeat(depth), "]}".repeat(depth));
            explanation(nested.as_bytes());
        }
    }
}
