//! The request path.

mod attempt_end;
mod attempts;
mod builtin;
mod cached;
mod coalesce;
mod deliver;
mod exchange;
mod failure;
mod hedge;
mod history;
mod key_info;
mod lengths;
mod models;
mod part_exchange;
mod parts;
mod pass_on;
mod per_call;
mod plan;
mod planned;
mod progress;
mod read;
mod refused;
mod respond;
mod send;
mod sending;
mod sent;
mod shared;
mod split;
mod target;
mod texts;
mod vector_defect;
mod work;

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use axum::response::IntoResponse;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};

use self::{lengths::Truncated, models::permitted, progress::CallProgress, sent::Sent};
use crate::{
    access::Entry,
    accounting::{Permit, admit},
    answer::{Answer, Body, DetachOnDrop},
    authenticate::{Caller, authenticate},
    call::Call,
    call_id::{CALL_ID, CallId},
    policy::{Policy, Route},
    refusal::Refusal,
    server::RequestBody,
    via::{self, Looped},
};
use vectoll_config::namespace_of;
use vectoll_limits::counters::RateLimitStatus;
use vectoll_upstream::provider::dialect::taken::is_of_each_input;

pub use coalesce::Coalescer;
pub(crate) use respond::overhead;
pub use shared::Proxy;

/// What an answer has with it to a caller whom nobody knows.
#[derive(Clone, Copy, Debug)]
pub struct Stranger;

impl Proxy {
    /// One embeddings call, from request to response. `in_path` is the model's name where the path has it.
    pub async fn embeddings(&self, mut request: Request<RequestBody>, in_path: Option<String>) -> Response<Body> {
        // A sidecar that passes a call on has given it one. It is not this call's own: anybody may send that of another one.
        let sent = self.gateway.as_ref().and_then(|_| CallId::sent(request.headers().get(CALL_ID)?.as_bytes()));
        let id = CallId::random();
        let entry = Entry::new(&self.observers, id, &mut request);
        if let Some(sent) = sent {
            entry.caller_call_id(sent);
        }
        entry.credentials(request.headers());
        let client = self.client(&request);
        if let Some(client) = client {
            entry.client(client);
        }
        let started = Instant::now();
        let under_way = self.metrics.enter();
        let mut trace = CallProgress::default();
        let served = self.serve(request, in_path, (id, entry.clone(), client), &mut trace).await;
        let mut response = served.unwrap_or_else(|refusal| {
            // Whoever has no key costs a line and a body as well, whatever else is wrong with the call.
            let is_strangers = trace.key.is_none();
            let flooded = client.filter(|_| is_strangers).and_then(|client| self.flooded(client));
            if flooded.is_some() {
                entry.leave_out();
            }
            let closes = flooded.is_some();
            let refusal = flooded.unwrap_or(refusal);
            entry.refused(&refusal);
            let mut response = self.explain(refusal, id, &trace);
            if closes {
                response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        });
        let in_line = trace.call.as_ref().map(|call| call.outcome.waited_so_far()).unwrap_or_default();
        let waited = trace.waited.saturating_add(in_line);
        drop(under_way);
        let took = started.elapsed();
        let status = response.status();
        self.metrics.observe(status, took, waited);
        self.metrics.of_namespace(trace.key.as_ref().map(|(_, key)| &**key), status);
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_bytes(&id.text()) {
            headers.insert(CALL_ID, value);
        }
        let overhead = took.saturating_sub(waited);
        entry.answered(status, took, overhead);
        if let Some(route) = &trace.passed_on {
            self.metrics.passed_on.answered(route, status);
        }
        // Who carried the call out says what it took.
        if trace.passed_on.is_none() || !headers.contains_key(respond::OVERHEAD) {
            respond::overhead(headers, overhead);
        }
        if let Some(call) = &trace.call {
            respond::would_reject(headers, call.outcome.would_reject());
            respond::waited(headers, in_line);
        }
        response
    }

    /// The response to a call that gets no vectors, with all that is known of it.
    fn explain(&self, mut refusal: Refusal, id: CallId, trace: &CallProgress) -> Response<Body> {
        let outcome = trace.call.as_ref().and_then(|call| call.outcome.get());
        // A refusal that names a full limit keeps it: a call that is sent in several may be admitted once, and then not.
        if let Some(outcome) = outcome.filter(|_| refusal.rate_limits == RateLimitStatus::default()) {
            refusal.rate_limits = outcome.rate_limits;
        }
        let key = trace.key.as_ref().map(|(_, key)| &**key);
        if self.gateway.is_some() {
            let namespace = key.map(namespace_of);
            refusal.withhold(id, |backend| namespace != Some(namespace_of(backend)));
        }
        let mut response = self.refuse_key(refusal, id, key).map(Body::Framework);
        let headers = response.headers_mut();
        // What is booked elsewhere is not known here.
        let key = trace.key.as_ref().filter(|_| trace.passed_on.is_none());
        let spend = key.map(|(team, key)| self.accounting.ledger.key_spend(team, key));
        respond::identify(headers, &trace.journey, spend);
        respond::cost(headers, outcome.and_then(|outcome| outcome.cost));
        response
    }

    /// The steps, each of which only the one before it makes possible. `trace` is what is known even if one of them fails.
    async fn serve(
        &self,
        request: Request<RequestBody>,
        in_path: Option<String>,
        (id, entry, client): (CallId, Entry, Option<IpAddr>),
        trace: &mut CallProgress,
    ) -> Result<Response<Body>, Refusal> {
        self.guard.check(request.uri(), request.headers())?;
        let (mut parts, body) = request.into_parts();
        // From here on the call goes by the policy that its key belongs to, whatever is loaded meanwhile.
        let (caller, pseudonym) = {
            let policy = self.policy.load();
            (self.authenticate(&policy, &parts.headers, client)?, policy.pseudonym.clone())
        };
        body.is_welcome();
        entry.caller(&caller);
        trace.key = Some((caller.key().team.name.clone(), caller.key().name.clone()));
        via::mark(&mut parts.headers, pseudonym.as_deref()).map_err(|Looped| Refusal::looped())?;
        let reading = Instant::now();
        let call = Call::read(
            (id, entry.clone()),
            caller,
            &parts.headers,
            body,
            in_path,
            (&self.request_limits, self.compute()),
        )
        .await;
        trace.waited += reading.elapsed();
        let call = call?;
        let from_caller = (parts.uri, parts.headers);
        let Some(timeout) = call.request.bounds.timeout() else { return self.answer(call, from_caller, trace).await };
        // As if the caller left: what was sent is read to its end, so that its cost is known and nothing is held against a backend.
        let answered = Box::pin(tokio::time::timeout(timeout, self.answer(call, from_caller, trace))).await;
        answered.unwrap_or_else(|_| {
            trace.waited += timeout;
            Err(Refusal::caller_timeout(timeout))
        })
    }

    /// The steps for a call that was read.
    async fn answer(
        &self,
        mut call: Call,
        (uri, headers): (Uri, HeaderMap),
        trace: &mut CallProgress,
    ) -> Result<Response<Body>, Refusal> {
        let route = self.route(&call, &headers)?.clone();
        if let Some(passed_on) = &route.manner.passed_on {
            return Box::pin(pass_on::pass_on(self, (&*route, passed_on), call, (uri, headers), trace)).await;
        }
        // What few calls need is boxed: a future is as large as its largest way.
        let mut truncated = Truncated::default();
        if let Some(action) = lengths::action(&call, &route)? {
            (call, truncated) = Box::pin(lengths::fit(call, action, self.compute())).await?;
        }
        if call.request.shape.is_tokens {
            call = Box::pin(texts::measure(call, &route, self.request_limits.body, self.compute())).await?;
        }
        if let Some(limit) = per_call::may_exceed(&call, &route) {
            call = Box::pin(per_call::check(call, &route, limit, self.compute())).await?;
        }
        // What the provider alone understands may change the vectors by what the other inputs are: such a call goes by the cache.
        let is_known = call.request.others().all(|(name, json)| is_of_each_input(name, json));
        if let Some((cache, backend)) = &route.manner.cache
            && is_known
            && !call.request.shape.is_tokens
        {
            let mut response = cached::serve(self, (&route, cache, backend), call, headers, trace).await?;
            truncated.write(response.headers_mut());
            return Ok(response);
        }
        let permit = admit(&self.accounting, call, route).await?;
        trace.call = Some(permit.call().clone());
        let sent = self.carry_out(permit, headers, trace).await?;
        let mut response = respond::respond(sent, trace);
        truncated.write(response.headers_mut());
        Ok(response)
    }

    /// The route of a call's model. In a gateway, if a sidecar has chosen one, that one.
    fn route<'c>(&self, call: &'c Call, headers: &HeaderMap) -> Result<&'c Arc<Route>, Refusal> {
        if self.gateway.is_some() && headers.contains_key(&pass_on::ROUTE) {
            let found = call.caller.key().team.route(&call.model).map(|route| &*route.manner.name);
            pass_on::is_of_route(headers, found).map_err(|chosen| Refusal::other_route(&chosen, &call.model))?;
        }
        permitted(call.caller.key(), &call.model)
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

