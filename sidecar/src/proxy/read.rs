//! Reading an answer: checked and settled where it is small, passed on as it comes where it is large.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::{
    exchange::{Deadline, Upstream},
    failure::Failure,
    refused::reported,
};
use crate::{
    accounting::InFlight,
    answer::{Answer, Broken, Flow, HELD, Relay},
    background::Background,
    call::Call,
    memory::{MemoryPermit, NoRoom, STREAM},
    policy::Backend,
    refusal::Refusal,
};
use vectoll_api::answer::{MAX_BEFORE_FIRST_VECTOR, Transcoder, Wanted, checked, has_dimensions, join};
use vectoll_upstream::provider::Provider;

/// An answer as far as it was read.
pub(super) enum Read {
    /// Checked and settled.
    Done(Answer),
    /// Large: these pieces, and then the rest, and the memory for what is on its way.
    Coming(Vec<Bytes>, Flow, MemoryPermit),
}

/// Reads an answer: whole up to [`HELD`] bytes, else to be streamed.
pub(super) async fn read(
    response: Upstream,
    in_flight: InFlight,
    deadline: Deadline,
    tasks: &Background,
) -> Result<(Read, HeaderMap), Failure> {
    let (parts, body) = response.into_parts();
    let (backend, call) = (in_flight.backend().clone(), in_flight.call().clone());
    let name = &backend.label;
    let mut headers = parts.headers;
    let label = headers.get(header::CONTENT_TYPE).and_then(|label| label.to_str().ok()).unwrap_or_default();
    let has = |word: &[u8]| label.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    if has(b"html") {
        let message = format!("Backend {name} answered with {label} instead of JSON");
        return Err(Failure::down(Refusal::bad_gateway(message), "failed"));
    }
    if !has(b"json") {
        // Some servers give JSON another label: what it is shows by itself, and the caller is told.
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    // What could be inflated is.
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING) {
        let message = format!("Backend {name} compressed its answer, with {encoding:?}, without being asked to");
        return Err(Failure::down(Refusal::bad_gateway(message), "failed"));
    }
    let mut flow = Flow::new(body, in_flight, deadline);
    let announced = flow.remaining();
    let wanted = Wanted {
        format: call.request.encoding_format,
        items: call.request.shape.items,
        dimensions: call.request.dimensions,
    };
    let mut read: Vec<Bytes> = Vec::new();
    let (mut length, mut held) = (0, MemoryPermit::default());
    // The form of the vectors, as soon as one of them is seen.
    let mut format = None;
    let broken = loop {
        if format.is_some_and(|format| format != wanted.format) {
            let answer = Box::pin(translated(read, flow, wanted, &call, (tasks, &backend))).await;
            return answer.map(|answer| (Read::Done(answer), headers));
        }
        let large = length > HELD || (announced.is_some_and(|all| all > HELD as u64) && length > 0);
        if format.is_none() && length > MAX_BEFORE_FIRST_VECTOR {
            // What it cost is still to be learnt.
            read.clear();
            while let Ok(Some(_)) = flow.piece().await {}
            break flow.settle().await.err().unwrap_or(Broken::Unusable("its first vector comes too late"));
        }
        if large && format.is_some() && call.is_collected {
            let answer = Box::pin(translated(read, flow, wanted, &call, (tasks, &backend))).await;
            return answer.map(|answer| (Read::Done(answer), headers));
        }
        if large && format.is_some() {
            let right = call.request.dimensions.map(|asked| has_dimensions(&join(read.clone()), asked));
            match right {
                Some(Some(Err(wrong))) => {
                    read.clear();
                    while let Ok(Some(_)) = flow.piece().await {}
                    break flow.settle().await.err().unwrap_or(Broken::Wrong(wrong));
                }
                // Where the first vector ends is soon seen.
                Some(None) if length <= MAX_BEFORE_FIRST_VECTOR => {}
                Some(None | Some(Ok(()))) | None => {
                    call.claim.hold_until(&mut held, STREAM, flow.deadline()).await.map_err(no_room)?;
                    return Ok((Read::Coming(read, flow, held), headers));
                }
            }
        }
        match flow.piece().await {
            Ok(Some(piece)) => {
                length += piece.len();
                let needed = if format.is_some() { length.min(HELD) } else { length };
                call.claim.hold_until(&mut held, needed, flow.deadline()).await.map_err(no_room)?;
                read.push(piece);
                format = flow.format();
            }
            Ok(None) if flow.is_error() => {
                let Provider::Remote(remote) = &backend.provider else { break Broken::Unusable("it reports an error") };
                return Err(reported(&headers, &join(read), flow.give_up(), (remote, &backend)));
            }
            Ok(None) => match flow.settle().await {
                // Settled first: what is not right with the vectors does not change what they cost.
                Ok(settled) => match checked(join(read), wanted) {
                    // Held for as long as the caller has not taken it.
                    Ok(whole) => return Ok((Read::Done(Answer::Whole(held.attach(whole), settled)), headers)),
                    Err(wrong) => break Broken::Wrong(wrong),
                },
                Err(broken) => break broken,
            },
            Err(broken) => break broken,
        }
    };
    Err(unusable(broken, &backend))
}

/// Translates an answer while it arrives: from the other encoding, or from the same one where every vector is to be right before anybody
/// gets one. `read` is what has come so far.
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
    let mut held = MemoryPermit::default();
    for piece in read {
        length += piece.len();
        transcoder.feed(&piece);
    }
    loop {
        call.claim.hold_until(&mut held, transcoder.held(), flow.deadline()).await.map_err(no_room)?;
        match flow.piece().await.map_err(failed)? {
            Some(piece) => {
                length += piece.len();
                transcoder.feed(&piece);
            }
            None => break,
        }
    }
    // Settled first: what is not right with the vectors does not change what they cost.
    let settled = flow.settle().await.map_err(failed)?;
    let pieces = transcoder.finish().map_err(|wrong| failed(Broken::Wrong(wrong)))?;
    if length > HELD {
        return Ok(Answer::Pieces(Relay::made(pieces, flow.deadline(), tasks, held), settled));
    }
    Ok(Answer::Whole(held.attach(join(pieces)), settled))
}

/// Others take their time: that is no fault of the backend's.
fn no_room(NoRoom: NoRoom) -> Failure {
    Failure::of_sidecar(Refusal::no_room())
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
