//! Calls that travel together: one request for all of them, and to each its own vector, its own share of the cost, and its own end.
//!
//! Where the provider refuses a request for what is in it, one of the texts may be to blame: each half is sent again, and of the half
//! that is refused again each half, down to two calls, which go their own ways and get their own errors. For one bad text among 64
//! that makes 13 requests. Where both halves are refused, all of them go their own ways.

use std::{borrow::Cow, future::ready, sync::Arc, time::Instant};

use futures_util::future::join_all;
use http::HeaderMap;
use vectoll_config::v1::InputType;

use super::{
    super::{
        attempt_end::failed,
        failure::{Blame, ChargeState, Failure},
        part_exchange::{Charged, Done, Failed, PartExchange},
        split::parts,
        vector_defect::wrong,
    },
    member::{Member, Outcome, Passenger},
    settlement::{again, fail, hand_out, same, settle},
};
use crate::{
    accounting::{Accounting, BackendQuota, Load, Together},
    background::Background,
    call::Call,
    memory::MemoryPermit,
    metrics::Metrics,
    policy::Backend,
    refusal::Refusal,
};
use vectoll_api::request::ProviderSpecificFields;
use vectoll_upstream::{
    health::{Attempt, FailureKind},
    provider::{
        HttpProvider, Provider,
        dialect::{Part, PassthroughFields, extension::Extensions},
    },
};

/// From so many bytes of text on a request is written, and its tokens are counted, on a thread of its own.
const MUCH: u64 = 32 * 1024;

/// Calls that wait for each other.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) backend: Arc<Backend>,
    /// What the backend's health is told by: of the first that came.
    pub(super) attempt: Attempt,
    pub(super) members: Vec<Member>,
}

/// What carries groups to their backends.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Carrier {
    pub(in crate::proxy) accounting: Arc<Accounting>,
    pub(in crate::proxy) metrics: Metrics,
    pub(in crate::proxy) tasks: Background,
}

