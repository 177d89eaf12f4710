//! A call that is being carried out: which backend is the next, and what an attempt at it needs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use vectoll_config::v1::Retry;

use super::{
    coalesce::{Carrier, GroupKey, Seat, Travelled, Traveller},
    failure::{Blame, Failure},
    history::AttemptHistory,
    parts::expected,
    plan::plan,
    planned::Plan,
    send::send,
    sending::Sending,
    sent::Sent,
    target::Target,
};
use crate::{
    accounting::{Accounting, BackendQuota, DeniedBy, Load, Permit, QuotaExceeded, SpentBudget, exact_at, readmit},
    background::Background,
    call::Call,
    memory::{MemoryPermit, NoRoom},
    metrics::Metrics,
    policy::{Backend, Choice, ExcludedBackends, NoChoice, Route},
    quota_headers::whole_seconds,
    refusal::Refusal,
};
use vectoll_upstream::{health::Attempt, tokens};

/// A call that is being carried out.
pub(super) struct CallExecution {
    call: Arc<Call>,
    /// Its route.
    pub(super) route: Arc<Route>,
    accounting: Arc<Accounting>,
    metrics: Metrics,
    sending: Arc<Sending>,
    left: Arc<AtomicBool>,
    /// When its time is over; none: never.
    pub(super) end: Option<Instant>,
    /// The backends that it needs no second time.
    pub(super) tried: ExcludedBackends,
    /// The backends that it goes to alone, though others would travel with it.
    alone_at: ExcludedBackends,
    /// Where it has been.
    pub(super) journey: AttemptHistory,
}

impl CallExecution {
    pub(super) fn new(
        permit: &Permit,
        (accounting, metrics): (Arc<Accounting>, Metrics),
        sending: Sending,
        left: Arc<AtomicBool>,
    ) -> Self {
        let (call, route, sending) = (permit.call().clone(), permit.route().clone(), Arc::new(sending));
        let end = route.manner.timeout.map(|timeout| Instant::now() + timeout);
        let (tried, alone_at, journey) =
            (ExcludedBackends::default(), ExcludedBackends::default(), AttemptHistory::default());
        Self { call, route, accounting, metrics, sending, left, end, tried, alone_at, journey }
    }

