//! One request and its answer: check, charge, answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, task::JoinSet, time::Instant};

use super::{Api, Asked, Fault, Refusal, Reply, Request, state::State};
use crate::provider::line::{Line, ResetSwitch};

/// No answer is given: the connection ends.
#[derive(Debug, thiserror::Error)]
#[error("the connection is to end without an answer")]
pub(crate) struct HangUp;

const PAGE: &str = "<html><body><h1>It works!</h1></body></html>";
/// Headers that any client of any API may send.
const PLAIN: [&str; 5] = ["accept", "content-length", "content-type", "host", "user-agent"];

pub(crate) type Answer = Response<Full<Bytes>>;

/// Accepts connections until it is aborted, and takes them all along.
pub(super) async fn run(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                // Without it the last part of a large answer waits for an acknowledgement.
                let _ = stream.set_nodelay(true);
                let (state, reset) = (state.clone(), ResetSwitch::default());
                let line = Line::new(stream, reset.clone());
                connections.spawn(async move {
                    let service = service_fn(|request| answer(state.clone(), reset.clone(), request));
                    // Some connections end in errors by design.
                    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(line), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers one request.
pub(crate) async fn answer(
    state: Arc<State>,
    reset: ResetSwitch,
    request: http::Request<Incoming>,
) -> Result<Answer, HangUp> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| HangUp)?.to_bytes();
    let request = Request::of(&parts, &body);
    if let Some((status, json)) = state.api.issue(&request) {
        state.note(|account| account.token_requests += 1);
        tokio::time::sleep(state.latency()).await;
        return Ok(made(status, "application/json", json.to_string()));
    }
    let running = state.begin();
    // Making the answer is a part of the time that it takes.
    let done = Instant::now() + running.conduct.latency;
    let answer = work(&state, &request, running.fault);
    tokio::time::sleep_until(done).await;
    answer.ok_or_else(|| {
        reset.on();
        HangUp
    })
}

/// The answer to a request for vectors; none: the connection is to be reset.
fn work(state: &State, request: &Request<'_>, fault: Option<Fault>) -> Option<Answer> {
    let asked = match check(&*state.api, request) {
        Ok(asked) => asked,
        Err(refusal) => return Some(refuse(state, request, &refusal)),
    };
    state.note(|account| {
        account.largest = account.largest.max(asked.items.len());
        account.said(asked.input_type);
        account.asked(&asked.extensions);
    });
    let vectors = asked.vectors();
    match fault {
        Some(Fault::Status(status)) => {
            if state.api.charges(status) {
                charge(state, asked.tokens());
            }
            Some(error(state, request, status, "on request"))
        }
        Some(Fault::Garbage) => Some(made(200, "text/html", PAGE.to_owned())),
        Some(Fault::Reset) => None,
        Some(Fault::Few) => Some(serve(state, &asked, vectors.get(1..).unwrap_or_default())),
        None => Some(serve(state, &asked, &vectors)),
    }
}

fn check(api: &dyn Api, request: &Request<'_>) -> Result<Asked, Refusal> {
    let wrong = |what: String| Err(Refusal::Wrong(what));
    for name in request.headers.keys() {
        if !PLAIN.contains(&name.as_str()) && !api.credential_headers().contains(&name.as_str()) {
            return wrong(format!("nobody asked for the header {name}"));
        }
    }
    for name in ["accept", "content-type"] {
        if request.headers.get(name).is_none_or(|value| value != "application/json") {
            return wrong(format!("{name} is not application/json"));
        }
    }
    let asked = api.read(request)?;
    if asked.items.is_empty() || asked.items.len() > api.items() {
        return wrong(format!("{} inputs in a request", asked.items.len()));
    }
    Ok(asked)
}

fn serve(state: &State, asked: &Asked, vectors: &[Vec<f32>]) -> Answer {
    let tokens = asked.tokens();
    charge(state, tokens);
    let Reply { headers, body } = state.api.write(asked, vectors, tokens);
    let mut answer = made(200, "application/json", body);
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

fn charge(state: &State, tokens: u64) {
    state.note(|account| {
        account.charged_requests += 1;
        account.charged_tokens += tokens;
    });
}

fn refuse(state: &State, request: &Request<'_>, refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::Wrong(what) => {
            state.note(|account| account.violated(format!("{} {}: {what}", request.method, request.path)));
            error(state, request, 400, what)
        }
        Refusal::Outdated => error(state, request, state.api.outdated(), "the credential is not good any more"),
        Refusal::Unable(status, what) => error(state, request, *status, what),
    }
}

/// An error that repeats what came.
fn error(state: &State, request: &Request<'_>, status: u16, what: &str) -> Answer {
    let message = format!("{what}; you sent {}", all(request.headers));
    made(status, "application/json", state.api.error(status, &message).to_string())
}

fn all(headers: &HeaderMap) -> String {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
    };
    headers.iter().map(line).collect::<Vec<_>>().join(" and ")
}

pub(crate) fn made(status: u16, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    answer
}
