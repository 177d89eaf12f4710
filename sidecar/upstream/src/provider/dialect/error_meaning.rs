//! What a provider's error answer means: whose fault it is, and whether the call may have been charged.
//!
//! What a provider charges for is its own contract ([`super::Dialect::is_free`], each with its source). Whose fault an error is
//! stands in its status and, where a provider says more, in its body and headers. These are read by what is there, not by who
//! answers: the OpenAI-shaped endpoints of Google and AWS report errors in their own shapes, and so do gateways in between.
//!
//! Sources: RFC 9110, section 15; Google's `google/rpc/error_details.proto` (`ErrorInfo`, `RetryInfo`) and
//! `google/api/error_reason.proto`; Gemini API, "Troubleshooting guide" (`FAILED_PRECONDITION`: billing is not enabled);
//! Amazon Bedrock user guide, "Troubleshooting Amazon Bedrock API Error Codes"; Amazon Bedrock and `SageMaker` Runtime API references,
//! `InvokeModel` and `InvokeEndpoint`, "Errors", and "Common Errors"; the header `x-amzn-errortype`: Smithy, "AWS `restJson1` protocol".

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use super::explain;
use crate::provider::retry_after;

/// Where AWS names an error.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// The longest words that are taken for a reason alone, in bytes.
const LONGEST_REASON: usize = 500;
/// How deep the name of a field may lie: `{"message": {"detail": [{"loc": …}]}}`.
const DEPTH: u8 = 5;

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The call's: every backend of the model would refuse it.
    Caller,
    /// The provider does not have the model.
    Model,
    /// The provider does not let this account have the model, or refuses the credential: it does not say which.
    Denied,
    /// The provider refuses the route's credential.
    Credential,
    /// The provider is asked too much, or is away for a time that it states.
    Throttled(Option<Duration>),
    /// Anything else that is about the backend and not about the call.
    Backend,
}

/// What an error answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorMeaning {
    /// Whose fault it is.
    pub cause: Cause,
    /// The status that says so: the answer's own, or that of what the answer reports.
    pub status: StatusCode,
}

/// An error answer.
#[derive(Debug)]
pub struct ErrorAnswer<'a> {
    status: StatusCode,
    headers: &'a HeaderMap,
    json: Value,
}

impl<'a> ErrorAnswer<'a> {
    /// Of these parts. What is no JSON says nothing.
    pub fn new(status: StatusCode, headers: &'a HeaderMap, body: &[u8]) -> Self {
        Self { status, headers, json: serde_json::from_slice(body).unwrap_or_default() }
    }

    /// An error under a status of success: the status is the one that it reports of itself, else 502.
    pub fn in_success(headers: &'a HeaderMap, body: &[u8]) -> Self {
        let answer = Self::new(StatusCode::BAD_GATEWAY, headers, body);
        let status = answer.own_status().unwrap_or(StatusCode::BAD_GATEWAY);
        answer.as_if(status)
    }