    /// Whether nothing is begun any more: its caller has left, or its time is up.
    pub(super) fn is_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) || self.end.is_some_and(|end| Instant::now() >= end)
    }

    /// The backend for the next attempt, and all that it needs.
    pub(super) async fn choose(&mut self) -> Result<Chosen, NoBackend> {
        let mut at_limits = ExcludedBackends::default();
        let mut exceeded: Option<QuotaExceeded> = None;
        loop {
            let choice = match self.route.choose(self.tried.or(at_limits), self.accounting.now().elapsed) {
                Ok(choice) => choice,
                Err(reason) => {
                    return Err(match (exceeded, reason) {
                        (Some(exceeded), _) => NoBackend::Failed(at_their_limits(exceeded)),
                        (None, NoChoice::NoBackend) => NoBackend::Failed(not_ready()),
                        (None, NoChoice::AllOut) => NoBackend::AllOut,
                    });
                }
            };
            let (place, backend) = (choice.place, choice.backend.clone());
            match self.prepare(choice).await {
                Ok(chosen) => {
                    self.tried.add(place);
                    return Ok(chosen);
                }
                Err(NotReady::QuotaExceeded(also)) => {
                    at_limits.add(place);
                    exceeded = Some(also.or_sooner(exceeded));
                }
                Err(NotReady::Failed(failure)) => {
                    self.goes_to(&backend);
                    return Err(NoBackend::Failed(failure));
                }
            }
        }
    }

    /// Makes ready for an attempt. What is scarce comes last: nobody has a part of a provider's limits while it waits for memory.
    async fn prepare(&self, choice: Choice) -> Result<Chosen, NotReady> {
        let Choice { place, backend, attempt } = choice;
        if self.sending.coalescer.is_some() && !self.alone_at.has(place) {
            // A group takes its part of the provider's limits as a whole.
            let seat = Box::pin(self.seat(&backend)).await.map_err(NotReady::Failed)?;
            if seat.is_some() {
                return Ok(Chosen { place, backend, attempt, plan: None, quota: None, seat });
            }
        }
        let plan = match plan((&self.call, &self.route), &backend, &self.sending, self.end).await {
            Ok(plan) => plan,
            // Nobody was asked: that says nothing of the backend, and ends no cooldown.
            Err(failure) => return Err(NotReady::Failed(failure)),
        };
        if backend.weighs_tokens() && backend.is_little(&self.call) {
            backend.load_tokenizer(&self.call, &self.accounting.compute).await;
        }
        let load = || weigh(&self.call, &backend, plan.as_ref());
        let quota = match BackendQuota::take(&self.accounting, &backend, Some(&self.call), load).await {
            Err(exceeded) => self.quota_counted(&backend, plan.as_ref(), exceeded).await,
            taken => taken,
        };
        match quota {
            Ok(quota) => Ok(Chosen { place, backend, attempt, plan, quota, seat: None }),
            Err(exceeded) => Err(NotReady::QuotaExceeded(exceeded)),
        }
    }

    /// Where a bound found no room: that of a large call says little of its tokens. Counted exactly it may fit.
    async fn quota_counted(
        &self,
        backend: &Arc<Backend>,
        plan: Option<&Plan>,
        exceeded: QuotaExceeded,
    ) -> Result<Option<BackendQuota>, QuotaExceeded> {
        let load = weigh(&self.call, backend, plan);
        if !backend.weighs_tokens() || backend.sent(&self.call).bytes <= tokens::LITTLE_TEXT {
            return Err(exceeded);
        }
        match exact_at(&self.accounting, &self.call, backend).await.filter(|tokens| *tokens < load.tokens) {
            Some(tokens) => {
                let load = || Load { tokens, ..load };
                BackendQuota::take(&self.accounting, backend, Some(&self.call), load).await
            }
            None => Err(exceeded),
        }
    }

    /// Notes the next attempt.
    pub(super) fn goes_to(&mut self, backend: &Arc<Backend>) {
        if let Some(before) = &self.journey.backend {
            self.journey.retries += 1;
            self.journey.fallbacks += u32::from(!Arc::ptr_eq(before, backend));
            self.metrics.backends.retried(&backend.label);
            self.call.entry.retries(self.journey.retries);
        }
        self.served_by(backend);
    }

    /// Notes whose answer is waited for, or was taken.
    fn served_by(&mut self, backend: &Arc<Backend>) {
        self.call.entry.backend(&backend.label);
        self.journey.backend = Some(backend.clone());
    }

    /// An attempt, which does not depend on this any more.
    pub(super) fn begin(
        &self,
        chosen: Chosen,
        permit: Permit,
    ) -> impl Future<Output = Result<Sent, Failure>> + Send + use<> {
        let Chosen { place: _, backend, mut attempt, plan, quota, seat: _ } = chosen;
        // Its time begins here, whatever it was waited for.
        attempt.starts(self.accounting.now().elapsed);
        let upstream = self.metrics.upstream(&backend.label);
        let deadline = Instant::now() + backend.timeout;
        let deadline = self.end.map_or(deadline, |end| end.min(deadline));
        send(Target { permit, backend, attempt, plan, quota }, self.sending.clone(), upstream, deadline)
    }

    /// Whether there is to be another attempt after one that failed.
    pub(super) fn may_follow(&self, failure: &Failure) -> bool {
        let Retry { attempts, same_backend, .. } = self.route.manner.retry;
        let attempts = self.call.request.bounds.retries_within(attempts);
        let is_elsewhere = self.route.is_open(self.tried);
        let may = self.journey.retries < attempts && !self.is_over() && (same_backend || is_elsewhere);
        let budget = &self.route.retry_budget;
        // Last: what is not made takes none of the retries. Who makes up names takes none from those who need them when a
        // backend is down.
        may && match failure.blame {
            Blame::Backend(_) => budget.take(),
            Blame::Name => is_elsewhere && budget.is_open(),
            Blame::Call | Blame::Sidecar => false,
        }
    }

    /// A backend and a reservation for another attempt beside one that is under way; none where there is no room for it, or nobody
    /// to wait for it.
    pub(super) async fn spare(&mut self) -> Option<(Chosen, Permit)> {
        if self.is_over() || !self.route.is_open(self.tried) {
            return None;
        }
        let choice = self.route.spare(self.tried, self.accounting.now().elapsed)?;
        let chosen = self.prepare(choice).await.ok()?;
        let permit = self.readmit().await?;
        // Last: what is not made takes none of the retries.
        if !self.route.retry_budget.take() {
            return None;
        }
        self.tried.add(chosen.place);
        Some((chosen, permit))
    }

    /// The backend of the last attempt.
    pub(super) fn backend(&self) -> Option<Arc<Backend>> {
        self.journey.backend.clone()
    }

    /// Work that outlives the call.
    pub(super) fn tasks(&self) -> &Background {
        &self.sending.tasks
    }

    /// Notes how an attempt beside another one has ended: whose answer or failure is told.
    pub(super) fn hedged(
        &mut self,
        first: Option<Arc<Backend>>,
        beside: Arc<Backend>,
        is_seconds: bool,
        is_answer: bool,
    ) {
        self.metrics.backends.hedged(&beside.label, is_seconds && is_answer);
        self.call.entry.hedged();
        if let Some(backend) = if is_seconds { Some(beside) } else { first } {
            self.served_by(&backend);
        }
    }

    /// Its time was over before it was sent.
    pub(super) fn late(&self) -> Failure {
        let seconds = self.route.manner.timeout.map_or(0, |timeout| timeout.as_secs());
        Failure::of_sidecar(Refusal::upstream_timeout(format!(
            "The call took longer than {seconds} s, and was not sent"
        )))
    }

    pub(super) async fn readmit(&self) -> Option<Permit> {
        let permit = readmit(&self.accounting, self.call.clone(), self.route.clone()).await;
        // A permit that is dropped gives its reservation back. The store takes its time: it may be over meanwhile.
        permit.ok().filter(|_| !self.is_over())
    }
}

