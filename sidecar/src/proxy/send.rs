//! Sending an admitted call to its backend, and settling what comes back.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use prometheus::Histogram;
use tokio::time::Sleep;
use vectoll_config::v1::Cooldown;

use super::{
    Sent, Target, builtin,
    failure::{Blame, Failure, Rest, blame},
    parts,
    plan::Plan,
};
use crate::{
    accounting::{InFlight, Permit, Room},
    answer::{
        Answer, Broken, Flow, HELD, Observation, Relay, Transcoder, Verdict, Wanted, format_of, has_dimensions, join,
    },
    background::Background,
    call::Call,
    clock::Clock,
    health::Attempt,
    memory::{Held, NoRoom},
    policy::Backend,
    provider::{
        Departure, Provider, Remote, dialect::explain::explanation, http as http_client, retry_after, to::SendError,
    },
    refusal::Refusal,
};

/// An answer within this time needs no refinement of what the call may cost.
const SOON: Duration = Duration::from_millis(20);
/// The most of an error's body that is read.
const MOST_OF_AN_ERROR: usize = 64 * 1024;

/// The end of a backend's time for a call: one timer from sending to the answer's last byte.
type Deadline = Pin<Box<Sleep>>;

/// What goes with every attempt of a call.
#[derive(Debug)]
pub(super) struct Sending {
    /// The caller's headers.
    pub(super) from_caller: HeaderMap,
    /// Work that outlives the call.
    pub(super) tasks: Background,
    /// The largest body, in bytes.
    pub(super) most: usize,
    /// The time.
    pub(super) clock: Clock,
}

/// An answer as far as it was read.
enum Read {
    /// Checked and settled.
    Done(Answer),
    /// Large: these pieces, and then the rest.
    Coming(Vec<Bytes>, Flow),
}

/// Makes one attempt, to be done by `deadline`, notes its time in `upstream`, and how it ended with the backend's health.
pub(super) async fn send(
    target: Target,
    sending: Arc<Sending>,
    upstream: Histogram,
    deadline: Instant,
) -> Result<Sent, Failure> {
    let Target { permit, backend, attempt, plan, room } = target;
    let (call, cooldown, started) = (permit.call().clone(), permit.route().manner.cooldown, Instant::now());
    match exchange(permit, &backend, (plan, room), &sending, deadline).await {
        Ok((Read::Done(answer), headers)) => {
            upstream.observe(started.elapsed().as_secs_f64());
            attempt.served("served", sending.clock.now().elapsed);
            Ok(Sent { answer, headers })
        }
        Ok((Read::Coming(read, flow), headers)) => {
            let standing = flow.standing();
            let verdict = Verdict { attempt, cooldown, clock: sending.clock };
            let relay = Relay::new(read, flow, &sending.tasks, Observation { since: started, upstream, verdict });
            Ok(Sent { answer: Answer::Streaming(relay, standing), headers })
        }
        Err(failure) => {
            upstream.observe(started.elapsed().as_secs_f64());
            failed(attempt, &failure, (&call, &backend), cooldown, sending.clock);
            Err(failure)
        }
    }
}

/// Notes with the backend's health how an attempt has failed.
pub(super) fn failed(
    attempt: Attempt,
    failure: &Failure,
    (call, backend): (&Call, &Backend),
    cooldown: Cooldown,
    clock: Clock,
) {
    let Failure { refusal, blame, result, rest: _ } = failure;
    // Not the message: a provider may repeat the input in it.
    tracing::warn!(
        call_id = %call.id, backend = &*backend.label, status = refusal.status.as_u16(), reason = refusal.reason,
        "a backend did not serve a call"
    );
    match blame {
        Blame::Backend(fault) => attempt.failed(*fault, result, cooldown, clock.now().elapsed),
        Blame::Call | Blame::Name => attempt.served(result, clock.now().elapsed),
        Blame::Sidecar => drop(attempt),
    }
}

