//! A call in a provider's own shape, in one request or in several side by side, whose answers become one.
//!
//! A part that fails makes the call fail. Parts that are under way then are waited for, because what they cost is to be known;
//! no other is sent. What was spent is booked; where nobody knows of a part, all of the call is marked as unsettled.

use std::{borrow::Cow, ops::Range, pin::pin, sync::Arc, time::Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt;
use vectoll_config::v1::{InputType, TokenBound};

use super::{
    deliver::{DeliverError, deliver},
    exchange::refining,
    failure::{ChargeState, Failure},
    planned::{Plan, SplitCall},
    refused::{Charge, MAX_ERROR_BYTES, error_in_success, sending_failed, status_failed},
    sending::Sending,
};
use crate::{
    accounting::InFlight,
    answer::Answer,
    call::Call,
    compute::Compute,
    memory::{MemoryPermit, NoRoom},
    policy::Backend,
    refusal::Refusal,
    tokenizer,
};
use vectoll_api::{
    answer::{VectorError, join},
    request::{self, Shape},
};
use vectoll_ledger::books::Certainty;
use vectoll_upstream::provider::{
    HttpProvider, Provider, SentFlag,
    content::Content,
    dialect::{AnswerDefect, ParsedAnswer, Part, PassthroughFields, Unsupported, Unusable, error_meaning::ErrorAnswer},
    outgoing::OutgoingRequest,
};

/// The largest answer to one request: so much for each input, and so much besides. 3,072 numbers are some 70 KiB as digits.
const MAX_INPUT_ANSWER_BYTES: usize = 128 * 1024;
const MAX_ENVELOPE_BYTES: usize = 1024 * 1024;
/// What is expected of one: some thousand numbers as digits. An answer that is larger takes more memory when it comes.
const EXPECTED_OF_AN_INPUT: usize = 16 * 1024;
/// From so many bytes on an answer is read, and a request written, on a thread of its own: reading takes about a hundredth of a
/// microsecond a byte.
const MUCH: usize = 64 * 1024;
/// Text from which on tokens are counted there, as in admission.
const MUCH_TEXT: u64 = 32 * 1024;

/// What a failed part cost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Charged {
    /// Nothing left the sidecar.
    Unsent,
    /// Nothing, for certain.
    Nothing,
    /// So many tokens: the provider says so, and nothing else of use.
    Reported(u64),
    /// Nobody knows.
    Maybe,
}

/// A part that was answered.
struct Done {
    answer: ParsedAnswer,
    headers: HeaderMap,
    /// What its vectors take.
    held: MemoryPermit,
}

/// An answer that is not there as a whole.
enum CollectError {
    /// It broke off, or is too large.
    Cut,
    /// There was no memory for it in time.
    NoRoom,
}

struct Failed {
    failure: Failure,
    charged: Charged,
}

/// The memory that a call in parts is about to take: its texts, of so many bytes, and the requests that are made of them, and the
/// answers.
pub(super) fn expected(call: &Call, bytes: u64) -> usize {
    let Shape { items, bytes: _, tokens, longest: _, is_tokens } = call.request.shape;
    let [texts, tokens, items] = [bytes, tokens, items].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    // A token is a number of four bytes, and some four to eight as text; or as many as in the body.
    let written = if is_tokens { call.request.body.len() } else { 0 };
    let texts = texts.saturating_add(tokens.saturating_mul(8).max(tokens.saturating_mul(4).saturating_add(written)));
    texts.saturating_mul(2).saturating_add(expected_of(items))
}

/// That of the answer to so many texts.
pub(super) fn expected_of(items: usize) -> usize {
    items.saturating_mul(EXPECTED_OF_AN_INPUT)
}

/// The request for a part; the failure says what of the call the provider cannot do.
pub(super) fn request(remote: &HttpProvider, part: &Part<'_>) -> Result<OutgoingRequest, Failure> {
    let unsupported = |Unsupported { param, message }| Failure::of_call(Refusal::malformed(Some(param), message));
    remote.request(part).map_err(unsupported)
}