    fn own_status(&self) -> Option<StatusCode> {
        let error = self.json.get("error")?;
        let codes = [error.get("code"), error.get("status"), self.json.get("status")];
        let status = |code: &Value| code.as_u64().or_else(|| code.as_str()?.parse().ok());
        let status = codes.into_iter().flatten().filter_map(status).find(|status| (400..600).contains(status))?;
        StatusCode::from_u16(u16::try_from(status).ok()?).ok()
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its words, and the name that programs know it by.
    pub fn explanation(&self) -> (Option<String>, Option<String>) {
        explain::of(&self.json)
    }

    /// How long to wait: `Retry-After`, or Google's `RetryInfo`.
    pub fn wait(&self) -> Option<Duration> {
        retry_after::wait(self.headers, Timestamp::now()).or_else(|| self.retry_info())
    }

    /// Whose fault it is, by all that providers are known to say.
    pub fn meaning(&self) -> ErrorMeaning {
        let (status, cause) =
            self.aws().or_else(|| self.google()).unwrap_or_else(|| (self.status, by_status(self.status)));
        let cause = match (cause, self.wait()) {
            (Cause::Throttled(_), wait) => Cause::Throttled(wait),
            (Cause::Backend, wait @ Some(_)) if status == StatusCode::SERVICE_UNAVAILABLE => Cause::Throttled(wait),
            (cause, _) => cause,
        };
        ErrorMeaning { cause, status }
    }

    /// `SageMaker`'s `OriginalStatusCode`: what the container answered.
    pub fn of_container(&self) -> Option<StatusCode> {
        let status = self.json.get("OriginalStatusCode")?.as_u64()?;
        StatusCode::from_u16(u16::try_from(status).ok()?).ok()
    }

    /// Whether it refuses `encoding_format`: some servers do not know base64, and some refuse fields that they do not know.
    pub fn refuses_encoding(&self) -> bool {
        if !matches!(self.status.as_u16(), 400 | 422) {
            return false;
        }
        // Longer words may repeat the input.
        let words = self.explanation().0.filter(|words| words.len() <= LONGEST_REASON).unwrap_or_default();
        words.contains("encoding_format")
            || words.contains("base64")
            || names_field(&self.json, "encoding_format", DEPTH)
    }

    /// The same answer under another status.
    #[must_use]
    pub fn as_if(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// What AWS's name of the error says, whatever the status: throttling and outdated tokens come as 400, too.
    fn aws(&self) -> Option<(StatusCode, Cause)> {
        let in_header = self.headers.get(ERROR_TYPE).and_then(|name| name.to_str().ok());
        let in_body = || ["__type", "code"].iter().find_map(|field| self.json.get(field)?.as_str());
        let name = explain::shape_name(in_header.or_else(in_body)?);
        // `AccessDeniedException` at some services, `AccessDenied` at others.
        Some(match name.strip_suffix("Exception").unwrap_or(name) {
            "Throttling"
            | "ThrottledRequest"
            | "TooManyRequests"
            | "RequestLimitExceeded"
            | "LimitExceeded"
            | "ServiceQuotaExceeded"
            | "ModelNotReady" => (StatusCode::TOO_MANY_REQUESTS, Cause::Throttled(None)),
            "ExpiredToken"
            | "RequestExpired"
            | "InvalidSignature"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "UnrecognizedClient"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "MissingAuthenticationToken"
            | "NotAuthorized"
            | "OptInRequired" => (StatusCode::FORBIDDEN, Cause::Credential),
            "AccessDenied" => (StatusCode::FORBIDDEN, Cause::Denied),
            "ServiceUnavailable" => (StatusCode::SERVICE_UNAVAILABLE, Cause::Backend),
            "InternalServer" | "InternalFailure" | "InternalDependency" => {
                (StatusCode::INTERNAL_SERVER_ERROR, Cause::Backend)
            }
            "ModelTimeout" => (StatusCode::REQUEST_TIMEOUT, Cause::Backend),
            _ => return None,
        })
    }

    /// What Google's reasons say beyond the status.
    fn google(&self) -> Option<(StatusCode, Cause)> {
        let error = self.google_error()?;
        let reason =
            self.google_detail("ErrorInfo").and_then(|detail| detail.get("reason")?.as_str()).unwrap_or_default();
        let of_credential =
            ["API_KEY_", "ACCESS_TOKEN_", "ACCOUNT_", "CONSUMER_", "BILLING_DISABLED", "SERVICE_DISABLED"];
        let of_credential = of_credential.iter().any(|begin| reason.starts_with(begin));
        // Behind the OpenAI-shaped endpoint an error has no details.
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
        let of_key = ["API key not valid", "API key expired", "API Key not found"];
        let of_key = of_key.iter().any(|begin| message.starts_with(begin));
        let not_enabled = error.get("status").and_then(Value::as_str) == Some("FAILED_PRECONDITION");
        let of_credential = self.status.is_client_error() && (of_credential || of_key || not_enabled);
        of_credential.then_some((StatusCode::UNAUTHORIZED, Cause::Credential))
    }

    /// `"retryDelay": "45.837906927s"`.
    fn retry_info(&self) -> Option<Duration> {
        let seconds = self.google_detail("RetryInfo")?.get("retryDelay")?.as_str()?.strip_suffix('s')?;
        Duration::try_from_secs_f64(seconds.parse().ok()?).ok()
    }

    fn google_error(&self) -> Option<&Value> {
        // A list where a stream was asked for, and at the OpenAI-shaped endpoint.
        self.json.get(0).unwrap_or(&self.json).get("error")
    }

    fn google_detail(&self, kind: &str) -> Option<&Value> {
        let is_kind = |detail: &&Value| {
            let name = detail.get("@type").and_then(Value::as_str);
            name.and_then(|name| name.rsplit_once("google.rpc.")).is_some_and(|(_, name)| name == kind)
        };
        self.google_error()?.get("details")?.as_array()?.iter().find(is_kind)
    }
}

/// Whether an error is said to be about a field: `param` at OpenAI, `loc` where fields are checked one by one.
fn names_field(json: &Value, field: &str, depth: u8) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    match json {
        Value::Object(members) => members.iter().any(|(name, value)| match name.as_str() {
            "param" => value == field,
            "loc" => value.as_array().is_some_and(|path| path.iter().any(|step| step == field)),
            "error" | "message" | "detail" | "errors" => names_field(value, field, depth),
            _ => false,
        }),
        Value::Array(list) => list.iter().any(|one| names_field(one, field, depth)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whose fault an error is, by its status alone.
fn by_status(status: StatusCode) -> Cause {
    match status.as_u16() {
        401 => Cause::Credential,
        403 => Cause::Denied,
        404 => Cause::Model,
        429 => Cause::Throttled(None),
        // The account has no money; the path, the method or the label of the body is not what is understood there; what
        // the server depends on has failed (424: Text Embeddings Inference's GPU, Bedrock's and SageMaker's model).
        ..=399 | 402 | 405 | 407 | 408 | 410 | 415 | 421 | 424 | 425 | 426 | 500.. => Cause::Backend,
        _ => Cause::Caller,
    }
}

/// Whether a provider refuses before it does anything that could be charged, whoever it is: it does not know who calls, or refuses to
/// serve them, has no such path or method, cannot read the body, or is asked too much.
pub fn refuses_before_work(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 404 | 405 | 413 | 415 | 429)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use http::HeaderValue;

    use super::*;

    fn fault(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> (u16, Cause) {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let headers = headers.collect();
        let ErrorMeaning { cause, status } =
            ErrorAnswer::new(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes()).meaning();
        (status.as_u16(), cause)
    }

    #[test]
    fn a_status_says_whose_fault_it_is() {
        for (statuses, cause) in [
            (&[400, 409, 411, 413, 414, 416, 422, 431, 451][..], Cause::Caller),
            (&[401], Cause::Credential),
            (&[403], Cause::Denied),
            (&[404], Cause::Model),
            (&[429], Cause::Throttled(None)),
            (&[101, 300, 304, 402, 405, 408, 415, 424, 500, 502, 503, 504, 529, 599, 600, 999], Cause::Backend),
        ] {
            for status in statuses {
                assert_eq!(fault(*status, &[], "<html>"), (*status, cause));
            }
        }
        let seven = Some(Duration::from_secs(7));
        for status in [429, 503] {
            assert_eq!(fault(status, &[("retry-after", "7")], ""), (status, Cause::Throttled(seven)));
        }
        assert_eq!(fault(500, &[("retry-after", "7")], ""), (500, Cause::Backend));
    }

    #[test]
    fn awss_name_counts_before_the_status() {
        for (name, status, cause) in [
            ("ThrottlingException", 429, Cause::Throttled(None)),
            ("ServiceQuotaExceededException", 429, Cause::Throttled(None)),
            ("ServiceUnavailableException", 503, Cause::Backend),
            ("ExpiredTokenException", 403, Cause::Credential),
            ("ExpiredToken", 403, Cause::Credential),
            ("AccessDeniedException", 403, Cause::Denied),
            ("InternalServerException", 500, Cause::Backend),
            ("ModelTimeoutException", 408, Cause::Backend),
            ("ValidationException", 400, Cause::Caller),
        ] {
            let body = format!(r#"{{"__type":"com.amazon.coral.service#{name}","message":"no"}}"#);
            assert_eq!(fault(400, &[], &body), (status, cause), "{name}");
        }
        let header = [("x-amzn-errortype", "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/")];
        assert_eq!(fault(400, &header, r#"{"message":"no"}"#), (429, Cause::Throttled(None)));
        let header = [("x-amzn-errortype", "ServiceUnavailableException"), ("retry-after", "2")];
        assert_eq!(fault(400, &header, "{}"), (503, Cause::Throttled(Some(Duration::from_secs(2)))));
        assert_eq!(fault(424, &[("x-amzn-errortype", "ModelErrorException")], "{}"), (424, Cause::Backend));
    }

    #[test]
    fn googles_details_say_more_than_the_status() {
        let google = |code: u16, status: &str, message: &str, details: &str| {
            format!(r#"{{"error":{{"code":{code},"message":"{message}","status":"{status}","details":[{details}]}}}}"#)
        };
        let reason = |reason: &str| {
            format!(
                r#"{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{reason}","domain":"googleapis.com"}}"#
            )
        };
        let expired =
            google(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", &reason("API_KEY_INVALID"));
        assert_eq!(fault(400, &[], &expired), (401, Cause::Credential));
        let listed = google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "");
        assert_eq!(fault(400, &[], &format!("[{listed}]")), (401, Cause::Credential));
        let billing = google(400, "FAILED_PRECONDITION", "Please enable billing", "");
        assert_eq!(fault(400, &[], &billing), (401, Cause::Credential));
        let empty = google(400, "INVALID_ARGUMENT", "The text content is empty.", &reason("FIELD_INVALID"));
        assert_eq!(fault(400, &[], &empty), (400, Cause::Caller));
        let retry = r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"45.8s"}"#;
        let limited = google(429, "RESOURCE_EXHAUSTED", "quota", &format!(r#"{{"@type":"x"}},{retry}"#));
        let wait = Some(Duration::from_millis(45_800));
        assert_eq!(fault(429, &[], &limited), (429, Cause::Throttled(wait)));
        assert_eq!(fault(429, &[], &format!("[{limited}]")), (429, Cause::Throttled(wait)));
        for wrong in ["-1s", "soon", "1e400s", ""] {
            assert_eq!(fault(429, &[], &limited.replace("45.8s", wrong)), (429, Cause::Throttled(None)), "{wrong}");
        }
    }

    #[test]
    fn a_refusal_of_the_encoding_is_told_from_others() {
        let refuses = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            ErrorAnswer::new(status, &HeaderMap::new(), body.as_bytes()).refuses_encoding()
        };
        // vLLM before 0.6.2; OpenAI's shape; FastAPI; Mistral.
        for body in [
            r#"{"object":"error","message":"base64 encoding is not currently supported","type":"BadRequestError","param":null,"code":400}"#,
            r#"{"error":{"message":"Unknown parameter","type":"invalid_request_error","param":"encoding_format","code":null}}"#,
            r#"{"detail":[{"type":"literal_error","loc":["body","encoding_format"],"msg":"Input should be 'float'"}]}"#,
            r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","encoding_format"],"msg":"Extra inputs are not permitted"}]}}"#,
        ] {
            assert!(refuses(400, body) && refuses(422, body), "{body}");
            assert!(!refuses(413, body), "{body}");
        }
        let echo = format!(r#"{{"error":{{"message":"too long: base64 {}"}}}}"#, "x".repeat(1000));
        for body in [&*echo, r#"{"error":{"message":"empty input","param":"input"}}"#, "base64", ""] {
            assert!(!refuses(400, body), "{body}");
        }
    }

    #[test]
    fn an_error_under_a_success_says_its_own_status() {
        for (body, status) in [
            (r#"{"error":{"message":"slow down","code":429}}"#, 429),
            (r#"{"error":{"message":"slow down","code":"429"}}"#, 429),
            (r#"{"error":{"message":"no","status":503}}"#, 503),
            (r#"{"error":{"message":"no","code":"rate_limit"},"status":400}"#, 400),
            (r#"{"error":{"message":"no","code":200}}"#, 502),
            (r#"{"error":"CUDA out of memory"}"#, 502),
        ] {
            assert_eq!(ErrorAnswer::in_success(&HeaderMap::new(), body.as_bytes()).status(), status, "{body}");
        }
    }
}