async fn exchange(
    permit: Permit,
    backend: &Arc<Backend>,
    (plan, room): (Option<Plan>, Option<Room>),
    sending: &Sending,
    deadline: Instant,
) -> Result<(Read, HeaderMap), Failure> {
    let Sending { from_caller, tasks, most, clock: _ } = sending;
    match &backend.provider {
        Provider::Builtin { token_arrays } => {
            let answer = builtin::answer(permit, backend, room, tasks, (*token_arrays, *most)).await;
            answer.map(|(answer, headers)| (Read::Done(answer), headers)).map_err(Failure::of_builtin)
        }
        Provider::Cache => {
            let refusal = Refusal::unavailable("no_backend", "What is kept of answers cannot be called".to_owned());
            Err(Failure::of_sidecar(refusal))
        }
        // Dropping the permit gives the reservation back: nothing was sent.
        Provider::Unusable(reason) => {
            let message = format!("Backend {} cannot be called: {reason}", backend.label);
            Err(Failure::down(Refusal::unavailable("unusable_backend", message), "failed"))
        }
        Provider::Remote(remote) => match plan {
            None => {
                let in_flight = permit.sent(backend.clone(), room).map_err(Failure::of_sidecar)?;
                let mut deadline = Box::pin(tokio::time::sleep_until(deadline.into()));
                match call(remote, in_flight, from_caller, &mut deadline).await? {
                    (in_flight, Ok(response)) => read(response, in_flight, deadline, tasks).await,
                    (in_flight, Err(response)) => Err(refused(remote, in_flight, response, &mut deadline).await),
                }
            }
            Some(plan) => {
                let in_flight = permit.sent(backend.clone(), room).map_err(Failure::of_sidecar)?;
                let answer = Box::pin(parts::carry_out(backend, remote, plan, in_flight, sending, deadline)).await;
                answer.map(|(answer, headers)| (Read::Done(answer), headers))
            }
        },
    }
}

type Upstream = Response<http_client::Body>;

/// A response, sorted by whether it is a success; or the error of a call that got none.
async fn call(
    remote: &Remote,
    in_flight: InFlight,
    from_caller: &HeaderMap,
    deadline: &mut Deadline,
) -> Result<(InFlight, Result<Upstream, Upstream>), Failure> {
    let backend = in_flight.backend().clone();
    let model = backend.model_of(&in_flight.call().model);
    let departure = Departure::default();
    let answered = {
        let sending = pin!(remote.pass(&in_flight, model, from_caller, &departure));
        let sending = pin!(refining(&in_flight, sending));
        in_time(deadline, sending).await
    };
    match answered {
        Some(Ok(response)) if response.status().is_success() => Ok((in_flight, Ok(response))),
        Some(Ok(response)) => Ok((in_flight, Err(response))),
        Some(Err(error)) if error.is_unsent() => {
            let failure = sending_failed(&error, &backend);
            Err(Failure { rest: Rest::Unsent(in_flight.into()), ..failure })
        }
        // Dropping `in_flight` books it as unsettled: the provider may have read the call.
        Some(Err(error)) => Err(sending_failed(&error, &backend)),
        None if departure.has_left() => Err(Failure::late(&backend.label, backend.timeout)),
        None => {
            let failure = Failure::late_to_leave(&backend.label, backend.timeout);
            Err(Failure { rest: Rest::Unsent(in_flight.into()), ..failure })
        }
    }
}

/// The work. If it takes its time, the journal learns meanwhile what the call can cost at most.
///
/// It is pinned where it begins, as with [`in_time`]: each function that took it as it is would have room for it twice.
pub(super) async fn refining<T>(in_flight: &InFlight, mut work: Pin<&mut impl Future<Output = T>>) -> T {
    if let Ok(done) = tokio::time::timeout(SOON, work.as_mut()).await {
        return done;
    }
    in_flight.refine();
    work.await
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

/// What the work gives; none if the deadline comes first.
async fn in_time<T>(deadline: &mut Deadline, work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = deadline => None,
    }
}