    /// `client`: the address that calls, where callers have addresses of their own.
    fn authenticate(&self, policy: &Policy, headers: &HeaderMap, client: Option<IpAddr>) -> Result<Caller, Refusal> {
        if policy.generation == 0 {
            // Before the first config nobody can be told apart: that is no fault of the key's.
            return Err(Refusal::unavailable("not_ready", "This sidecar has no config yet".to_owned()));
        }
        let now = self.accounting.now();
        authenticate(policy, headers, now, || match (&self.gateway, client) {
            (Some(gateway), Some(client)) => gateway.may_verify(client, now),
            (Some(_) | None, _) => Ok(()),
        })
    }

    /// Whether calls are welcome: a config is loaded, and nobody has asked us to stop.
    pub fn is_ready(&self) -> bool {
        self.policy.load().generation > 0 && !self.stopping.load(Ordering::Relaxed)
    }

    /// Whose address a request comes from, where callers have addresses of their own.
    pub fn client<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        self.gateway.as_ref()?.client(request.extensions(), request.headers())
    }

    /// A call of this address was refused for its key. One too many gets this refusal in place of its own.
    pub fn flooded(&self, client: IpAddr) -> Option<Refusal> {
        self.gateway.as_ref()?.flooded(client, self.accounting.now())
    }

    /// The refusal of a caller whom nobody knows.
    pub fn refuse_stranger(&self, refusal: Refusal) -> axum::response::Response {
        let mut response = self.refuse(refusal, CallId::random());
        response.extensions_mut().insert(Stranger);
        response
    }

    /// A refusal as a response, counted and, where it is not the caller's doing, logged.
    pub fn refuse(&self, refusal: Refusal, id: CallId) -> axum::response::Response {
        self.refuse_key(refusal, id, None)
    }

    /// The same for a call with a key that is known.
    fn refuse_key(&self, refusal: Refusal, id: CallId, key: Option<&str>) -> axum::response::Response {
        self.metrics.rejected(key, refusal.scope, refusal.reason);
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
