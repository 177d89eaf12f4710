//! Sending an admitted call to its backend.

use std::{pin::pin, sync::Arc, time::Instant};

use http::HeaderMap;
use prometheus::Histogram;

use super::{
    attempt_end::failed,
    builtin,
    exchange::{Deadline, Upstream, in_time, refining},
    failure::{ChargeState, Failure},
    parts,
    planned::Plan,
    read::{Read, read},
    refused::{Refused, refused, sending_failed},
    sending::Sending,
    sent::Sent,
    target::Target,
};
use crate::{
    accounting::{BackendQuota, InFlight, Permit},
    answer::{Answer, Observation, Relay, Verdict},
    compute::{Compute, NotDone},
    policy::Backend,
    refusal::Refusal,
};
use vectoll_upstream::{
    credential::Payload,
    provider::{HttpProvider, Provider, SentFlag},
};

/// A longer body is copied and gone through on a thread of its own. So much takes at most a few tenths of a millisecond, where it is signed
/// by a processor that knows nothing of SHA-256.
const MUCH_BODY: usize = 128 * 1024;

/// Makes one attempt, to be done by `deadline`, notes its time in `upstream`, and how it ended with the backend's health.
pub(super) async fn send(
    target: Target,
    sending: Arc<Sending>,
    upstream: Histogram,
    deadline: Instant,
) -> Result<Sent, Failure> {
    let Target { permit, backend, attempt, plan, quota } = target;
    let (call, cooldown, started) = (permit.call().clone(), permit.route().manner.cooldown, Instant::now());
    match exchange(permit, &backend, (plan, quota), &sending, deadline).await {
        Ok((Read::Done(answer), headers)) => {
            upstream.observe(started.elapsed().as_secs_f64());
            attempt.served("served", sending.clock.now().elapsed);
            Ok(Sent { answer, headers })
        }
        Ok((Read::Coming(read, flow, held), headers)) => {
            let rate_limits = flow.rate_limits();
            let verdict = Verdict { attempt, cooldown, clock: sending.clock };
            let relay =
                Relay::new((read, held), flow, &sending.tasks, Observation { since: started, upstream, verdict });
            Ok(Sent { answer: Answer::Streaming(relay, rate_limits), headers })
        }
        Err(failure) => {
            upstream.observe(started.elapsed().as_secs_f64());
            failed(attempt, &failure, (&call, &backend), cooldown, sending.clock);
            Err(failure)
        }
    }
}

async fn exchange(
    permit: Permit,
    backend: &Arc<Backend>,
    (plan, quota): (Option<Plan>, Option<BackendQuota>),
    sending: &Sending,
    deadline: Instant,
) -> Result<(Read, HeaderMap), Failure> {
    let Sending { from_caller, tasks, compute, most: _, coalescer: _, clock: _, left: _ } = sending;
    match &backend.provider {
        Provider::Builtin => {
            let answer = builtin::answer(permit, backend, quota, sending).await;
            answer.map(|(answer, headers)| (Read::Done(answer), headers)).map_err(Failure::of_builtin)
        }
        Provider::Cache => {
            let refusal = Refusal::misconfigured("no_backend", "What is kept of answers cannot be called".to_owned());
            Err(Failure::of_sidecar(refusal))
        }
        // Dropping the permit gives the reservation back: nothing was sent.
        Provider::Unusable(reason) => {
            let message = format!("Backend {} cannot be called: {reason}", backend.label);
            let without = format!("Backend {} cannot be called: its settings are such", backend.label);
            let refusal = Refusal::misconfigured("unusable_backend", message);
            Err(Failure::down(refusal.particular_to(&backend.label, without, true), "failed"))
        }
        Provider::Remote(remote) => match plan {
            None => {
                let mut in_flight = permit.sent(backend.clone(), 1, quota).map_err(Failure::of_sidecar)?;
                let mut deadline = Box::pin(tokio::time::sleep_until(deadline.into()));
                let knows_base64 = backend.health.knows_base64();
                let mut asks_base64 = knows_base64;
                loop {
                    let answered = call(remote, in_flight, (from_caller, asks_base64), &mut deadline, compute).await?;
                    in_flight = match answered {
                        (in_flight, Ok(response)) => {
                            // What was guessed from an error is known when it has helped.
                            if knows_base64 && !asks_base64 && backend.health.learn_no_base64() {
                                tracing::info!(
                                    backend = &*backend.label,
                                    "a backend does not know base64: it is asked for numbers"
                                );
                            }
                            return read(response, in_flight, deadline, (tasks, compute)).await;
                        }
                        // Once: it is not asked for base64 any more then.
                        (in_flight, Err(response)) => {
                            match refused(remote, (in_flight, asks_base64), response, &mut deadline).await {
                                Refused::AskAgain(in_flight) => {
                                    asks_base64 = false;
                                    in_flight
                                }
                                Refused::Failed(failure) => return Err(failure),
                            }
                        }
                    };
                }
            }
            Some(plan) => {
                let requests = plan.call.split.parts.len();
                let in_flight = permit.sent(backend.clone(), requests, quota).map_err(Failure::of_sidecar)?;
                let answer = Box::pin(parts::carry_out(backend, remote, plan, in_flight, sending, deadline)).await;
                answer.map(|(answer, headers)| (Read::Done(answer), headers))
            }
        },
    }
}

