//! Why an issuer said no, for people.
//!
//! Sources of the shapes: RFC 6749, section 5.2 (`error`, `error_description`; Google's token servers and Entra ID); Google's
//! API design guide (`error.message`; IAM Credentials); IBM Cloud's API reference of IAM (`errorCode`, `errorMessage`); AWS
//! STS API reference, "Common Error Types" (XML with `Code` and `Message`); AWS SDKs and Tools Reference Guide, "Container
//! credential provider" (`code`, `message`).

use serde_json::Value;

use crate::credential::{aws::xml, redact::redact};

/// More than this, in characters, is left away.
const MAX_MESSAGE_BYTES: usize = 300;

/// What the body of a refusal says, in one line, without these secrets.
pub(super) fn message_of<'a>(body: &[u8], secrets: impl IntoIterator<Item = &'a str>) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let message = match serde_json::from_str(text) {
        Ok(json) => in_json(&json),
        Err(_) if text.starts_with('<') => in_xml(text),
        Err(_) => text.to_owned(),
    };
    // Redacted first: half a secret at the cut would not be known for one.
    let message = redact(&message, secrets);
    let line: String = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_MESSAGE_BYTES) {
        Some((end, _)) => format!("{} …", line.get(..end).unwrap_or_default()),
        None if line.is_empty() => "no reason".to_owned(),
        None => line,
    }
}

fn in_json(json: &Value) -> String {
    let error = json.get("error").unwrap_or(json);
    let parts = [
        json.get("error"),
        json.get("error_description"),
        error.get("status"),
        json.get("errorCode"),
        json.get("errorMessage"),
        error.get("code"),
        error.get("message"),
        json.get("Code"),
        json.get("Message"),
    ];
    let texts: Vec<&str> = parts.into_iter().flatten().filter_map(Value::as_str).collect();
    texts.join(": ")
}

/// A page for browsers has neither.
fn in_xml(text: &str) -> String {
    let [code, message] = xml::texts(text, ["Code", "Message"]).unwrap_or_default();
    code.into_iter().chain(message).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_issuers_refusal_is_understood() {
        let long = "é".repeat(MAX_MESSAGE_BYTES + 1);
        for (body, expected) in [
            (
                r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#,
                "invalid_grant: Invalid JWT Signature.",
            ),
            (
                r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1","error_codes":[7000215]}"#,
                "invalid_client: AADSTS7000215: Invalid client secret provided. Trace ID: 1",
            ),
            (
                r#"{"error":{"code":403,"message":"Permission 'iam.serviceAccounts.getAccessToken' denied","status":"PERMISSION_DENIED"}}"#,
                "PERMISSION_DENIED: Permission 'iam.serviceAccounts.getAccessToken' denied",
            ),
            (
                r#"{"errorCode":"BXNIM0415E","errorMessage":"Provided API key could not be found."}"#,
                "BXNIM0415E: Provided API key could not be found.",
            ),
            (
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                 <Code>InvalidIdentityToken</Code><Message>No OpenIDConnect provider found &amp; more</Message></Error>\
                 </ErrorResponse>",
                "InvalidIdentityToken: No OpenIDConnect provider found & more",
            ),
            (r#"{"code":"AccessDenied","message":"no role"}"#, "AccessDenied: no role"),
            ("[token s3cret]\tis not good\n", "[token [redacted] is not good"),
            ("<html><body>oops</body></html>", "no reason"),
            ("", "no reason"),
            ("{}", "no reason"),
            (&long, &format!("{} …", "é".repeat(MAX_MESSAGE_BYTES))),
        ] {
            assert_eq!(message_of(body.as_bytes(), ["s3cret]"]), expected);
        }
    }
}
