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
    compute::{Compute, NotDone},
    memory::{MemoryPermit, NoRoom, STREAM},
    policy::Backend,
    refusal::Refusal,
};
use vectoll_api::answer::{ExpectedVectors, MAX_BEFORE_FIRST_VECTOR, Transcoder, checked, has_dimensions, join};
use vectoll_upstream::provider::Provider;

/// So much of an answer is translated at once: a few vectors, in a quarter of a millisecond or so.
const FEW_BYTES: u64 = 64 * 1024;
/// So much is translated at a time elsewhere: often enough that little is held beside the translation, and seldom enough that the way to
/// another thread costs nothing beside it.
const BATCH_BYTES: usize = 256 * 1024;

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
    (tasks, compute): (&Background, &Compute),
) -> Result<(Read, HeaderMap), Failure> {
    let (parts, body) = response.into_parts();
    let (backend, call) = (in_flight.backend().clone(), in_flight.call().clone());
    let name = &backend.label;
    let mut headers = parts.headers;
    let label = headers.get(header::CONTENT_TYPE).and_then(|label| label.to_str().ok()).unwrap_or_default();
    let has = |word: &[u8]| label.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    if has(b"html") {
        let message = format!("Backend {name} answered with {label} instead of JSON");
        return Err(Failure::down(Refusal::bad_gateway(message).charged(), "failed"));
    }
    if !has(b"json") {
        // Some servers give JSON another label: what it is shows by itself, and the caller is told.
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    // What could be inflated is.
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING) {
        let message = format!("Backend {name} compressed its answer, with {encoding:?}, without being asked to");
        return Err(Failure::down(Refusal::bad_gateway(message).charged(), "failed"));
    }
    let mut flow = Flow::new(body, in_flight, deadline);
    let announced = flow.remaining();
    let expected = ExpectedVectors {
        format: call.request.encoding_format,
        items: call.request.shape.items,
        dimensions: call.request.dimensions,
    };
    let mut read: Vec<Bytes> = Vec::new();
    let (mut length, mut held) = (0, MemoryPermit::default());
    // The form of the vectors, as soon as one of them is seen.
    let mut format = None;
    let broken = loop {
        if format.is_some_and(|format| format != expected.format) {
            let answer = Box::pin(translated(read, flow, expected, &call, (tasks, compute, &backend))).await;
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
            let answer = Box::pin(translated(read, flow, expected, &call, (tasks, compute, &backend))).await;
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
                return Err(reported(&headers, &join(read), flow.give_up(), (remote, &backend)).await);
            }
            Ok(None) => match flow.settle().await {
                // Settled first: what is not right with the vectors does not change what they cost.
                Ok(settled) => match checked(join(read), expected) {
                    // Held for as long as the caller has not taken it.
                    Ok(whole) => return Ok((Read::Done(Answer::Whole(held.attach(whole), settled)), headers)),
                    Err(wrong) => break Broken::Wrong(wrong),
                },
                Err(broken) => break broken,
            },
            Err(broken) => break broken,
        }
    };
    flow.load_tokenizer().await;
    Err(unusable(broken, &backend))
}

/// Translates an answer while it arrives: from the other encoding, or from the same one where every vector is to be right before anybody
/// gets one. `read` is what has come so far.
async fn translated(
    read: Vec<Bytes>,
    mut flow: Flow,
    expected: ExpectedVectors,
    call: &Call,
    (tasks, compute, backend): (&Background, &Compute, &Backend),
) -> Result<Answer, Failure> {
    let mut held = MemoryPermit::default();
    let translation = translation(read, &mut flow, expected, (call, &mut held), compute).await;
    let (transcoder, length) = match translation {
        Ok(translation) => translation,
        Err(Ended::NoRoom) => return Err(no_room(NoRoom)),
        Err(Ended::NotDone(error)) => return Err(not_done(&error)),
        Err(Ended::Broken(broken)) => {
            flow.load_tokenizer().await;
            return Err(unusable(broken, backend));
        }
    };
    // Settled first: what is not right with the vectors does not change what they cost.
    let settled = match flow.settle().await {
        Ok(settled) => settled,
        Err(broken) => {
            flow.load_tokenizer().await;
            return Err(unusable(broken, backend));
        }
    };
    let finished = compute.run_above(FEW_BYTES, length as u64, move || transcoder.finish()).await;
    let pieces = finished.map_err(|error| not_done(&error))?;
    let pieces = pieces.map_err(|wrong| unusable(Broken::Wrong(wrong), backend))?;
    if length > HELD {
        return Ok(Answer::Pieces(Relay::made(pieces, flow.deadline(), tasks, held), settled));
    }
    Ok(Answer::Whole(held.attach(join(pieces)), settled))
}

/// Why an answer was not translated.
enum Ended {
    Broken(Broken),
    NoRoom,
    NotDone(NotDone),
}

/// All of an answer through the transcoder, and its length. What comes first is translated at once, which is all of a small answer; the rest
/// by the batch, on a thread of its own: its numbers are read and written one by one. While it does that the provider is not read from.
async fn translation(
    read: Vec<Bytes>,
    flow: &mut Flow,
    expected: ExpectedVectors,
    (call, held): (&Call, &mut MemoryPermit),
    compute: &Compute,
) -> Result<(Transcoder, usize), Ended> {
    let mut transcoder = Transcoder::new(expected);
    let (mut length, mut batch) = (0, Batch::default());
    let mut read = read.into_iter();
    loop {
        let mut piece = read.next();
        if piece.is_none() {
            let needed = transcoder.held() + batch.bytes;
            call.claim.hold_until(held, needed, flow.deadline()).await.map_err(|NoRoom| Ended::NoRoom)?;
            piece = flow.piece().await.map_err(Ended::Broken)?;
        }
        let is_last = piece.is_none();
        if let Some(piece) = piece {
            length += piece.len();
            if length as u64 <= FEW_BYTES {
                transcoder.feed(&piece);
            } else {
                batch.add(piece);
            }
        }
        if batch.bytes >= BATCH_BYTES || (is_last && batch.bytes > 0) {
            let Batch { pieces, bytes } = std::mem::take(&mut batch);
            let feed = move || {
                for piece in &pieces {
                    transcoder.feed(piece);
                }
                transcoder
            };
            transcoder = compute.run(bytes as u64, feed).await.map_err(Ended::NotDone)?;
            let needed = transcoder.held();
            call.claim.hold_until(held, needed, flow.deadline()).await.map_err(|NoRoom| Ended::NoRoom)?;
        }
        if is_last {
            return Ok((transcoder, length));
        }
    }
}

/// Pieces that are translated together.
#[derive(Default)]
struct Batch {
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.pieces.push(piece);
    }
}

/// What was to be done was not.
fn not_done(error: &NotDone) -> Failure {
    let message = format!("The answer could not be read: {error}. The call was carried out and charged");
    Failure::of_sidecar(Refusal::unavailable("computing_failed", message).charged())
}

/// Others take their time: that is no fault of the backend's.
fn no_room(NoRoom: NoRoom) -> Failure {
    Failure::of_sidecar(Refusal::no_room_for_answer())
}

fn unusable(broken: Broken, backend: &Backend) -> Failure {
    let name = &backend.label;
    match broken {
        Broken::TooSlow => Failure::late(name, backend.timeout),
        Broken::Cut | Broken::Unusable(_) | Broken::Wrong(_) => {
            Failure::down(Refusal::bad_gateway(format!("Backend {name}: {broken}")).charged(), "failed")
        }
    }
}
