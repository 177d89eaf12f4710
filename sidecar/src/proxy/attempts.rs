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
    failure::{Blame, Failure, Rest},
    send::{Sending, send},
};
use crate::{
    accounting::{Accounting, Permit, readmit},
    call::Call,
    health::{Fault, Full, Load},
    metrics::Metrics,
    policy::{Backend, Choice, Manner, NoChoice, Route, Tried},
    provider::Provider,
    refusal::Refusal,
    tokens,
};

/// The pause before a backend is tried again; twice as long before the third time, and so on.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest that a call waits for a backend that it tries again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

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
    let Manner { retry, timeout, .. } = &route.manner;
    let end = timeout.map(|timeout| started + timeout);
    route.retry_budget.called();
    let mut tried = Tried::default();
    let mut so_far = SoFar::Admitted(permit);
    let failure = loop {
        let choice = match route.choose(tried, |backend| weigh(&call, backend), accounting.now().elapsed) {
            Ok(choice) => choice,
            Err(NoChoice::AllTried) if retry.same_backend && so_far.has_failed() => {
                tried = Tried::default();
                if pause(journey.retries, &so_far, end).await {
                    continue;
                }
                break so_far.or_else(NoChoice::AllTried);
            }
            Err(reason) => break so_far.or_else(reason),
        };
        let Choice { place, backend, attempt, room } = choice;
        tried.add(place);
        // Meanwhile its caller may have left, or the time be up: the pause and the store take theirs.
        let is_over = || left.load(Ordering::Relaxed) || end.is_some_and(|end| Instant::now() >= end);
        let permit = match so_far.admit(&accounting, &call, &route, is_over).await {
            Ok(permit) => permit,
            Err(failure) => break failure,
        };
        journey.goes_to(&backend, &call, &metrics);
        let upstream = metrics.upstream(&backend.label);
        let deadline = Instant::now() + backend.timeout;
        let deadline = end.map_or(deadline, |end| end.min(deadline));
        let target = Target { permit, backend, attempt, room };
        let mut failure = match send(target, &sending, upstream, deadline).await {
            Ok(sent) => return (Ok(sent), journey),
            Err(failure) => failure,
        };
        let again = matches!(failure.blame, Blame::Backend(_) | Blame::Name)
            && journey.retries < retry.attempts
            && end.is_none_or(|end| Instant::now() < end)
            && !left.load(Ordering::Relaxed)
            && (retry.same_backend || route.is_open(tried))
            && route.retry_budget.take();
        if !again {
            break failure;
        }
        failure.rest.leave_room();
        so_far = SoFar::Failed(failure);
    };
    let Failure { refusal, rest, .. } = failure;
    rest.end();
    (Err(refusal), journey)
}

/// What there is of a call before its next attempt.
enum SoFar {
    /// It was not sent yet.
    Admitted(Permit),
    /// An attempt failed.
    Failed(Failure),
}

impl SoFar {
    fn has_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// The reservation for another attempt: the same one, if it is still whole, else another one. Where there is no room for it
    /// the failure is what there is to tell.
    async fn admit(
        self,
        accounting: &Arc<Accounting>,
        call: &Arc<Call>,
        route: &Arc<Route>,
        is_over: impl Fn() -> bool,
    ) -> Result<Permit, Failure> {
        let Failure { refusal, blame, result, rest } = match self {
            Self::Admitted(permit) => return Ok(permit),
            Self::Failed(failure) => failure,
        };
        if is_over() {
            return Err(Failure { refusal, blame, result, rest });
        }
        let permit = match rest.withdraw() {
            Some(permit) => Ok(permit),
            None => readmit(accounting, call.clone(), route.clone()).await,
        };
        // A permit that is dropped gives its reservation back.
        permit.ok().filter(|_| !is_over()).ok_or(Failure { refusal, blame, result, rest: Rest::Nothing })
    }

    /// There is no backend for another attempt.
    fn or_else(self, reason: NoChoice) -> Failure {
        match self {
            // Dropping the permit gives the reservation back.
            Self::Admitted(_) => Failure::of_sidecar(nowhere(reason)),
            Self::Failed(failure) => failure,
        }
    }
}

impl Journey {
    /// Notes the next attempt.
    fn goes_to(&mut self, backend: &Arc<Backend>, call: &Call, metrics: &Metrics) {
        if let Some(before) = &self.backend {
            self.retries += 1;
            self.fallbacks += u32::from(!Arc::ptr_eq(before, backend));
            metrics.backends.retried(&backend.label);
            call.entry.retries(self.retries);
        }
        call.entry.backend(&backend.label);
        self.backend = Some(backend.clone());
    }
}

/// What a call takes of a backend's limits.
fn weigh(call: &Call, backend: &Backend) -> Load {
    let items = match &backend.provider {
        Provider::Remote(remote) => remote.caps(backend.model_of(&call.model)).items as u64,
        Provider::Builtin { .. } | Provider::Cache | Provider::Unusable(_) => u64::MAX,
    };
    let requests = call.shape.items.div_ceil(items).max(1);
    let exact = backend.limits.tokens_per_minute.and_then(|_| tokens::count_little(call, &backend.tokens));
    Load { requests, tokens: exact.unwrap_or_else(|| tokens::bound(&call.shape, &backend.tokens)) }
}

/// Waits before all backends are tried again: longer each time, never all callers at once, and as long as the provider asks
/// for. False: that would be too long.
async fn pause(retries: u32, so_far: &SoFar, end: Option<Instant>) -> bool {
    let asked = match so_far {
        SoFar::Failed(Failure { blame: Blame::Backend(Fault::Limited(Some(wait))), .. }) => *wait,
        SoFar::Failed(_) | SoFar::Admitted(_) => Duration::ZERO,
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