impl Carrier {
    /// Sends a group that nobody joins any more, in as many requests as its provider needs.
    pub(super) async fn carry(self, group: Group) {
        let Group { backend, attempt, members } = group;
        let (over, members): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| member.passenger.is_over());
        go_alone(over);
        let Provider::Remote(remote) = &backend.provider else { return go_alone(members) };
        let Some(first) = members.first() else { return };
        let capabilities = remote.capabilities(backend.model_of(&first.permit.call().model));
        let weights: Vec<u64> = members.iter().map(|member| backend.most_tokens(member.permit.call())).collect();
        let parts = parts(&weights, capabilities.items, capabilities.tokens.unwrap_or(u64::MAX));
        let (mut attempt, mut members) = (Some(attempt), members.into_iter());
        let requests = parts.into_iter().map(|part| {
            let members = members.by_ref().take(part.len()).collect();
            Box::pin(self.clone().send(backend.clone(), attempt.take(), members))
        });
        let requests: Vec<_> = requests.collect();
        join_all(requests).await;
    }

    /// Sends one request; if it is refused for what one of its texts may be to blame for, finds out which.
    async fn send(self, backend: Arc<Backend>, attempt: Option<Attempt>, members: Vec<Member>) {
        let Some(mut refused) = self.request(&backend, attempt, members).await else { return };
        while refused.len() > 2 {
            let second = refused.split_off(refused.len() / 2);
            let halves = tokio::join!(self.request(&backend, None, refused), self.request(&backend, None, second));
            refused = match halves {
                (None, None) => return,
                (Some(one), None) | (None, Some(one)) => one,
                // It is more than one text, or something that all have in common.
                (Some(one), Some(other)) => {
                    go_alone(one);
                    return go_alone(other);
                }
            };
        }
        go_alone(refused);
    }

    /// One request, unless it would be for one call. What comes back was refused for what a text may be to blame for.
    async fn request(
        &self,
        backend: &Arc<Backend>,
        attempt: Option<Attempt>,
        members: Vec<Member>,
    ) -> Option<Vec<Member>> {
        let Provider::Remote(remote) = &backend.provider else {
            go_alone(members);
            return None;
        };
        let load: u64 = members.iter().map(|member| backend.load_tokens(member.permit.call())).sum();
        let take_quota =
            async || BackendQuota::take(&self.accounting, backend, None, || Load { requests: 1, tokens: load }).await;
        let attempt = attempt.or_else(|| backend.health.begin(self.accounting.now().elapsed, true));
        // Where there is no room for all of them there may be some for a few, or at another backend: each finds out.
        let ready = if members.len() < 2 { None } else { take_quota().await.ok().zip(attempt) };
        let Some((quota, attempt)) = ready else {
            go_alone(members);
            return None;
        };
        Box::pin(self.exchange((backend, remote), (attempt, quota, load), members)).await
    }

    /// A request and its outcome for each call; or the calls, if it was refused for what one of their texts may be to blame for.
    async fn exchange(
        &self,
        (backend, remote): (&Arc<Backend>, &HttpProvider),
        (mut attempt, quota, load): (Attempt, Option<BackendQuota>, u64),
        members: Vec<Member>,
    ) -> Option<Vec<Member>> {
        let first = members.first()?;
        let (call, route) = (first.permit.call().clone(), first.permit.route().clone());
        let texts: Vec<Arc<str>> = members.iter().map(|member| member.passenger.text.clone()).collect();
        let bytes = texts.iter().map(|text| text.len() as u64).sum();
        let write = {
            let (backend, call, texts, input_type) =
                (backend.clone(), call.clone(), texts.clone(), route.manner.input_type);
            move || {
                let Provider::Remote(remote) = &backend.provider else { return None };
                let (texts, extensions) = (borrowed(&texts), Extensions::default());
                remote.request(&part_of(&backend, (&call, input_type), &texts, &extensions)).ok()
            }
        };
        let Ok(Some(request)) = self.accounting.compute.run_above(MUCH, bytes, write).await else {
            // Each is told what the provider cannot do.
            go_alone(members);
            return None;
        };
        let (texts, extensions, from_caller) = (borrowed(&texts), Extensions::default(), HeaderMap::new());
        let part = part_of(backend, (&call, route.manner.input_type), &texts, &extensions);
        // The answer's memory is the oldest's to take, for it comes first, and the others wait for that.
        let oldest = members.iter().map(|member| member.permit.call()).min_by_key(|call| call.claim.number())?.clone();
        for member in members.iter().filter(|member| !Arc::ptr_eq(member.permit.call(), &oldest)) {
            member.permit.call().claim.follow();
        }
        let (together, passengers) = journalled(backend, members)?;
        self.metrics.backends.coalesced(&backend.label, passengers.len() as u64);
        attempt.starts(self.accounting.now().elapsed);
        let started = Instant::now();
        let exchange = PartExchange {
            backend,
            remote,
            from_caller: &from_caller,
            compute: &self.accounting.compute,
            claim: &oldest.claim,
            deadline: started + backend.timeout,
        };
        let held = MemoryPermit::default();
        let done = exchange.carry_out((&together, together.refine()), &part, ready(Ok(request)), held).await;
        self.metrics.upstream(&backend.label).observe(started.elapsed().as_secs_f64());
        self.count(backend, &together, bytes).await;
        let now = self.accounting.now().elapsed;
        match done {
            Ok(Done { answer, headers, held }) => {
                // Settled first: what is not right with the vectors does not change what they cost.
                let settled = settle(backend, together, answer.tokens);
                used(quota, settled.iter().map(|(tokens, _)| tokens).sum());
                match wrong(&answer.vectors, passengers.len() as u64, call.request.dimensions) {
                    None => {
                        attempt.served("served", now);
                        hand_out(passengers, answer.vectors, settled, headers);
                    }
                    Some(wrong) => {
                        let message = format!("Backend {}: {wrong}", backend.label);
                        let failure = Failure::down(Refusal::bad_gateway(message).charged(), "failed");
                        attempt.failed(FailureKind::Down, "failed", route.manner.cooldown, now);
                        for passenger in passengers {
                            passenger.reply.send(Outcome::Failed(same(&failure, ChargeState::Nothing)));
                        }
                    }
                }
                drop(held);
                None
            }
            Err(Failed { failure, charged }) => {
                failed(attempt, &failure, (&call, backend), route.manner.cooldown, self.accounting.clock);
                match charged {
                    Charged::Unsent => drop(quota),
                    Charged::Nothing => used(quota, 0),
                    Charged::Reported(tokens) => used(quota, tokens),
                    Charged::Maybe => used(quota, load),
                }
                if failure.blame == Blame::Call && matches!(charged, Charged::Nothing | Charged::Maybe) {
                    return Some(again((&self.accounting, &self.tasks), charged, together, passengers).await);
                }
                fail((backend, &failure, charged), together, passengers);
                None
            }
        }
    }
}