/// Sends all parts and makes one answer of theirs.
pub(super) async fn carry_out(
    backend: &Arc<Backend>,
    remote: &HttpProvider,
    plan: Plan,
    in_flight: InFlight,
    sending: &Sending,
    deadline: Instant,
) -> Result<(Answer, HeaderMap), Failure> {
    let Plan { call: split_call, first, mut held } = plan;
    let split = &split_call.split;
    let mut done: Vec<Option<Done>> = split.parts.iter().map(|_| None).collect();
    let mut failed: Option<Failure> = None;
    let (mut reported, mut maybe, mut sent) = (0u64, 0u64, false);
    {
        let work = Work { backend, remote, split_call: &split_call, in_flight: &in_flight, sending, deadline };
        let mut first = Some(first);
        let mut waiting = split.parts.iter().cloned().enumerate();
        let mut under_way = FuturesUnordered::new();
        loop {
            while failed.is_none() && under_way.len() < remote.parallel() {
                let Some((place, range)) = waiting.next() else { break };
                let (work, made, held) = (&work, first.take(), held.split(expected_of(range.len())));
                under_way.push(async move { (place, work.part(range, made, held).await) });
            }
            match under_way.next().await {
                None => break,
                Some((place, Ok(answer))) => {
                    if let Some(slot) = done.get_mut(place) {
                        *slot = Some(answer);
                    }
                }
                Some((place, Err(Failed { failure, charged }))) => {
                    sent |= charged != Charged::Unsent;
                    match charged {
                        Charged::Unsent | Charged::Nothing => {}
                        Charged::Reported(tokens) => reported += tokens,
                        Charged::Maybe => maybe += split.parts.get(place).map_or(0, |range| work.tokens(range)),
                    }
                    failed.get_or_insert(failure);
                }
            }
        }
    }
    let texts = split.texts.len();
    let done_tokens = done.iter().zip(&split.parts).filter_map(|(answer, part)| {
        let Done { answer, .. } = answer.as_ref()?;
        Some((part.clone(), answer.tokens))
    });
    let (known, certainty) = known(done_tokens.collect(), &split_call, backend.tokens, &sending.compute).await;
    if let Some(failure) = failed {
        return Err(end(failure, in_flight, sent, (known + reported, maybe), certainty));
    }
    let mut headers = HeaderMap::new();
    let mut vectors = Vec::with_capacity(texts);
    // Until the answer is made of them.
    let mut of_parts = Vec::new();
    for Done { answer, headers: of_part, held } in done.into_iter().flatten() {
        vectors.extend(answer.vectors);
        headers = of_part;
        of_parts.push(held);
    }
    let call = in_flight.call().clone();
    let settled = in_flight.settle(known, certainty);
    if let Some(wrong) = wrong(&vectors, call.request.shape.items, call.request.dimensions) {
        let message = format!("Backend {}: {wrong}", backend.label);
        return Err(Failure::down(Refusal::bad_gateway(message), "failed"));
    }
    // What the answer says of itself is the sidecar's: only what was asked is passed on of the provider's headers.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answer = deliver(vectors, known, &call, settled, (&sending.tasks, &sending.compute), deadline).await;
    // It was served, and is paid: no other backend is asked, and this one is not to blame.
    drop(of_parts);
    answer.map(|answer| (answer, headers)).map_err(|DeliverError| Failure::of_sidecar(Refusal::no_room()))
}

/// What the parts that were answered cost, each as its provider says, or else as it is counted here.
async fn known(
    done: Vec<(Range<usize>, Option<u64>)>,
    split_call: &Arc<SplitCall>,
    bound: TokenBound,
    compute: &Compute,
) -> (u64, Certainty) {
    let reported: Option<u64> = done.iter().map(|(_, tokens)| *tokens).sum();
    if let Some(reported) = reported {
        return (reported, Certainty::Known);
    }
    let split = &split_call.split;
    tokenizer::load(&bound, compute).await;
    // What stands in for a count that broke off.
    let at_most = done.iter().map(|(part, tokens)| tokens.unwrap_or_else(|| sum(&split.tokens, part))).sum();
    let bytes: usize = split.texts.iter().map(|text| text.len()).sum();
    let split_call = split_call.clone();
    let count = move || {
        done.iter().fold((0, Certainty::Known), |(all, certainty), (part, tokens)| match tokens {
            Some(tokens) => (all + tokens, certainty),
            None => match split_call.split.counted(part, &bound) {
                (tokens, Certainty::Known) => (all + tokens, certainty),
                (tokens, how) => (all + tokens, how),
            },
        })
    };
    compute.run_above(MUCH_TEXT, bytes as u64, count).await.unwrap_or((at_most, Certainty::Estimated))
}

/// What is wrong with the vectors of all parts together.
fn wrong(vectors: &[Vec<f32>], items: u64, dimensions: Option<u64>) -> Option<VectorError> {
    let first = vectors.first().map_or(0, Vec::len);
    if vectors.len() as u64 != items {
        Some(VectorError::Number)
    } else if vectors.iter().any(|vector| vector.len() != first) {
        Some(VectorError::Lengths)
    } else {
        let asked = dimensions.filter(|asked| *asked != first as u64)?;
        Some(VectorError::Dimensions { asked, found: first })
    }
}