impl CallExecution {
    /// Its place in a group at a backend; none: it travels alone. Waits for memory.
    async fn seat(&self, backend: &Arc<Backend>) -> Result<Option<Seat>, Failure> {
        let Some(settings) = self.route.manner.coalesce else { return Ok(None) };
        let Some(key) = GroupKey::of(&self.call, &self.route, backend) else { return Ok(None) };
        let mut held = MemoryPermit::default();
        let deadline = Instant::now() + backend.timeout;
        let deadline = self.end.map_or(deadline, |end| end.min(deadline));
        let bytes = expected(&self.call, backend.sent(&self.call).bytes);
        let holding = self.call.claim.hold_until(&mut held, bytes, deadline.into()).await;
        // Others take their time: that is no fault of the backend's.
        holding.map_err(|NoRoom| Failure::of_sidecar(Refusal::no_room()))?;
        Ok(Some(Seat { key, settings, held }))
    }

    /// An attempt together with others.
    pub(super) async fn travel(&self, seat: Seat, chosen: Chosen, permit: Permit) -> Travelled {
        let Some(coalescer) = &self.sending.coalescer else { return Travelled::Alone(permit) };
        let Chosen { place: _, backend, attempt, plan: _, quota: _, seat: _ } = chosen;
        let traveller = Traveller { permit, left: self.left.clone(), end: self.end };
        let carrier = Carrier {
            accounting: self.accounting.clone(),
            metrics: self.metrics.clone(),
            tasks: self.sending.tasks.clone(),
        };
        coalescer.travel(seat, (backend, attempt), traveller, &carrier).await
    }