impl Carrier {
    /// Has the tokens of all calls counted, where that is not the event loop's: whatever becomes of them, it is not counted again.
    async fn count(&self, backend: &Arc<Backend>, together: &Together, bytes: u64) {
        let calls: Vec<Arc<Call>> = together.calls().iter().map(|call| call.call().clone()).collect();
        if let Some(first) = calls.first() {
            backend.load_tokenizer(first, &self.accounting.compute).await;
        }
        let backend = backend.clone();
        let count = move || {
            for call in &calls {
                backend.count_tokens(call);
            }
        };
        // What could not be counted here is counted where it is needed.
        let _ = self.accounting.compute.run_above(MUCH, bytes, count).await;
    }
}

fn borrowed(texts: &[Arc<str>]) -> Vec<Cow<'_, str>> {
    texts.iter().map(|text| Cow::Borrowed(&**text)).collect()
}

/// The request of calls that are alike in all but their texts, one of which is this.
fn part_of<'a>(
    backend: &'a Backend,
    (call, input_type): (&'a Call, InputType),
    texts: &'a [Cow<'a, str>],
    extensions: &'a Extensions,
) -> Part<'a> {
    let ProviderSpecificFields { input_type: asked, user } = &call.request.provider_specific;
    Part {
        model: backend.model_of(&call.model),
        texts,
        dimensions: call.request.dimensions,
        input_type: call.request.input_type.unwrap_or(input_type),
        passthrough: PassthroughFields { input_type: asked.as_deref(), user: user.as_deref(), are_arrays: false },
        extensions,
    }
}

fn go_alone(members: Vec<Member>) {
    for member in members {
        member.goes_alone();
    }
}

fn used(quota: Option<BackendQuota>, tokens: u64) {
    if let Some(quota) = quota {
        quota.used(tokens);
    }
}

/// The journal has an intent of each; none: it does not take them all, and each goes its own way, where it is told so.
fn journalled(backend: &Arc<Backend>, members: Vec<Member>) -> Option<(Together, Vec<Passenger>)> {
    let (mut calls, mut passengers) = (Vec::with_capacity(members.len()), Vec::with_capacity(members.len()));
    let mut members = members.into_iter();
    for Member { permit, passenger } in members.by_ref() {
        match permit.sent(backend.clone(), 1, None) {
            Ok(in_flight) => {
                calls.push(in_flight);
                passengers.push(passenger);
            }
            Err(refusal) => {
                passenger.reply.send(Outcome::Failed(Failure::of_sidecar(refusal)));
                for (in_flight, passenger) in calls.into_iter().zip(passengers) {
                    if let Some(permit) = ChargeState::Unsent(in_flight.into()).withdraw() {
                        passenger.reply.send(Outcome::Alone(permit));
                    }
                }
                go_alone(members.collect());
                return None;
            }
        }
    }
    Some((Together::new(calls)?, passengers))
}
