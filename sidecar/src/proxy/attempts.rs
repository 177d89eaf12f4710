//! A call's attempts: one backend after the other, until one serves it or none is left.
//!
//! What a provider has refused for certain costs nothing: the next attempt goes on with the same reservation. After an attempt
//! that may have been charged the next one takes a reservation of its own, and is not made where there is no room for it.
//!
//! What few calls need is boxed here and in the modules below: a future is as large as its largest way, and is copied as it is
//! handed on.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use super::{
    Proxy,
    coalesce::Travelled,
    failure::{Blame, ChargeState, Failure},
    hedge::hedged,
    history::AttemptHistory,
    sending::{Left, Sending},
    sent::Sent,
    work::{CallExecution, NoBackend, not_ready},
};
use crate::{
    accounting::{Accounting, Permit},
    metrics::Metrics,
    policy::ExcludedBackends,
    refusal::Refusal,
};
use http::HeaderMap;
use vectoll_upstream::health::FailureKind;

/// The pause before a backend is tried again; twice as long before the third time, and so on.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(250);
/// The longest that a call waits for a backend that it tries again.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);

impl Proxy {
    /// The attempts at an admitted call, as work of its own: it may outlive the request. `left` says that it does.
    pub(super) fn attempts(
        &self,
        permit: Permit,
        from_caller: HeaderMap,
        left: &Arc<AtomicBool>,
    ) -> impl Future<Output = (Result<Sent, Refusal>, AttemptHistory)> + Send + use<> {
        let sending = Sending {
            from_caller,
            tasks: self.tasks.clone(),
            compute: self.compute().clone(),
            most: self.request_limits.body,
            coalescer: permit.route().manner.coalesce.map(|_| self.coalescer.clone()),
            clock: self.accounting.clock,
            left: Left(left.clone()),
        };
        carry_out(permit, self.accounting.clone(), self.metrics.clone(), sending, left.clone())
    }
}

/// Carries out an admitted call. `left` is set when its caller has gone: nothing is tried again for it.
async fn carry_out(
    permit: Permit,
    accounting: Arc<Accounting>,
    metrics: Metrics,
    sending: Sending,
    left: Arc<AtomicBool>,
) -> (Result<Sent, Refusal>, AttemptHistory) {
    let mut work = CallExecution::new(&permit, (accounting, metrics), sending, left);
    work.route.retry_budget.called();
    let mut so_far = PriorAttempt::Admitted(permit);
    // What one of several attempts may have cost, the call has cost, whatever becomes of the others.
    let mut is_final = false;
    let failure = loop {
        let tried = work.tried;
        let mut chosen = match work.choose().await {
            Ok(chosen) => chosen,
            Err(NoBackend::Failed(failure)) if work.waits_for_room(&failure).await => {
                work.begins_anew();
                continue;
            }
            Err(NoBackend::Failed(failure)) => break so_far.or(failure),
            Err(NoBackend::AllOut) if work.route.manner.retry.same_backend && so_far.has_failed() => {
                work.tried = ExcludedBackends::default();
                if pause(work.journey.retries, &so_far, work.end).await {
                    continue;
                }
                break so_far.or(not_ready());
            }
            Err(NoBackend::AllOut) => break so_far.or(not_ready()),
        };
        let permit = match so_far.admit(&work).await {
            Ok(permit) => permit,
            Err(failure) => break failure,
        };
        let done = match (chosen.seat.take(), work.route.manner.hedge) {
            (Some(seat), _) => {
                let (place, backend) = (chosen.place, chosen.backend.clone());
                match Box::pin(work.travel(seat, chosen, permit)).await {
                    Travelled::Done(done) => {
                        work.goes_to(&backend);
                        done
                    }
                    Travelled::Alone(permit) => {
                        work.goes_alone(place, tried);
                        so_far = PriorAttempt::Admitted(permit);
                        continue;
                    }
                }
            }
            (None, None) => {
                work.goes_to(&chosen.backend);
                work.begin(chosen, permit).await
            }
            (None, Some(delay)) => {
                work.goes_to(&chosen.backend);
                let first = work.begin(chosen, permit);
                Box::pin(hedged(first, delay, &mut work)).await
            }
        };
        let mut failure = match done {
            Ok(sent) => return (Ok(sent), work.journey),
            Err(failure) => failure,
        };
        is_final |= failure.refusal.is_final;
        if !work.may_follow(&failure) {
            break failure;
        }
        failure.rest.leave_room();
        so_far = PriorAttempt::Failed(failure);
    };
    let Failure { mut refusal, rest, .. } = failure;
    rest.end();
    refusal.is_final |= is_final;
    (Err(refusal), work.journey)
}

/// What there is of a call before its next attempt.
enum PriorAttempt {
    /// It was not sent yet.
    Admitted(Permit),
    /// An attempt failed.
    Failed(Failure),
}

impl PriorAttempt {
    fn has_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// The reservation for another attempt: the same one, if it is still whole, else another one. Where there is no room for it, or
    /// the call is over (the pause before it and the store take their time), the failure is what there is to tell.
    async fn admit(self, work: &CallExecution) -> Result<Permit, Failure> {
        let Failure { refusal, blame, result, rest } = match self {
            // Nothing was sent, and nothing will be. Dropping the permit gives the reservation back.
            Self::Admitted(_) if work.is_over() => return Err(work.late()),
            Self::Admitted(permit) => return Ok(permit),
            Self::Failed(failure) => failure,
        };
        if work.is_over() {
            return Err(Failure { refusal, blame, result, rest });
        }
        let permit = match rest.withdraw() {
            Some(permit) => Some(permit),
            None => Box::pin(work.readmit()).await,
        };
        permit.ok_or(Failure { refusal, blame, result, rest: ChargeState::Nothing })
    }

    /// There is no other attempt. What an earlier one has met is told before why there is none.
    fn or(self, reason: Failure) -> Failure {
        match self {
            // Dropping the permit gives the reservation back.
            Self::Admitted(_) => reason,
            Self::Failed(failure) => failure,
        }
    }
}

/// Waits before all backends are tried again: longer each time, never all callers at once, and as long as the provider asks
/// for. False: that would be too long.
async fn pause(retries: u32, so_far: &PriorAttempt, end: Option<Instant>) -> bool {
    let asked = match so_far {
        PriorAttempt::Failed(Failure { blame: Blame::Backend(FailureKind::Limited(Some(wait))), .. }) => *wait,
        PriorAttempt::Failed(_) | PriorAttempt::Admitted(_) => Duration::ZERO,
    };
    let grown = FIRST_RETRY_DELAY * 2u32.pow(retries.min(5));
    let wait = asked.max(grown.mul_f64(0.5 + fastrand::f64() / 2.0));
    if wait > MAX_RETRY_DELAY || end.is_some_and(|end| Instant::now() + wait >= end) {
        return false;
    }
    tokio::time::sleep(wait).await;
    true
}
