//! A call's attempts: one backend after the other, until one serves it or none is left.
//!
//! What a provider has refused for certain costs nothing: the next attempt goes on with the same reservation. After an attempt
//! that may have been charged the next one takes a reservation of its own, and is not made where there is no room for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Sent, Target,
    failure::{Blame, Failure},
    send::{Sending, send},
};
use crate::{
    accounting::{Accounting, Permit, readmit},
    call::Call,
    health::{Fault, Full},
    metrics::Metrics,
    policy::{Backend, Choice, NoChoice, Route, Tried},
    refusal::Refusal,
    tokens,
};

/// The pause before a backend is tried again; twice as long before the third time, and so on.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest that a call waits for a backend that it tries again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Text up to which tokens are counted exactly for a provider's limits.
const LITTLE_TEXT: u64 = 32 * 1024;

/// Where a call has been.
#[derive(Debug, Default)]
pub(super) struct Journey {
    /// The backend of the last attempt.
    pub(super) backend: Option<Arc<Backend>>,
    /// Attempts after the first.
    pub(super) retries: u32,
    /// Those of them that went to another backend than the one before.
    pub(super) fallbacks: u32,
}

/// Carries out an admitted call. `left` is set when its caller has gone: nothing is tried again for it.
pub(super) async fn carry_out(
    permit: Permit,
    accounting: Arc<Accounting>,
    metrics: Metrics,
    sending: Sending,
    left: Arc<AtomicBool>,
) -> (Result<Sent, Refusal>, Journey) {
    let mut journey = Journey::default();
    let (call, route, started) = (permit.call().clone(), permit.route().clone(), Instant::now());
    let end = route.timeout.map(|timeout| started + timeout);
    route.retry_budget.called();
    let mut permit = Some(permit);
    let mut tried = Tried::default();
    let mut failure: Option<Failure> = None;
    loop {
        let choice = match route.choose(tried, |backend| weigh(&call, backend), accounting.now().elapsed) {
            Ok(choice) => choice,
            Err(NoChoice::AllTried) if route.retry.same_backend && failure.is_some() => {
                tried = Tried::default();
                if !pause(journey.retries, failure.as_ref(), end).await {
                    break;
                }
                continue;
            }
            Err(NoChoice::AllTried) => break,
            Err(reason) => {
                failure = failure.or_else(|| Some(Failure::of_sidecar(nowhere(reason))));
                break;
            }
        };
        let Choice { place, backend, attempt, room } = choice;
        tried.add(place);
        let admitted = match (permit.take(), failure.take()) {
            (Some(first), _) => Ok(first),
            (None, Some(Failure { refusal, blame, result, rest })) => match rest.withdraw() {
                Some(same) => Ok(same),
                // No room for another reservation: the first failure is what there is to tell.
                None => readmit(&accounting, call.clone(), route.clone()).await.map_err(|_| Failure {
                    refusal,
                    blame,
                    result,
                    rest: super::failure::Rest::Nothing,
                }),
            },
            (None, None) => break,
        };
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(before) => {
                failure = Some(before);
                break;
            }
        };
        if let Some(before) = &journey.backend {
            journey.retries += 1;
            journey.fallbacks += u32::from(!Arc::ptr_eq(before, &backend));
            metrics.backends.retried(&backend.label);
            call.entry.retries(journey.retries);
        }
        call.entry.backend(&backend.label);
        journey.backend = Some(backend.clone());
        let upstream = metrics.upstream(&backend.label);
        let deadline = Instant::now() + backend.timeout;
        let deadline = end.map_or(deadline, |end| end.min(deadline));
        let target = Target { permit: admitted, backend, attempt, room };
        match send(target, &sending, upstream, deadline).await {
            Ok(sent) => return (Ok(sent), journey),
            Err(failed) => {
                let again = matches!(failed.blame, Blame::Backend(_))
                    && journey.retries < route.retry.attempts
                    && end.is_none_or(|end| Instant::now() < end)
                    && !left.load(Ordering::Relaxed);
                failure = Some(failed);
                if !again || !more(&route, tried) || !route.retry_budget.take() {
                    break;
                }
            }
        }
    }
    let refusal = match failure {
        Some(Failure { refusal, rest, .. }) => {
            rest.end();
            refusal
        }
        None => nowhere(NoChoice::NoBackend),
    };
    (Err(refusal), journey)
}

/// Whether there is a backend for another attempt.
fn more(route: &Route, tried: Tried) -> bool {
    route.retry.same_backend || route.is_open(tried)
}

/// What a call takes of a backend's limits.
fn weigh(call: &Call, backend: &Backend) -> u64 {
    let exact = (backend.limits.tokens_per_minute.is_some() && call.shape.bytes <= LITTLE_TEXT)
        .then(|| tokens::count(&call.input().ok()?, &backend.tokens))
        .flatten();
    exact.unwrap_or_else(|| tokens::bound(&call.shape, &backend.tokens))
}

/// Waits before all backends are tried again: longer each time, never all callers at once, and as long as the provider asks
/// for. False: that would be too long.
async fn pause(retries: u32, failure: Option<&Failure>, end: Option<Instant>) -> bool {
    let asked = match failure.map(|failure| failure.blame) {
        Some(Blame::Backend(Fault::Limited(wait))) => wait.unwrap_or_default(),
        Some(Blame::Backend(Fault::Down) | Blame::Call | Blame::Sidecar) | None => Duration::ZERO,
    };
    let grown = PAUSE * 2u32.pow(retries.min(5));
    let wait = asked.max(grown.mul_f64(0.5 + fastrand::f64() / 2.0));
    if wait > LONGEST_PAUSE || end.is_some_and(|end| Instant::now() + wait >= end) {
        return false;
    }
    tokio::time::sleep(wait).await;
    true
}

/// No backend takes the call.
fn nowhere(reason: NoChoice) -> Refusal {
    match reason {
        NoChoice::Full(Full { wait }) => {
            let message = "All backends of this model are at their providers' limits".to_owned();
            Refusal::rate_limited("backend", "backend_limits", message, wait)
        }
        NoChoice::NoBackend | NoChoice::AllTried => {
            let message = "The route of this model is not ready: the conditions of the ModelRoute say why".to_owned();
            Refusal::unavailable("no_backend", message)
        }
    }
}
