//! The request path.

mod attempts;
mod builtin;
mod cached;
mod deliver;
mod failure;
mod hedge;
mod parts;
mod plan;
mod read;
mod refused;
mod respond;
mod send;
mod split;
mod texts;
mod work;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use axum::response::IntoResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use self::{plan::Plan, send::Sending, work::AttemptHistory};
use crate::{
    access::{AccessLog, Entry},
    accounting::{Accounting, BackendQuota, Permit, admit},
    answer::{Answer, Body, DetachOnDrop},
    authenticate::{Caller, authenticate},
    background::Background,
    call::{Call, RequestLimits},
    call_id::CallId,
    metrics::Metrics,
    policy::{Backend, Key, Policy, Route, allows},
    refusal::Refusal,
    server::{Guard, RequestBody},
};
use vectoll_limits::counters::Standing;
use vectoll_upstream::{health::Attempt, provider::dialect::taken::is_of_each_input};

pub(crate) use respond::overhead;

const CALL_ID: HeaderName = HeaderName::from_static("x-litellm-call-id");

/// All that requests share.
#[derive(Debug)]
pub struct Proxy {
    /// What is served, swapped by reloads.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Limits and spend.
    pub accounting: Arc<Accounting>,
    /// What Prometheus sees.
    pub metrics: Metrics,
    /// Who is kept out.
    pub guard: Guard,
    /// The access log, unless it is off.
    pub access: Option<Arc<AccessLog>>,
    /// How much of a request is read.
    pub caps: RequestLimits,
    /// Connections, and work that outlives them.
    pub tasks: Background,
    /// Set when the sidecar is about to stop.
    pub stopping: AtomicBool,
}

/// An admitted call and the backend that takes it.
#[derive(Debug)]
struct Target {
    permit: Permit,
    backend: Arc<Backend>,
    attempt: Attempt,
    /// What it is sent in; none: as it came.
    plan: Option<Plan>,
    /// Its part of the provider's limits.
    room: Option<BackendQuota>,
}

/// How far a call has come.
#[derive(Debug, Default)]
struct CallProgress {
    /// Time spent waiting for others: for the caller's body and for the backend.
    waited: Duration,
    /// The team and the key that call.
    key: Option<(Arc<str>, Arc<str>)>,
    /// The call, once it was admitted.
    call: Option<Arc<Call>>,
    /// Where it went.
    journey: AttemptHistory,
}

impl Proxy {
    /// One embeddings call, from request to response. `in_path` is the model's name where the path has it.
    pub async fn embeddings(&self, request: Request<RequestBody>, in_path: Option<String>) -> Response<Body> {
        let id = CallId::random();
        let entry = Entry::new(self.access.as_ref(), id);
        entry.credentials(request.headers());
        let started = Instant::now();
        let under_way = self.metrics.enter();
        let mut trace = CallProgress::default();
        let served = self.serve(request, in_path, (id, entry.clone()), &mut trace).await;
        let mut response = served.unwrap_or_else(|refusal| {
            entry.refused(&refusal);
            self.explain(refusal, id, &trace)
        });
        let waited = trace.waited;
        drop(under_way);
        let took = started.elapsed();
        let status = response.status();
        self.metrics.observe(status, took, waited);
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_bytes(&id.text()) {
            headers.insert(CALL_ID, value);
        }
        let overhead = took.saturating_sub(waited);
        entry.answered(status, took, overhead);
        respond::overhead(headers, overhead);
        response
    }

    /// The response to a call that gets no vectors, with all that is known of it.
    fn explain(&self, mut refusal: Refusal, id: CallId, trace: &CallProgress) -> Response<Body> {
        let outcome = trace.call.as_ref().and_then(|call| call.outcome.get());
        // A refusal that names a full limit keeps it: a call that is sent in several may be admitted once, and then not.
        if let Some(outcome) = outcome.filter(|_| refusal.standing == Standing::default()) {
            refusal.standing = outcome.standing;
        }
        let mut response = self.refuse(refusal, id).map(Body::Framework);
        let headers = response.headers_mut();
        let spend = trace.key.as_ref().map(|(team, key)| self.accounting.ledger.key_spend(team, key));
        respond::identify(headers, &trace.journey, spend);
        respond::cost(headers, outcome.and_then(|outcome| outcome.cost));
        response
    }

    /// The steps, each of which only the one before it makes possible. `trace` is what is known even if one of them fails.
    async fn serve(
        &self,
        request: Request<RequestBody>,
        in_path: Option<String>,
        (id, entry): (CallId, Entry),
        trace: &mut CallProgress,
    ) -> Result<Response<Body>, Refusal> {
        self.guard.check(request.uri(), request.headers())?;
        let (parts, body) = request.into_parts();
        // From here on the call goes by the policy that its key belongs to, whatever is loaded meanwhile.
        let caller = self.authenticate(&self.policy.load(), &parts.headers)?;
        entry.caller(&caller);
        trace.key = Some((caller.key().team.name.clone(), caller.key().name.clone()));
        let reading = Instant::now();
        let call = Call::read((id, entry.clone()), caller, &parts.headers, body, in_path, &self.caps).await;
        trace.waited += reading.elapsed();
        let call = call?;
        let route = permitted(call.caller.key(), &call.model)?.clone();
        // What the provider alone understands may change the vectors by what the other inputs are: such a call goes by the cache.
        let is_known = call.request.others().all(|(name, json)| is_of_each_input(name, json));
        if let Some((cache, backend)) = &route.manner.cache
            && is_known
            && !call.request.shape.is_tokens
        {
            return cached::serve(self, (&route, cache, backend), call, parts.headers, trace).await;
        }
        let call = texts::measure(call, &route, self.caps.body, &self.tasks).await?;
        let permit = admit(&self.accounting, call, route).await?;
        trace.call = Some(permit.call().clone());
        let sent = self.carry_out(permit, parts.headers, trace).await?;
        Ok(respond::respond(sent, trace))
    }

