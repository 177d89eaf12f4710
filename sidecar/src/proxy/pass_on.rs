//! Calls that the gateway carries out: they are passed on as they came, and its answers are handed back as they come.
//!
//! The gateway decides on limits and budgets, and books: nothing of that is done here, so nothing is counted twice. A call is sent once. Only
//! where it certainly was not sent, because no connection came about, it is tried again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, Uri, header, response::Parts, uri::PathAndQuery};
use http_body_util::{BodyExt, Full};

use super::{Proxy, progress::CallProgress, refused::cause};
use crate::{
    answer::{Body, HELD, Relay},
    authenticate::{self, presented},
    call::Call,
    call_id::CALL_ID,
    memory::{MemoryPermit, NoRoom, STREAM},
    pod_token,
    policy::{PassedOn, Route},
    refusal::Refusal,
    telemetry::{Asked, Server},
};
use vectoll_upstream::provider::{
    SentFlag,
    gateway::GatewayServer,
    http::{Body as Incoming, Error},
};

/// How often a connection is tried, with these pauses in between. What they resolve to, and who is behind it, may be another one each time.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];
/// After so long no other one is tried.
const CONNECTING: Duration = Duration::from_secs(10);
/// The gateway ends a call by its own clock first.
const MARGIN: Duration = Duration::from_secs(5);

/// Headers that go along, beside those that begin with [`PREFIXES`]: who calls, what the body is, and how a trace goes on.
static PASSED: [HeaderName; 10] = [
    header::AUTHORIZATION,
    header::ACCEPT,
    header::CONTENT_TYPE,
    header::USER_AGENT,
    header::VIA,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
];
/// What callers say to whoever carries their calls out.
const PREFIXES: [&str; 2] = ["x-litellm-", "x-vectoll-"];
/// Headers of an answer that are of the connection it came by, or that are written anew.
///
/// Source: RFC 9110, section 7.6.1.
static OF_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::DATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Passes a call on, and hands the answer back.
pub(super) async fn pass_on(
    proxy: &Proxy,
    (route, passed_on): (&Route, &PassedOn),
    call: Call,
    (uri, from_caller): (Uri, HeaderMap),
    trace: &mut CallProgress,
) -> Result<Response<Body>, Refusal> {
    let name = &route.manner.name;
    trace.passed_on = Some(name.clone());
    call.entry.backend(&passed_on.label);
    let token = match presented(&from_caller) {
        Some(_) => None,
        None => Some(pod_token_of(passed_on).await.ok_or_else(|| Refusal::pod_key_passed_on(name))?),
    };
    let to = passed_on.to.as_ref().map_err(|reason| Refusal::gateway_untrusted(name, reason))?;
    let attempt = call.entry.asks(|| Some(asked(passed_on, to)));
    let timeout = passed_on.timeout + call.caller.key().max_wait.unwrap_or_default() + MARGIN;
    let deadline = tokio::time::Instant::now() + timeout;
    let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/v1/embeddings"));
    let headers = headers(&from_caller, &call, token);
    let started = Instant::now();
    let departure = SentFlag::default();
    let sending = send(to, (&path, &headers, &call.request.body), &departure);
    let sent = tokio::time::timeout_at(deadline, sending).await;
    trace.waited += started.elapsed();
    call.entry.asked_unbooked(attempt);
    let answer = match sent {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            return Err(match error.untrusted() {
                Some(reason) => {
                    let cause = format!("its certificate is not trusted ({reason})");
                    tracing::error!(route = &**name, reason, "the gateway's certificate is not trusted");
                    Refusal::gateway_untrusted(name, &cause)
                }
                None if error.is_connect() => Refusal::gateway_unreachable(name, &cause(&error)),
                None => Refusal::gateway_broke(name, &cause(&error)),
            });
        }
        Err(_) if departure.has_left() => return Err(Refusal::gateway_timeout(name, timeout)),
        Err(_) => return Err(Refusal::gateway_unreachable(name, "no connection came about in time")),
    };
    let (mut parts, body) = answer.into_parts();
    for name in &OF_CONNECTION {
        parts.headers.remove(name);
    }
    let answering = Instant::now();
    let body = hand_back(proxy, body, (call, deadline, timeout), (name, started)).await;
    trace.waited += answering.elapsed();
    let Parts { status, headers, .. } = parts;
    let mut response = Response::new(body?);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// What a trace is told of it. How many tokens it took is the gateway's to say.
