//! The response to a call that was served.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body_util::Full;
use vectoll_config::PicoUsd;

use super::{history::AttemptHistory, progress::CallProgress, sent::Sent};
use crate::{
    accounting::WouldReject,
    answer::{Answer, Body, PASSED},
    header_text::HeaderText,
    quota_headers,
};

/// Room for all headers below, those that [`super::Proxy::embeddings`] adds, and the server's own.
const ROOM: usize = 24;

pub(super) const OVERHEAD: HeaderName = HeaderName::from_static("x-litellm-overhead-duration-ms");
const RETRIES: HeaderName = HeaderName::from_static("x-litellm-attempted-retries");
const FALLBACKS: HeaderName = HeaderName::from_static("x-litellm-attempted-fallbacks");
const MODEL_ID: HeaderName = HeaderName::from_static("x-litellm-model-id");
const KEY_SPEND: HeaderName = HeaderName::from_static("x-litellm-key-spend");
const RESPONSE_COST: HeaderName = HeaderName::from_static("x-litellm-response-cost");

const WAITED: HeaderName = HeaderName::from_static("x-vectoll-waited-ms");
const WOULD_REJECT: HeaderName = HeaderName::from_static("x-vectoll-would-reject");

/// Says that nothing was tried twice.
pub(super) fn no_second_attempt(headers: &mut HeaderMap) {
    attempts(headers, &AttemptHistory::default());
}

fn attempts(headers: &mut HeaderMap, journey: &AttemptHistory) {
    for (name, count) in [(RETRIES, journey.retries), (FALLBACKS, journey.fallbacks)] {
        headers.insert(name, HeaderValue::from(count));
    }
}

/// Says which backend it was, after how many others, and what the key has spent, as far as that is known.
pub(super) fn identify(headers: &mut HeaderMap, journey: &AttemptHistory, key_spend: Option<PicoUsd>) {
    attempts(headers, journey);
    let label = journey.backend.as_ref().map(|backend| &*backend.label);
    if let Some(value) = label.and_then(|label| HeaderValue::from_str(label).ok()) {
        headers.insert(MODEL_ID, value);
    }
    if let Some(value) = key_spend.and_then(|spend| HeaderText::of(spend).value()) {
        headers.insert(KEY_SPEND, value);
    }
}

/// Says what the call cost, where that is known.
pub(super) fn cost(headers: &mut HeaderMap, cost: Option<PicoUsd>) {
    if let Some(value) = cost.and_then(|cost| HeaderText::of(cost).value()) {
        headers.insert(RESPONSE_COST, value);
    }
}

/// Says how long the call has waited for room in limits, if it has.
pub(super) fn waited(headers: &mut HeaderMap, time: Duration) {
    if !time.is_zero()
        && let Some(value) = HeaderText::of(time.as_millis()).value()
    {
        headers.insert(WAITED, value);
    }
}

/// Says which limits on trial would have refused the call: `scope reason`, one after the other.
pub(super) fn would_reject<'a>(headers: &mut HeaderMap, found: impl Iterator<Item = &'a WouldReject>) {
    let each: Vec<String> = found.map(|WouldReject { scope, reason }| format!("{scope} {reason}")).collect();
    if each.is_empty() {
        return;
    }
    if let Ok(value) = HeaderValue::from_str(&each.join(", ")) {
        headers.insert(WOULD_REJECT, value);
    }
}

/// Says how long the sidecar itself took.
pub(crate) fn overhead(headers: &mut HeaderMap, took: Duration) {
    let millis = took.as_secs() * 1000 + u64::from(took.subsec_millis());
    let micros = took.subsec_micros() % 1000;
    if let Some(value) = HeaderText::of(format_args!("{millis}.{micros:03}")).value() {
        headers.insert(OVERHEAD, value);
    }
}

/// 200 with the answer, some of the provider's headers, and ours.
pub(super) fn respond(sent: Sent, trace: &CallProgress) -> Response<Body> {
    let Sent { answer, headers: from_provider } = sent;
    let (body, rate_limits, settled) = match answer {
        Answer::Whole(bytes, settled) => (Body::Whole(Full::new(bytes)), settled.rate_limits, Some(settled)),
        Answer::Pieces(relay, settled) => (Body::Streaming(relay), settled.rate_limits, Some(settled)),
        Answer::Streaming(relay, rate_limits) => (Body::Streaming(relay), rate_limits, None),
    };
    let mut headers = HeaderMap::with_capacity(ROOM);
    for name in &PASSED {
        if let Some(value) = from_provider.get(name) {
            headers.insert(name, value.clone());
        }
    }
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    quota_headers::write(&mut headers, &rate_limits);
    identify(&mut headers, &trace.journey, settled.map(|settled| settled.key_spend));
    // Not yet known while the answer runs.
    cost(&mut headers, settled.and_then(|settled| settled.cost));
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}
