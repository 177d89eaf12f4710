//! Calls that the gateway carries out: they are passed on as they came, and its answers are handed back as they come.
//!
//! The gateway decides on limits and budgets, and books: nothing of that is done here, so nothing is counted twice. A call is sent once. Only
//! where it certainly was not sent, because no connection came about, it is tried again.

mod along;
mod returned;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, uri::PathAndQuery};
use http_body_util::{BodyExt, Full};

pub(super) use self::along::{ROUTE, is_of_route};
use super::{Proxy, progress::CallProgress, refused::cause};
use crate::{
    answer::{Body, HELD, Relay},
    authenticate::presented,
    call::Call,
    memory::{MemoryPermit, NoRoom, STREAM},
    pod_token,
    policy::{PassedOn, Route},
    refusal::Refusal,
    telemetry::{AttemptReport, Server},
};
use vectoll_api::request::EncodingFormat;
use vectoll_upstream::provider::{
    SentFlag,
    gateway::GatewayServer,
    http::{Body as Incoming, Error},
};

/// How often a connection is tried, with these pauses in between. What they resolve to, and who is behind it, may be another one each time.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];
/// After so long no other one is tried.
const CONNECTING: Duration = Duration::from_secs(10);
/// The gateway ends a call by its own clock first, which begins when there is a connection.
const MARGIN: Duration = Duration::from_secs(5);
/// What is kept free for an answer before its call is sent: this much, and for each input so many numbers of so many bytes, as JSON's digits
/// or in base64. An answer that is larger streams through what there is.
const ANSWER: u64 = 16 * 1024;
const NUMBERS: u64 = 3072;
const DIGITS: u64 = 14;
const BASE64: u64 = 6;

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
        None => Some(token_of(passed_on).await.ok_or_else(|| Refusal::pod_key_passed_on(name))?),
    };
    let to = passed_on.to.as_ref().map_err(|reason| Refusal::gateway_untrusted(name, reason))?;
    let attempt = call.entry.begin_attempt(|| Some(asked(passed_on, to)));
    let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/v1/embeddings"));
    let headers = along::headers(&path, &from_caller, (&call, name, token))?;
    let timeout = passed_on.timeout + call.caller.key().max_wait.unwrap_or_default() + MARGIN;
    let held = room(&call, tokio::time::Instant::now() + timeout).await?;
    let deadline = tokio::time::Instant::now() + timeout + CONNECTING;
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
        Err(_) => {
            return Err(Refusal::gateway_unreachable(name, "no connection, or no place on it, came about in time"));
        }
    };
    let (parts, body) = answer.into_parts();
    if !returned::is_the_gateways(&parts) {
        tracing::error!(route = &**name, status = parts.status.as_u16(), "what answered is not the gateway");
        return Err(Refusal::not_the_gateway(name, parts.status));
    }
    if parts.status == StatusCode::UNAUTHORIZED
        && let (Some(file), Some(refused)) = (&passed_on.token, headers.get(&pod_token::TOKEN))
    {
        file.forget(refused);
    }
    let answering = Instant::now();
    let body = hand_back(proxy, body, (call, held), (deadline, timeout), (name, started)).await;
    trace.waited += answering.elapsed();
    let mut response = Response::new(body?);
    *response.status_mut() = parts.status;
    *response.headers_mut() = returned::headers(parts.headers);
    Ok(response)
}

/// Room for the answer, before anything is sent: once the gateway has carried the call out, nobody is refused for want of it.
async fn room(call: &Call, end: tokio::time::Instant) -> Result<MemoryPermit, Refusal> {
    let of_number = if call.request.encoding_format == EncodingFormat::Base64 { BASE64 } else { DIGITS };
    let of_item = call.request.dimensions.unwrap_or(NUMBERS).saturating_mul(of_number);
    let bytes = call.request.shape.items.saturating_mul(of_item).saturating_add(ANSWER);
    let bytes = usize::try_from(bytes).map_or(STREAM, |bytes| bytes.min(STREAM));
    let mut held = MemoryPermit::default();
    call.claim.hold_until(&mut held, bytes, end).await.map_err(|NoRoom| Refusal::no_room())?;
    Ok(held)
}

/// What a trace is told of it. How many tokens it took is the gateway's to say.
fn asked(passed_on: &PassedOn, to: &GatewayServer) -> AttemptReport {
    let (address, port) = to.address();
    AttemptReport {
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

/// The token that proves the pod's namespace to the gateway.
async fn token_of(passed_on: &PassedOn) -> Option<HeaderValue> {
    passed_on.token.as_ref()?.read().await
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

/// The answer's body: a small one whole, so that one that is cut off becomes an error, a large one as it comes. Where there is less room
/// than it needs, it goes through what there is, as it comes: it is paid.
async fn hand_back(
    proxy: &Proxy,
    mut body: Incoming,
    (call, mut held): (Call, MemoryPermit),
    (deadline, timeout): (tokio::time::Instant, Duration),
    (route, started): (&Arc<str>, Instant),
) -> Result<Body, Refusal> {
    let length = http_body::Body::size_hint(&body).exact().and_then(|length| usize::try_from(length).ok());
    let small = length.filter(|length| *length <= HELD);
    let wanted = small.unwrap_or(STREAM);
    let has_room = call.claim.hold_until(&mut held, wanted, tokio::time::Instant::now()).await.is_ok();
    if has_room {
        held.shrink(wanted);
    }
    // What was sent need not be kept any longer.
    drop(call);
    let metrics = proxy.metrics.passed_on.clone();
    if small.is_none() || !has_room {
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
