//! What a provider's error means, or that of the connection to it: what the caller is told, and whether anything was charged.

use std::pin::pin;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};

use super::{
    exchange::{Deadline, Upstream, in_time},
    failure::{Blame, ChargeState, Failure},
};
use crate::{accounting::InFlight, policy::Backend, refusal::Refusal};
use vectoll_api::request::EncodingFormat;
use vectoll_ledger::books::Certainty;
use vectoll_upstream::{
    health,
    provider::{
        HttpProvider,
        dialect::error_meaning::{Cause, ErrorAnswer, ErrorMeaning, refuses_before_work},
        endpoint::SendError,
        http::Error,
    },
};

/// The shortest label of a host's name that is taken for one in a provider's words: `api` stands in many.
const MIN_LABEL: usize = 5;
/// The most of an error's body that is read.
pub(super) const MAX_ERROR_BYTES: usize = 64 * 1024;

/// What is to be done after an error answer.
pub(super) enum Refused {
    /// The backend seems to refuse base64: the call goes there once more without. Nothing was charged, because
    /// the field was refused and not the input.
    AskAgain(InFlight),
    /// The attempt has failed.
    Failed(Failure),
}

/// Turns a provider's error into ours. `asks_base64`: a call that wants base64 was sent with that wish.
pub(super) async fn refused(
    remote: &HttpProvider,
    (in_flight, asks_base64): (InFlight, bool),
    response: Upstream,
    deadline: &mut Deadline,
) -> Refused {
    let backend = in_flight.backend().clone();
    let (parts, body) = response.into_parts();
    let limited = Limited::new(body, MAX_ERROR_BYTES);
    let body = match in_time(deadline, pin!(limited.collect())).await {
        Some(Ok(collected)) => collected.to_bytes(),
        Some(Err(_)) | None => Bytes::new(),
    };
    let answer = ErrorAnswer::new(parts.status, &parts.headers, &body);
    let asked_for_base64 = in_flight.call().request.encoding_format == EncodingFormat::Base64 && asks_base64;
    if asked_for_base64 && answer.refuses_encoding() {
        return Refused::AskAgain(in_flight);
    }
    let (failure, charge) = status_failed(remote, &backend, answer);
    Refused::Failed(charged(failure, charge, in_flight).await)
}

/// Turns an error that came in place of vectors, under a status of success, into ours. `tokens`: what it says was used.
pub(super) async fn reported(
    headers: &HeaderMap,
    body: &[u8],
    (in_flight, tokens): (Option<InFlight>, Option<u64>),
    (remote, backend): (&HttpProvider, &Backend),
) -> Failure {
    let (failure, charge) = error_in_success(remote, backend, headers, body);
    match (in_flight, tokens) {
        (None, _) => failure,
        (Some(in_flight), Some(tokens)) => {
            in_flight.settle(tokens, Certainty::Known);
            failure
        }
        (Some(in_flight), None) => charged(failure, charge, in_flight).await,
    }
}

async fn charged(failure: Failure, charge: Charge, in_flight: InFlight) -> Failure {
    let rest = match charge {
        Charge::Nothing => ChargeState::Refused(in_flight.into()),
        // Dropping `in_flight` books it.
        Charge::Unsettled => {
            in_flight.load_tokenizer().await;
            ChargeState::Nothing
        }
    };
    Failure { rest, ..failure }
}

/// What an error answer costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charge {
    /// Nothing, for certain.
    Nothing,
    /// Nobody knows.
    Unsettled,
}

impl Charge {
    fn of(is_free: bool) -> Self {
        if is_free { Self::Nothing } else { Self::Unsettled }
    }
}

/// What an error means that came under a status of success. Its provider's word on statuses does not go for it: only what goes for
/// everyone does.
pub(super) fn error_in_success(
    remote: &HttpProvider,
    backend: &Backend,
    headers: &HeaderMap,
    body: &[u8],
) -> (Failure, Charge) {
    let answer = ErrorAnswer::in_success(headers, body);
    let charge = Charge::of(refuses_before_work(answer.status()));
    (status_failed(remote, backend, answer).0, charge)
}

