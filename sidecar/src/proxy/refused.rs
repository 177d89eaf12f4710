//! What a provider's error means, or that of the connection to it: what the caller is told, and whether anything was charged.

use std::pin::pin;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;

use super::{
    failure::{Failure, Rest, blame},
    send::{Deadline, Upstream, in_time},
};
use crate::{
    accounting::InFlight,
    policy::Backend,
    provider::{Remote, dialect::explain::explanation, http::Error, retry_after, to::SendError},
    refusal::Refusal,
};

/// The most of an error's body that is read.
const MOST_OF_AN_ERROR: usize = 64 * 1024;

/// Turns a provider's error into ours.
pub(super) async fn refused(
    remote: &Remote,
    in_flight: InFlight,
    response: Upstream,
    deadline: &mut Deadline,
) -> Failure {
    let backend = in_flight.backend().clone();
    let (parts, body) = response.into_parts();
    let limited = Limited::new(body, MOST_OF_AN_ERROR);
    let body = match in_time(deadline, pin!(limited.collect())).await {
        Some(Ok(collected)) => collected.to_bytes(),
        Some(Err(_)) | None => Bytes::new(),
    };
    let (failure, definite) = status_failed(remote, &backend, parts.status, &parts.headers, &body);
    let rest = if definite {
        Rest::Refused(in_flight.into())
    } else {
        drop(in_flight);
        Rest::Nothing
    };
    Failure { rest, ..failure }
}

/// What a provider's error means, and whether it says for certain that nothing was charged. A 4xx goes on with its message and
/// without the credential.
pub(super) fn status_failed(
    remote: &Remote,
    backend: &Backend,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> (Failure, bool) {
    let name = &backend.label;
    if status.is_redirection() || status.is_informational() {
        let message = format!("Backend {name} answered with a redirect, which is never followed");
        return (Failure::down(Refusal::bad_gateway(message), "failed"), true);
    }
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        remote.credential_refused();
    }
    let (message, code) = explanation(body);
    let definite = is_definite_refusal(status, message.is_some());
    let message = message.as_deref().unwrap_or("no explanation");
    let message = format!("Backend {name} answered {}: {}", status.as_u16(), quoted(remote, message, 1000));
    let code = code.map(|code| quoted(remote, &code, 100));
    let wait = retry_after::wait(headers, Timestamp::now());
    let refusal = if status.is_client_error() {
        Refusal::by_provider(status, message, code, wait)
    } else if status == StatusCode::GATEWAY_TIMEOUT {
        Refusal::upstream_timeout(message)
    } else {
        Refusal::bad_gateway(message)
    };
    let (blame, result) = blame(status, wait, backend.model.is_none());
    (Failure { refusal, blame, result, rest: Rest::Nothing }, definite)
}

/// Whether an answer says for certain that nothing was charged. A 4xx does. A 5xx does only if the provider itself speaks
/// (`explained`: with an error object) and not a gateway, whose 502, 503 or 504 may stand for a call that the provider
/// behind it has carried out.
fn is_definite_refusal(status: StatusCode, explained: bool) -> bool {
    let by_gateway = matches!(status.as_u16(), 502 | 504 | 520..=524);
    !status.is_server_error() || (explained && !by_gateway)
}

/// A provider's words, without the credential and in reason.
fn quoted(remote: &Remote, words: &str, most: usize) -> String {
    remote.redact(words).chars().take(most).collect()
}

/// A request got no response.
pub(super) fn sending_failed(error: &SendError, backend: &Backend) -> Failure {
    let name = &backend.label;
    match error {
        SendError::Credential(error) => {
            let message = format!("Backend {name} cannot be called: {}", chain(error));
            Failure::down(Refusal::unavailable("no_credential", message), "failed")
        }
        SendError::Path => {
            let message = format!("Backend {name} cannot be called: {error}");
            Failure::down(Refusal::unavailable("unusable_backend", message), "failed")
        }
        SendError::Http(error) if error.is_connect() => {
            let message = format!("No connection to backend {name}: {}", cause(error));
            Failure::down(Refusal::unavailable("no_connection", message), "no_connection")
        }
        SendError::Http(error) => {
            let message = format!("The connection to backend {name} broke: {}", cause(error));
            Failure::down(Refusal::bad_gateway(message), "failed")
        }
    }
}

/// An error and what caused it. None of them holds a secret.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The innermost reason of an error; the client's own words would repeat the URL.
fn cause(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