    /// An admitted call, from its first attempt to its answer. It is carried out to the end even if its caller leaves.
    async fn carry_out(&self, permit: Permit, headers: HeaderMap, trace: &mut CallProgress) -> Result<Sent, Refusal> {
        let call = permit.call().clone();
        let started = Instant::now();
        let left = Arc::default();
        let served = self.attempts(permit, headers, &left);
        let (sent, journey) = DetachOnDrop::new(served, self.tasks.clone(), left).await;
        trace.waited += started.elapsed();
        trace.journey = journey;
        let mut sent = sent?;
        if let Answer::Whole(_, settled) | Answer::Pieces(_, settled) = &mut sent.answer {
            // Over all attempts.
            settled.cost = call.outcome.get().and_then(|outcome| outcome.cost);
        }
        Ok(sent)
    }

    /// The attempts at an admitted call, as work of its own: it may outlive the request. `left` says that it does.
    fn attempts(
        &self,
        permit: Permit,
        from_caller: HeaderMap,
        left: &Arc<AtomicBool>,
    ) -> impl Future<Output = (Result<Sent, Refusal>, AttemptHistory)> + Send + use<> {
        let sending =
            Sending { from_caller, tasks: self.tasks.clone(), most: self.caps.body, clock: self.accounting.clock };
        attempts::carry_out(permit, self.accounting.clone(), self.metrics.clone(), sending, left.clone())
    }

    fn authenticate(&self, policy: &Policy, headers: &HeaderMap) -> Result<Caller, Refusal> {
        if policy.generation == 0 {
            // Before the first config nobody can be told apart: that is no fault of the key's.
            return Err(Refusal::unavailable("not_ready", "This sidecar has no config yet".to_owned()));
        }
        authenticate(policy, headers, self.accounting.now())
    }

    /// Whether calls are welcome: a config is loaded, and nobody has asked us to stop.
    pub fn is_ready(&self) -> bool {
        self.policy.load().generation > 0 && !self.stopping.load(Ordering::Relaxed)
    }

    /// The models that a caller may use, for `GET /v1/models`.
    pub fn models(&self, headers: &HeaderMap) -> axum::response::Response {
        match self.authenticate(&self.policy.load(), headers) {
            Ok(caller) => axum::Json(model_list(&caller)).into_response(),
            Err(refusal) => self.refuse(refusal, CallId::random()),
        }
    }

    /// One model, for `GET /v1/models/{id}`: if the caller may use it.
    pub fn model(&self, headers: &HeaderMap, name: &str) -> axum::response::Response {
        let caller = self.authenticate(&self.policy.load(), headers);
        match caller.and_then(|caller| permitted(caller.key(), name).map(|_| ())) {
            Ok(()) => axum::Json(model_object(name)).into_response(),
            Err(refusal) => self.refuse(refusal, CallId::random()),
        }
    }

    /// A refusal as a response, counted and, where it is not the caller's doing, logged.
    pub fn refuse(&self, refusal: Refusal, id: CallId) -> axum::response::Response {
        self.metrics.rejected(refusal.scope, refusal.reason);
        // Without the message: it may quote a provider, and a provider its input.
        tracing::debug!(
            call_id = %id, status = refusal.status.as_u16(), scope = refusal.scope, reason = refusal.reason,
            "call refused"
        );
        let mut response = refusal.into_response();
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_bytes(&id.text()) {
            headers.insert(CALL_ID, value);
        }
        respond::no_second_attempt(headers);
        response
    }
}

/// The route of a model, if the key may use the model.
fn permitted<'k>(key: &'k Key, model: &str) -> Result<&'k Arc<Route>, Refusal> {
    let route = key.team.route(model).ok_or_else(|| Refusal::model_not_found(model))?;
    if !allows(key.models.as_deref(), model) {
        return Err(Refusal::model_not_allowed("key", &key.name, model));
    }
    if !allows(key.team.models.as_deref(), model) {
        return Err(Refusal::model_not_allowed("team", &key.team.name, model));
    }
    Ok(route)
}

/// The list object of OpenAI's `GET /v1/models`: every name without a wildcard that the caller may use.
fn model_list(caller: &Caller) -> serde_json::Value {
    let key = caller.key();
    let mut names: Vec<&str> = key
        .team
        .search
        .iter()
        .flat_map(|index| index.names())
        .map(|name| &**name)
        .filter(|name| allows(key.models.as_deref(), name) && allows(key.team.models.as_deref(), name))
        .collect();
    names.sort_unstable();
    names.dedup();
    let data: Vec<serde_json::Value> = names.into_iter().map(model_object).collect();
    serde_json::json!({"object": "list", "data": data})
}

fn model_object(name: &str) -> serde_json::Value {
    serde_json::json!({"id": name, "object": "model", "created": 0, "owned_by": "vectoll"})
}

/// What came back from a backend.
#[derive(Debug)]
struct Sent {
    answer: Answer,
    /// All of the provider's.
    headers: HeaderMap,
}