/// The innermost reason of an error; the client's own words would repeat the URL.
fn cause(error: &http_client::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Reads an answer: whole up to [`HELD`] bytes, else to be streamed.
async fn read(
    response: Upstream,
    in_flight: InFlight,
    deadline: Deadline,
    tasks: &Background,
) -> Result<(Read, HeaderMap), Failure> {
    let (parts, body) = response.into_parts();
    let (backend, call) = (in_flight.backend().clone(), in_flight.call().clone());
    let name = &backend.label;
    if let Some(Ok(content_type)) = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str)
        && !content_type.as_bytes().windows(4).any(|four| four.eq_ignore_ascii_case(b"json"))
    {
        let message = format!("Backend {name} answered with {content_type} instead of JSON");
        return Err(Failure::down(Refusal::bad_gateway(message), "failed"));
    }
    if parts.headers.contains_key(header::CONTENT_ENCODING) {
        let message = format!("Backend {name} compressed its answer without being asked to");
        return Err(Failure::down(Refusal::bad_gateway(message), "failed"));
    }
    let headers = parts.headers;
    let mut flow = Flow::new(body, in_flight, deadline);
    let announced = flow.remaining();
    let wanted = Wanted { format: call.encoding_format, items: call.shape.items, dimensions: call.dimensions };
    let mut read: Vec<Bytes> = Vec::new();
    let mut length = 0;
    // The form of the vectors, as soon as one of them is seen.
    let mut format = None;
    let broken = loop {
        if format.is_some_and(|format| format != wanted.format) {
            let answer = Box::pin(translated(read, flow, wanted, &call, (tasks, &backend))).await;
            return answer.map(|answer| (Read::Done(answer), headers));
        }
        let large = length > HELD || (announced.is_some_and(|all| all > HELD as u64) && length > 0);
        if large && (format.is_some() || length > HELD) {
            let right = call.dimensions.map(|asked| has_dimensions(&join(read.clone()), asked));
            match right {
                Some(Some(Err(wrong))) => {
                    read.clear();
                    while let Ok(Some(_)) = flow.piece().await {}
                    break flow.settle().err().unwrap_or(Broken::Wrong(wrong));
                }
                // Where the first vector ends is soon seen.
                Some(None) if length <= HELD => {}
                Some(None | Some(Ok(()))) | None => return Ok((Read::Coming(read, flow), headers)),
            }
        }
        match flow.piece().await {
            Ok(Some(piece)) => {
                length += piece.len();
                read.push(piece);
                if format.is_none() {
                    format = format_of(flow.head());
                }
            }
            Ok(None) => match flow.settle() {
                Ok(settled) => {
                    let whole = join(read);
                    match call.dimensions.and_then(|asked| has_dimensions(&whole, asked)) {
                        Some(Err(wrong)) => break Broken::Wrong(wrong),
                        Some(Ok(())) | None => return Ok((Read::Done(Answer::Whole(whole, settled)), headers)),
                    }
                }
                Err(broken) => break broken,
            },
            Err(broken) => break broken,
        }
    };
    Err(unusable(broken, &backend))
}

/// Translates an answer from the other encoding while it arrives. `read` is what has come so far.
async fn translated(
    read: Vec<Bytes>,
    mut flow: Flow,
    wanted: Wanted,
    call: &Call,
    (tasks, backend): (&Background, &Backend),
) -> Result<Answer, Failure> {
    let failed = |broken| unusable(broken, backend);
    let mut transcoder = Transcoder::new(wanted);
    let mut length = 0;
    let mut held = Held::default();
    for piece in read {
        length += piece.len();
        transcoder.feed(&piece);
    }
    loop {
        if length > HELD {
            // Others take their time: that is no fault of the backend's.
            let no_room = |NoRoom| Failure::of_sidecar(Refusal::no_room());
            call.claim.hold_until(&mut held, transcoder.held(), flow.deadline()).await.map_err(no_room)?;
        }
        match flow.piece().await.map_err(failed)? {
            Some(piece) => {
                length += piece.len();
                transcoder.feed(&piece);
            }
            None => break,
        }
    }
    // Settled first: what is not right with the vectors does not change what they cost.
    let settled = flow.settle().map_err(failed)?;
    let pieces = transcoder.finish().map_err(|wrong| failed(Broken::Wrong(wrong)))?;
    if length > HELD {
        return Ok(Answer::Pieces(Relay::made(pieces, flow.deadline(), tasks, held), settled));
    }
    Ok(Answer::Whole(join(pieces), settled))
}

fn unusable(broken: Broken, backend: &Backend) -> Failure {
    let name = &backend.label;
    match broken {
        Broken::TooSlow => Failure::late(name, backend.timeout),
        Broken::Cut | Broken::Unusable(_) | Broken::Wrong(_) => {
            Failure::down(Refusal::bad_gateway(format!("Backend {name}: {broken}")), "failed")
        }
    }
}

/// Turns a provider's error into ours.
async fn refused(remote: &Remote, in_flight: InFlight, response: Upstream, deadline: &mut Deadline) -> Failure {
    let backend = in_flight.backend().clone();
    let (parts, body) = response.into_parts();
    let limited = http_body_util::Limited::new(body, MOST_OF_AN_ERROR);
    let body = match in_time(deadline, pin!(http_body_util::BodyExt::collect(limited))).await {
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