fn asked(passed_on: &PassedOn, to: &GatewayServer) -> Asked {
    let (address, port) = to.address();
    Asked {
        label: passed_on.label.clone(),
        provider: "vectoll",
        server: Some(Server { address: address.clone(), port }),
        model: None,
        // Which names there are is known there.
        is_named_by_callers: true,
        from: Instant::now(),
        until: None,
        tokens: None,
    }
}

/// The token that proves the pod's namespace to the gateway. Read each time: the kubelet renews it.
async fn pod_token_of(passed_on: &PassedOn) -> Option<HeaderValue> {
    let read = tokio::fs::read_to_string(passed_on.token.as_ref()?).await;
    let mut token = HeaderValue::try_from(read.ok()?.trim()).ok().filter(|token| !token.is_empty())?;
    token.set_sensitive(true);
    Some(token)
}

/// The headers that go along. With a pod's token none that could be a key does.
fn headers(from_caller: &HeaderMap, call: &Call, token: Option<HeaderValue>) -> HeaderMap {
    let is_key = |name: &HeaderName| authenticate::KEY_HEADERS.contains(name);
    let is_of_pod = |name: &HeaderName| *name == pod_token::TOKEN || *name == pod_token::API_KEY;
    let has_token = token.is_some();
    let goes_along = |name: &HeaderName| {
        let passes = PASSED.contains(name) || PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix));
        passes && !is_of_pod(name) && !(has_token && is_key(name))
    };
    let mut headers = HeaderMap::with_capacity(from_caller.len() + 2);
    for (name, value) in from_caller.iter().filter(|(name, _)| goes_along(name)) {
        headers.append(name.clone(), value.clone());
    }
    if let Some(token) = token
        && let Ok(name) = HeaderValue::from_str(&call.caller.key().name)
    {
        headers.insert(pod_token::TOKEN.clone(), token);
        headers.insert(pod_token::API_KEY.clone(), name);
    }
    // The same one in both access logs.
    if let Ok(id) = HeaderValue::from_bytes(&call.id.text()) {
        headers.insert(CALL_ID, id);
    }
    headers
}

/// Sends it. Where no connection came about nothing was sent, and another one is tried.
async fn send(
    to: &GatewayServer,
    (path, headers, body): (&PathAndQuery, &HeaderMap, &Bytes),
    departure: &SentFlag,
) -> Result<Response<Incoming>, Error> {
    let started = Instant::now();
    let mut pauses = PAUSES.into_iter();
    loop {
        let sent = to.post(path.clone(), headers.clone(), body.clone(), departure).await;
        match (sent, pauses.next()) {
            (Err(error), Some(pause))
                if error.is_connect() && error.untrusted().is_none() && started.elapsed() < CONNECTING =>
            {
                tokio::time::sleep(pause).await;
            }
            (sent, _) => return sent,
        }
    }
}

/// The answer's body: a small one whole, so that one that is cut off becomes an error, a large one as it comes.
async fn hand_back(
    proxy: &Proxy,
    mut body: Incoming,
    (call, deadline, timeout): (Call, tokio::time::Instant, Duration),
    (route, started): (&Arc<str>, Instant),
) -> Result<Body, Refusal> {
    let length = http_body::Body::size_hint(&body).exact();
    let is_small = length.is_some_and(|length| length <= HELD as u64);
    let wanted = length.filter(|_| is_small).and_then(|length| usize::try_from(length).ok()).unwrap_or(STREAM);
    let mut held = MemoryPermit::default();
    call.claim.hold_until(&mut held, wanted, deadline).await.map_err(|NoRoom| Refusal::no_room())?;
    // What was sent need not be kept any longer.
    drop(call);
    let metrics = proxy.metrics.passed_on.clone();
    if !is_small {
        let route = route.clone();
        let relay = Relay::passed_on(body, deadline, &proxy.tasks, held, move |end| {
            metrics.took(started.elapsed());
            if let Err(error) = end {
                tracing::warn!(route = &*route, %error, "a large answer of the gateway broke off: its caller's connection is aborted");
            }
        });
        return Ok(Body::Streaming(relay));
    }
    let mut whole = BytesMut::with_capacity(wanted);
    loop {
        match tokio::time::timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(piece) = frame.into_data() {
                    whole.extend_from_slice(&piece);
                }
            }
            Ok(None) => break,
            Ok(Some(Err(error))) => return Err(Refusal::gateway_broke(route, &error.to_string())),
            Err(_) => return Err(Refusal::gateway_timeout(route, timeout)),
        }
    }
    metrics.took(started.elapsed());
    Ok(Body::Whole(Full::new(held.attach(whole.freeze()))))
}