/// What a provider's error means, and what it costs. It goes on with its message and without the credential.
pub(super) fn status_failed(remote: &HttpProvider, backend: &Backend, answer: ErrorAnswer<'_>) -> (Failure, Charge) {
    let (name, answered, wait) = (&backend.label, answer.status(), answer.wait());
    if answered.is_redirection() || answered.is_informational() {
        let message = format!("Backend {name} answered with a redirect, which is never followed");
        return (Failure::down(Refusal::bad_gateway(message), "failed"), Charge::Unsettled);
    }
    let (words, code) = answer.explanation();
    let words = words.as_deref().unwrap_or("no explanation");
    let quotes = quoted(remote, words, 1000);
    let message = format!("Backend {name} answered {}: {quotes}", answered.as_u16());
    let code = code.map(|code| quoted(remote, &code, 100));
    let dialect = remote.dialect();
    let ErrorMeaning { cause, status } = dialect.meaning(answer);
    let charge = Charge::of(dialect.is_free(status));
    if matches!(cause, Cause::Credential | Cause::Denied) {
        remote.credential_refused();
    }
    // Where the caller named the model, it may be the one who mistook it.
    let named = backend.is_named_by_callers;
    let by_provider = |message| Refusal::by_provider(status, message, code, wait);
    let (refusal, blame, result) = match cause {
        Cause::Caller => (by_provider(message), Blame::Call, "refused"),
        Cause::Model | Cause::Denied if named => (by_provider(message), Blame::Name, "refused"),
        Cause::Model => (by_provider(message), Blame::Backend(health::FailureKind::Down), "failed"),
        Cause::Credential | Cause::Denied => {
            tracing::error!(
                backend = &**name,
                status = answered.as_u16(),
                "the provider refuses the credential of this backend: see `vectoll_backend_attempts_total{{result=\"denied\"}}`"
            );
            let message = format!(
                "{message}. It refuses the credential that its ModelRoute has for it: the owner of the route must renew it"
            );
            let refusal = Refusal { reason: "credential_refused", ..Refusal::bad_gateway(message) };
            (refusal, Blame::Backend(health::FailureKind::Down), "denied")
        }
        Cause::Throttled(wait) if status == StatusCode::TOO_MANY_REQUESTS => {
            (by_provider(message), Blame::Backend(health::FailureKind::Limited(wait)), "limited")
        }
        Cause::Throttled(wait) => {
            let refusal = Refusal { retry_after: wait, ..Refusal::bad_gateway(message) };
            (refusal, Blame::Backend(health::FailureKind::Limited(wait)), "failed")
        }
        Cause::Backend => {
            let is_late = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT);
            let refusal = if is_late { Refusal::upstream_timeout(message) } else { Refusal::bad_gateway(message) };
            (refusal, Blame::Backend(health::FailureKind::Down), "failed")
        }
    };
    // What the input is refused for its caller needs; else a provider's words are for those whose account it is.
    let without = match cause {
        Cause::Caller => format!("Backend {name} answered {}: {}", answered.as_u16(), without_place(remote, &quotes)),
        Cause::Model | Cause::Credential | Cause::Denied | Cause::Throttled(_) | Cause::Backend => {
            format!("Backend {name} answered {}", answered.as_u16())
        }
    };
    let refusal = refusal.particular_to(name, without, false);
    (Failure { refusal, blame, result, rest: ChargeState::Nothing }, charge)
}

/// A provider's words without where it is: its host, the first label of that (a resource's name at Azure), and URLs.
fn without_place(remote: &HttpProvider, words: &str) -> String {
    let host = remote.address().map(|(host, _)| host).unwrap_or_default();
    let label = host.split('.').next().filter(|label| label.len() >= MIN_LABEL).unwrap_or_default();
    let tells = |word: &str| {
        let word = word.to_ascii_lowercase();
        word.contains("://") || [host, label].iter().any(|place| !place.is_empty() && word.contains(*place))
    };
    let words: Vec<&str> = words.split(' ').map(|word| if tells(word) { "[withheld]" } else { word }).collect();
    words.join(" ")
}

/// A provider's words, without the credential and in reason.
fn quoted(remote: &HttpProvider, words: &str, most: usize) -> String {
    remote.redact(words).chars().take(most).collect()
}

/// A request got no response.
pub(super) fn sending_failed(error: &SendError, backend: &Backend) -> Failure {
    let name = &backend.label;
    match error {
        SendError::Credential(error) => {
            let message = format!("Backend {name} cannot be called: {}", chain(error));
            let without = format!("Backend {name} cannot be called: there is no credential for it");
            Failure::down(Refusal::unavailable("no_credential", message).particular_to(name, without, true), "failed")
        }
        SendError::Path => {
            let message = format!("Backend {name} cannot be called: {error}");
            Failure::down(Refusal::misconfigured("unusable_backend", message), "failed")
        }
        SendError::Http(error) if error.is_connect() => {
            let message = format!("No connection to backend {name}: {}", cause(error));
            let refusal = Refusal::unavailable("no_connection", message);
            Failure::down(
                refusal.particular_to(name, format!("No connection to backend {name}"), true),
                "no_connection",
            )
        }
        SendError::Http(error) => {
            let message = format!("The connection to backend {name} broke: {}", cause(error));
            let without = format!("The connection to backend {name} broke");
            Failure::down(Refusal::bad_gateway(message).charged().particular_to(name, without, true), "failed")
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
pub(super) fn cause(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
