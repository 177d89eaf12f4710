//! A call in a provider's own shape, in one request or in several side by side, whose answers become one.
//!
//! A part that fails makes the call fail. Parts that are under way then are waited for, because what they cost is to be known;
//! no other is sent. What was spent is booked; where nobody knows of a part, all of the call is marked as unsettled.

use std::{ops::Range, sync::Arc, time::Instant};

use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{HeaderMap, HeaderValue, header};
use vectoll_config::v1::{InputType, TokenBound};

use super::{
    deliver::{DeliverError, deliver},
    failure::{ChargeState, Failure},
    part_exchange::{Charged, Done, Failed, PartExchange, not_done},
    planned::{Plan, SplitCall},
    sending::Sending,
    vector_defect::wrong,
};
use crate::{
    accounting::InFlight, answer::Answer, call::Call, compute::Compute, memory::MemoryPermit, policy::Backend,
    refusal::Refusal, tokenizer,
};
use vectoll_api::request::{self, Shape};
use vectoll_ledger::books::Certainty;
use vectoll_upstream::provider::{
    HttpProvider, Provider,
    dialect::{Part, PassthroughFields, Unsupported},
    outgoing::OutgoingRequest,
};

/// What is expected of one: some thousand numbers as digits. An answer that is larger takes more memory when it comes.
const EXPECTED_OF_AN_INPUT: usize = 16 * 1024;
/// From so many bytes on a request is written on a thread of its own.
const MUCH: usize = 64 * 1024;
/// Text from which on tokens are counted there, as in admission.
const MUCH_TEXT: u64 = 32 * 1024;

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
        let execution =
            SplitExecution { backend, remote, split_call: &split_call, in_flight: &in_flight, sending, deadline };
        let mut first = Some(first);
        let mut waiting = split.parts.iter().cloned().enumerate();
        let mut under_way = FuturesUnordered::new();
        loop {
            while failed.is_none() && under_way.len() < remote.parallel() {
                let Some((place, range)) = waiting.next() else { break };
                let (execution, made, memory) = (&execution, first.take(), held.split(expected_of(range.len())));
                under_way.push(async move { (place, execution.part(range, made, memory).await) });
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
                        Charged::Maybe => maybe += split.parts.get(place).map_or(0, |range| execution.tokens(range)),
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
        return Err(Failure::down(Refusal::bad_gateway(message).charged(), "failed"));
    }
    // What the answer says of itself is the sidecar's: only what was asked is passed on of the provider's headers.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answer = deliver(vectors, known, &call, settled, (&sending.tasks, &sending.compute), deadline).await;
    // It was served, and is paid: no other backend is asked, and this one is not to blame.
    drop(of_parts);
    answer.map(|answer| (answer, headers)).map_err(|DeliverError| Failure::of_sidecar(Refusal::no_room_for_answer()))
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

/// The execution of a split call: what all of its parts need.
struct SplitExecution<'a> {
    backend: &'a Arc<Backend>,
    remote: &'a HttpProvider,
    split_call: &'a Arc<SplitCall>,
    in_flight: &'a InFlight,
    sending: &'a Sending,
    deadline: Instant,
}

impl SplitExecution<'_> {
    fn tokens(&self, range: &Range<usize>) -> u64 {
        sum(&self.split_call.split.tokens, range)
    }

    async fn part(
        &self,
        range: Range<usize>,
        made: Option<OutgoingRequest>,
        held: MemoryPermit,
    ) -> Result<Done, Failed> {
        let Self { backend, remote, split_call, in_flight, sending, deadline } = self;
        let (call, input_type) = (in_flight.call(), in_flight.route().manner.input_type);
        let part = part_of(backend, (call, input_type), split_call, range.clone());
        let request = async {
            match made {
                Some(made) => Ok(made),
                None => self.request(range).await,
            }
        };
        let exchange = PartExchange {
            backend,
            remote,
            from_caller: &sending.from_caller,
            compute: &sending.compute,
            claim: &call.claim,
            deadline: *deadline,
        };
        exchange.carry_out((*in_flight, in_flight.refine()), &part, request, held).await
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