/// The end of a call of which a part failed.
fn end(failure: Failure, in_flight: InFlight, sent: bool, tokens: (u64, u64), certainty: Certainty) -> Failure {
    let rest = match tokens {
        (0, 0) if sent => ChargeState::Refused(in_flight.into()),
        (0, 0) => ChargeState::Unsent(in_flight.into()),
        (known, 0) => {
            in_flight.settle(known, certainty);
            ChargeState::Nothing
        }
        (known, maybe) => {
            in_flight.lost(known, maybe);
            ChargeState::Nothing
        }
    };
    Failure { rest, ..failure }
}

fn sum(tokens: &[u64], range: &Range<usize>) -> u64 {
    tokens.get(range.clone()).unwrap_or_default().iter().sum()
}

/// What was to be done was not.
fn not_done(error: &dyn std::fmt::Display) -> Failure {
    Failure::of_sidecar(Refusal::unavailable("computing_failed", format!("The call could not be worked on: {error}")))
}

/// What the parts of a call have in common.
struct Work<'a> {
    backend: &'a Arc<Backend>,
    remote: &'a HttpProvider,
    split_call: &'a Arc<SplitCall>,
    in_flight: &'a InFlight,
    sending: &'a Sending,
    deadline: Instant,
}

impl Work<'_> {
    fn tokens(&self, range: &Range<usize>) -> u64 {
        sum(&self.split_call.split.tokens, range)
    }

    async fn part(
        &self,
        range: Range<usize>,
        made: Option<OutgoingRequest>,
        held: MemoryPermit,
    ) -> Result<Done, Failed> {
        let departure = SentFlag::default();
        let work = tokio::time::timeout_at(self.deadline.into(), self.exchange(range, made, held, &departure));
        let (label, timeout) = (&self.backend.label, self.backend.timeout);
        let late = || {
            if departure.has_left() {
                Failed { failure: Failure::late(label, timeout), charged: Charged::Maybe }
            } else {
                Failed { failure: Failure::late_to_leave(label, timeout), charged: Charged::Unsent }
            }
        };
        work.await.unwrap_or_else(|_| Err(late()))
    }

    async fn exchange(
        &self,
        range: Range<usize>,
        made: Option<OutgoingRequest>,
        mut held: MemoryPermit,
        departure: &SentFlag,
    ) -> Result<Done, Failed> {
        let Self { backend, remote, split_call, in_flight, sending, deadline: _ } = self;
        let (call, input_type) = (in_flight.call(), in_flight.route().manner.input_type);
        let part = part_of(backend, (call, input_type), split_call, range.clone());
        let texts = part.texts;
        let free = |failure| Failed { failure, charged: Charged::Nothing };
        let paid = |failure| Failed { failure, charged: Charged::Maybe };
        let failed = |(failure, charge)| match charge {
            Charge::Nothing => free(failure),
            Charge::Unsettled => paid(failure),
        };
        let request = match made {
            Some(made) => made,
            None => self.request(range).await.map_err(free)?,
        };
        let asking = pin!(remote.ask(in_flight, request, &sending.from_caller, departure));
        let response = refining(in_flight, asking).await.map_err(|error| {
            let charged = if error.is_unsent() { Charged::Unsent } else { Charged::Maybe };
            Failed { failure: sending_failed(&error, backend), charged }
        })?;
        let (parts, body) = response.into_parts();
        let most = if parts.status.is_success() {
            MAX_INPUT_ANSWER_BYTES * texts.len() + MAX_ENVELOPE_BYTES
        } else {
            MAX_ERROR_BYTES
        };
        let body = self.collect(body, most, &mut held).await;
        if !parts.status.is_success() {
            let body = body.map(join).unwrap_or_default();
            let answer = ErrorAnswer::new(parts.status, &parts.headers, &body);
            return Err(failed(status_failed(remote, backend, answer)));
        }
        let unusable = |what: &dyn std::fmt::Display| {
            let message = format!("Backend {}: the provider's answer {what}", backend.label);
            paid(Failure::down(Refusal::bad_gateway(message), "failed"))
        };
        let body = body.map_err(|broken| match broken {
            CollectError::Cut => unusable(&"was cut off"),
            CollectError::NoRoom => paid(Failure::of_sidecar(Refusal::no_room())),
        })?;
        let read = self.read(texts.len(), &part, &parts.headers, body.clone()).await;
        let answer = read.map_err(|wrong| match wrong {
            Ok(Unusable { defect: AnswerDefect::Shape, tokens: None }) if is_error(&body) => {
                failed(error_in_success(remote, backend, &parts.headers, &join(body.clone())))
            }
            Ok(Unusable { defect, tokens }) => {
                Failed { charged: tokens.map_or(Charged::Maybe, Charged::Reported), ..unusable(&defect) }
            }
            Err(failure) => paid(failure),
        })?;
        held.shrink(answer.vectors.iter().map(|vector| size_of_val(&**vector)).sum());
        Ok(Done { answer, headers: parts.headers, held })
    }

    /// The request for another part than the first.
    async fn request(&self, range: Range<usize>) -> Result<OutgoingRequest, Failure> {
        let (split_call, backend, call) =
            (self.split_call.clone(), self.backend.clone(), self.in_flight.call().clone());
        let input_type = self.in_flight.route().manner.input_type;
        let texts = split_call.split.texts.get(range.clone()).unwrap_or_default();
        let bytes = texts.iter().map(|text| text.len() as u64).sum();
        let write = move || {
            let Provider::Remote(remote) = &backend.provider else {
                return Err(not_done(&"its backend is another one"));
            };
            request(remote, &part_of(&backend, (&call, input_type), &split_call, range))
        };
        self.sending.compute.run_above(MUCH as u64, bytes, write).await.map_err(|error| not_done(&error))?
    }

    /// The pieces of a whole answer, of so many bytes at most, while there is memory for it and for the vectors in it.
    async fn collect(
        &self,
        mut body: Content,
        most: usize,
        held: &mut MemoryPermit,
    ) -> Result<Vec<Bytes>, CollectError> {
        let (mut pieces, mut length) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| CollectError::Cut)?.into_data() else { continue };
            length += data.len();
            if length > most {
                return Err(CollectError::Cut);
            }
            // A number of a dozen digits takes four bytes more when it is read.
            let (claim, end) = (&self.in_flight.call().claim, self.deadline.into());
            // Before the deadline of the part itself: that is no fault of the backend's.
            claim.hold_until(held, length + length / 3, end).await.map_err(|NoRoom| CollectError::NoRoom)?;
            pieces.push(data);
        }
        Ok(pieces)
    }

    async fn read(
        &self,
        items: usize,
        part: &Part<'_>,
        headers: &HeaderMap,
        body: Vec<Bytes>,
    ) -> Result<ParsedAnswer, Result<Unusable, Failure>> {
        let bytes = length(&body);
        if bytes < MUCH {
            return self.remote.dialect().answer(part, headers, &join(body)).map_err(Ok);
        }
        let (backend, headers) = (self.backend.clone(), headers.clone());
        let (model, dimensions, input_type) = (part.model.to_owned(), part.dimensions, part.input_type);
        let extensions = part.extensions.clone();
        let read = self.sending.compute.run(bytes as u64, move || {
            // Reading an answer needs the number of the texts only.
            let texts = vec![Cow::Borrowed(""); items];
            let (passthrough, extensions) = (PassthroughFields::default(), &extensions);
            let part = Part { model: &model, texts: &texts, dimensions, input_type, passthrough, extensions };
            let Provider::Remote(remote) = &backend.provider else { return None };
            Some(remote.dialect().answer(&part, &headers, &join(body)))
        });
        match read.await {
            Ok(Some(read)) => read.map_err(Ok),
            Ok(None) => Err(Ok(AnswerDefect::Shape.into())),
            Err(error) => Err(Err(not_done(&error))),
        }
    }
}

fn length(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// Whether an answer reports an error in place of vectors. None of that kind is long.
fn is_error(body: &[Bytes]) -> bool {
    #[derive(serde::Deserialize)]
    struct Answer {
        error: serde_json::Value,
    }
    let error = |body: Bytes| serde_json::from_slice::<Answer>(&body).is_ok_and(|answer| !answer.error.is_null());
    length(body) < MUCH && error(join(body.to_vec()))
}

/// A part of a call, as its backend is asked for it.
pub(super) fn part_of<'a>(
    backend: &'a Backend,
    (call, input_type): (&'a Call, InputType),
    SplitCall { split, extensions }: &'a SplitCall,
    range: Range<usize>,
) -> Part<'a> {
    let request::ProviderSpecificFields { input_type: in_words, user } = &call.request.provider_specific;
    Part {
        model: backend.model_of(&call.model),
        texts: split.texts.get(range).unwrap_or_default(),
        dimensions: call.request.dimensions,
        input_type: call.request.input_type.unwrap_or(input_type),
        passthrough: PassthroughFields {
            input_type: in_words.as_deref(),
            user: user.as_deref(),
            are_arrays: split.are_arrays,
        },
        extensions,
    }
}
