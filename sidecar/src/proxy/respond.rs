//! The response to a call that was served.

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body_util::Full;

use super::Sent;
use crate::{
    accounting::Settled,
    answer::{Answer, Body, PASSED},
    line::Line,
    policy::Backend,
    quota_headers,
};

/// Room for all headers below, those that [`super::Proxy::embeddings`] adds, and the server's own.
const ROOM: usize = 24;

const RETRIES: HeaderName = HeaderName::from_static("x-litellm-attempted-retries");
const FALLBACKS: HeaderName = HeaderName::from_static("x-litellm-attempted-fallbacks");
const MODEL_ID: HeaderName = HeaderName::from_static("x-litellm-model-id");
const KEY_SPEND: HeaderName = HeaderName::from_static("x-litellm-key-spend");
const RESPONSE_COST: HeaderName = HeaderName::from_static("x-litellm-response-cost");

/// Says that nothing was tried twice.
pub(super) fn no_second_attempt(headers: &mut HeaderMap) {
    for name in [RETRIES, FALLBACKS] {
        headers.insert(name, HeaderValue::from_static("0"));
    }
}

/// 200 with the answer, some of the provider's headers, and ours.
pub(super) fn respond(sent: Sent, backend: &Backend) -> Response<Body> {
    let Sent { answer, headers: from_provider } = sent;
    let (body, standing, settled) = match answer {
        Answer::Whole(bytes, settled) => (Body::Whole(Full::new(bytes)), settled.standing, Some(settled)),
        Answer::Streaming(relay, standing) => (Body::Streaming(relay), standing, None),
    };
    let mut headers = HeaderMap::with_capacity(ROOM);
    for name in &PASSED {
        if let Some(value) = from_provider.get(name) {
            headers.insert(name, value.clone());
        }
    }
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    quota_headers::write(&mut headers, &standing);
    no_second_attempt(&mut headers);
    if let Ok(value) = HeaderValue::from_str(&backend.label) {
        headers.insert(MODEL_ID, value);
    }
    if let Some(Settled { cost, key_spend, .. }) = settled {
        for (name, amount) in [(KEY_SPEND, Some(key_spend)), (RESPONSE_COST, cost)] {
            if let Some(value) = amount.and_then(|amount| Line::of(amount).value()) {
                headers.insert(name, value);
            }
        }
    }
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}