/// A response, sorted by whether it is a success; or the error of a call that got none.
async fn call(
    remote: &HttpProvider,
    in_flight: InFlight,
    (from_caller, asks_base64): (&HeaderMap, bool),
    deadline: &mut Deadline,
    compute: &Compute,
) -> Result<(InFlight, Result<Upstream, Upstream>), Failure> {
    let backend = in_flight.backend().clone();
    let model = backend.model_of(&in_flight.call().model);
    let departure = SentFlag::default();
    let request = &in_flight.call().request;
    let body = if request.body.len() <= MUCH_BODY {
        remote.body(request, model, asks_base64)
    } else {
        let made = {
            let mut making = Box::pin(body_aside(&in_flight, asks_base64, compute));
            in_time(deadline, making.as_mut()).await
        };
        match made {
            Some(Ok(Some(body))) => body,
            Some(Ok(None)) => remote.body(request, model, asks_base64),
            Some(Err(error)) => {
                let message = format!("The call could not be written: {error}");
                let failure = Failure::of_sidecar(Refusal::unavailable("computing_failed", message));
                return Err(Failure { rest: ChargeState::Unsent(in_flight.into()), ..failure });
            }
            // It waited for its turn here: that is no fault of the backend's.
            None => {
                let message = "The call could not be written in time: the sidecar has too much to do".to_owned();
                let failure = Failure::of_sidecar(Refusal::unavailable("computing_failed", message));
                return Err(Failure { rest: ChargeState::Unsent(in_flight.into()), ..failure });
            }
        }
    };
    let answered = {
        let sending = pin!(remote.pass(&in_flight, (body, model), from_caller, &departure));
        let sending = pin!(refining(in_flight.refine(), sending));
        in_time(deadline, sending).await
    };
    match answered {
        Some(Ok(response)) if response.status().is_success() => Ok((in_flight, Ok(response))),
        Some(Ok(response)) => Ok((in_flight, Err(response))),
        Some(Err(error)) if error.is_unsent() => {
            let failure = sending_failed(&error, &backend);
            Err(Failure { rest: ChargeState::Unsent(in_flight.into()), ..failure })
        }
        // Dropping `in_flight` books it as unsettled: the provider may have read the call.
        Some(Err(error)) => {
            in_flight.load_tokenizer().await;
            Err(sending_failed(&error, &backend))
        }
        None if departure.has_left() => {
            in_flight.load_tokenizer().await;
            Err(Failure::late(&backend.label, backend.timeout))
        }
        None => {
            let failure = Failure::late_to_leave(&backend.label, backend.timeout);
            Err(Failure { rest: ChargeState::Unsent(in_flight.into()), ..failure })
        }
    }
}

/// A large body as the provider is sent it. None: the backend is none that is sent any.
async fn body_aside(in_flight: &InFlight, asks_base64: bool, compute: &Compute) -> Result<Option<Payload>, NotDone> {
    let (call, backend) = (in_flight.call().clone(), in_flight.backend().clone());
    let make = move || {
        let Provider::Remote(remote) = &backend.provider else { return None };
        Some(remote.body(&call.request, backend.model_of(&call.model), asks_base64))
    };
    compute.run(in_flight.call().request.body.len() as u64, make).await
}