    /// Nobody travels with it to this backend, or not as far: it may go there, alone. `tried` is where it was before.
    pub(super) fn goes_alone(&mut self, place: usize, tried: ExcludedBackends) {
        self.tried = tried;
        self.alone_at.add(place);
    }

    /// It has waited: it may go everywhere, and with others.
    pub(super) fn begins_anew(&mut self) {
        self.tried = ExcludedBackends::default();
        self.alone_at = ExcludedBackends::default();
    }
}

/// How soon a call that waits for a provider's limits tries again: what others give back makes room sooner than was said.
const RETRY_PERIOD: Duration = Duration::from_millis(250);

impl CallExecution {
    /// All backends are at their providers' limits, and there is room in one of them before the call's time is over: waits for it.
    /// False: it is told now.
    pub(super) async fn waits_for_room(&self, failure: &Failure) -> bool {
        let Refusal { scope: "backend", reason: AT_LIMITS | "budget", retry_after: Some(wait), .. } = &failure.refusal
        else {
            return false;
        };
        let Some(until) = self.call.waits_until else { return false };
        let (now, until) = (Instant::now(), until.into_std());
        let room_at = now + *wait;
        if room_at > self.end.map_or(until, |end| end.min(until)) || self.is_over() {
            return false;
        }
        tokio::time::sleep_until(room_at.min(now + RETRY_PERIOD).into()).await;
        true
    }
}

/// The reason of a refusal where all backends are at their providers' limits.
const AT_LIMITS: &str = "backend_limits";

/// What a call takes of a backend's limits.
fn weigh(call: &Call, backend: &Backend, plan: Option<&Plan>) -> Load {
    let requests = plan.map_or(1, |plan| plan.call.split.parts.len() as u64);
    Load { requests, tokens: backend.load_tokens(call) }
}

/// A backend for an attempt, and all that it needs.
pub(super) struct Chosen {
    pub(super) place: usize,
    pub(super) backend: Arc<Backend>,
    attempt: Attempt,
    plan: Option<Plan>,
    quota: Option<BackendQuota>,
    /// Its place among others that it travels with; none: it travels alone.
    pub(super) seat: Option<Seat>,
}

/// Why there is none.
pub(super) enum NoBackend {
    /// All were tried.
    AllOut,
    /// None takes it, or it cannot be sent to the one whose turn it is.
    Failed(Failure),
}

/// Why a backend does not get the call.
enum NotReady {
    /// It is at its provider's limits.
    QuotaExceeded(QuotaExceeded),
    /// The call cannot be sent to it.
    Failed(Failure),
}

/// All backends that it could go to are full.
fn at_their_limits(QuotaExceeded { wait, denied_by }: QuotaExceeded) -> Failure {
    if denied_by == DeniedBy::Store {
        let seconds = whole_seconds(wait.unwrap_or(Duration::from_secs(1)));
        let message = format!(
            "The store of limits and budgets cannot be reached, and no backend of this model has room without it: try again in {seconds} s"
        );
        return Failure::of_sidecar(Refusal { retry_after: wait, ..Refusal::store_unavailable(message) });
    }
    if let DeniedBy::Budget(SpentBudget { backend, limit, period, is_unpriced }) = denied_by {
        let advice = match wait {
            _ if is_unpriced => "nobody knows what the model costs there: the route's owner sets its price".to_owned(),
            Some(wait) => format!("try again in {} s", whole_seconds(wait)),
            None => "waiting does not help".to_owned(),
        };
        let message = format!(
            "Budget exceeded for backend {backend}: {limit} USD ({period}), and no other backend of this model has room; {advice}"
        );
        return Failure::of_sidecar(Refusal::budget_exceeded("backend", message, wait));
    }
    let message = "All backends of this model are at their providers' limits".to_owned();
    Failure::of_sidecar(Refusal::rate_limited("backend", AT_LIMITS, message, wait))
}

/// There is no backend.
pub(super) fn not_ready() -> Failure {
    let message = "The route of this model is not ready: the conditions of the ModelRoute say why".to_owned();
    Failure::of_sidecar(Refusal::misconfigured("no_backend", message))
}
