//! The access log: one JSON object a line on standard output for each call. It says who called, what it cost and how long it
//! took, and never what was embedded, nor a credential. Of the same a collector is told, where there is one ([`crate::telemetry`]).
//!
//! A line is written when the last word on a call is known: after its answer, and after its settlement, whichever comes
//! later. What is known of a call gathers in an [`Entry`] that goes with it; the line follows from dropping the last handle,
//! so no way out of the request path can forget it.

mod log;
mod log_record;
mod record;
mod redact;
mod report;
mod writer;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, Request, StatusCode};
use jiff::Timestamp;
use vectoll_config::PicoUsd;

pub use self::{
    log::AccessLog,
    writer::{LOST, Writer},
};
use self::{
    log_record::LogRecord,
    record::{Facts, Record, Traced},
};
use crate::{
    authenticate::Caller,
    call_id::CallId,
    refusal::Refusal,
    telemetry::{AttemptReport, EmbeddingOptions, Telemetry, http_route, is_long},
    tenancy::Tenancy,
};
use vectoll_api::request::Metadata;
use vectoll_ledger::books::Certainty;

/// Who is told of calls.
#[derive(Clone, Debug)]
pub struct CallObservers {
    /// The access log, unless it is off.
    pub log: Option<Arc<AccessLog>>,
    /// A collector of traces, if there is one.
    pub telemetry: Option<Arc<Telemetry>>,
    /// Whether it is said whose namespace a call is of.
    pub tenancy: Tenancy,
}

impl CallObservers {
    /// Waits until the log's lines are out, but no longer than this. It blocks.
    pub fn flush(&self, timeout: Duration) {
        if let Some(log) = &self.log {
            log.flush(timeout);
        }
    }
}

/// What is known of a call. A handle: it is told when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Entry(Option<Arc<Record>>);

impl Entry {
    /// For a call that has just come. Where nobody is told of it nothing is gathered. Where a collector may be, the request has the call's
    /// trace then, for whoever is asked for it.
    pub fn new<B>(observers: &CallObservers, id: CallId, request: &mut Request<B>) -> Self {
        let CallObservers { log, telemetry, tenancy } = observers;
        if log.is_none() && telemetry.is_none() {
            return Self(None);
        }
        let traced = telemetry.as_ref().map(|telemetry| {
            let trace = telemetry.trace(request.headers());
            trace.write(request.headers_mut());
            let path = request.uri().path();
            let http_route = http_route(path);
            // Behind an escape there could be a credential, and there is no end to what strangers write.
            let path = if path.contains('%') || is_long(path) { http_route } else { path };
            Traced { telemetry: telemetry.clone(), trace, http_route, path: path.into() }
        });
        let (at, started) = (Timestamp::now(), Instant::now());
        let (log, facts) = (log.clone(), Mutex::default());
        Self(Some(Arc::new(Record { log, traced, tenancy: *tenancy, id, at, started, facts })))
    }

    fn note(&self, note: impl FnOnce(&mut Facts)) {
        if let Some(record) = &self.0 {
            note(&mut record.facts.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Who calls.
    pub fn caller(&self, caller: &Caller) {
        self.note(|facts| {
            let key = caller.key();
            facts.key = Some(key.name.clone());
            facts.team = Some(key.team.name.clone());
            facts.key_metadata.clone_from(&key.metadata);
        });
    }

    /// The address that calls.
    pub fn client(&self, client: IpAddr) {
        self.note(|facts| facts.client = Some(client));
    }

    /// What whoever passes the call on calls it.
    pub fn caller_call_id(&self, id: CallId) {
        self.note(|facts| facts.caller_call_id = Some(id));
    }

    /// It has no line: of a flood of refusals there would be too many.
    pub fn leave_out(&self) {
        self.note(|facts| facts.is_untold = true);
    }

    /// What must not be repeated.
    pub fn credentials(&self, headers: &HeaderMap) {
        self.note(|facts| facts.credentials = redact::credentials(headers));
    }

    /// What is called for.
    pub fn model(&self, model: &Arc<str>) {
        self.note(|facts| facts.model = Some(model.clone()));
    }

    /// For whom.
    pub fn user(&self, user: &Arc<str>) {
        self.note(|facts| facts.user = Some(user.clone()));
    }

    /// What the caller says of it.
    pub fn metadata(&self, metadata: &Arc<Metadata>) {
        self.note(|facts| facts.metadata = Some(metadata.clone()));
    }

    /// How many of its inputs were cut.
    pub fn truncated(&self, inputs: usize) {
        self.note(|facts| facts.truncated = inputs);
    }

    /// Where it went.
    pub fn backend(&self, label: &Arc<str>) {
        self.note(|facts| facts.backend = Some(label.clone()));
    }

    /// An attempt begins. Only where a collector is told of it.
    pub fn begin_attempt(&self, report: impl FnOnce() -> Option<AttemptReport>) -> Attempt {
        let mut attempt = Attempt(None);
        if self.is_traced()
            && let Some(report) = report()
        {
            self.note(|facts| {
                attempt = Attempt(Some(facts.attempts.len()));
                facts.attempts.push(report);
            });
        }
        attempt
    }

    /// An attempt is over, of which nothing is booked here.
    pub fn asked_unbooked(&self, attempt: Attempt) {
        if attempt.0.is_some() {
            self.note(|facts| attempt.end(facts, None));
        }
    }

    /// What is wished for.
    pub fn options(&self, options: EmbeddingOptions) {
        if self.is_traced() {
            self.note(|facts| facts.options = Some(options));
        }
    }

    fn is_traced(&self) -> bool {
        self.0.as_ref().is_some_and(|record| record.traced.is_some())
    }

    /// What an attempt used, as it was booked.
    pub fn booked(&self, attempt: Attempt, tokens: u64, cost: Option<PicoUsd>, certainty: Certainty) {
        self.note(|facts| {
            attempt.end(facts, (certainty == Certainty::Known).then_some(tokens));
            // Over all attempts: only one of them can be known for sure.
            facts.tokens = Some(facts.tokens.unwrap_or(0).saturating_add(tokens));
            facts.cost = [facts.cost, cost].into_iter().flatten().reduce(PicoUsd::plus);
            if facts.certainty != Some(Certainty::Unsettled) {
                facts.certainty = Some(certainty);
            }
        });
    }

    /// Another attempt was made beside one that took long.
    pub fn hedged(&self) {
        self.note(|facts| facts.hedges += 1);
    }

    /// How many attempts there were after the first, one after the other.
    pub fn retries(&self, retries: u32) {
        self.note(|facts| facts.retries = retries);
    }

    /// Why it got no vectors.
    pub fn refused(&self, refusal: &Refusal) {
        self.note(|facts| facts.refused = Some((refusal.scope, refusal.reason)));
    }

    /// Limits on trial that would have refused it: whose, and which.
    pub fn would_reject(&self, found: impl Iterator<Item = (&'static str, &'static str)>) {
        self.note(|facts| facts.would_reject = found.collect());
    }

    /// The answer's status, when its headers went out, and our own share of the time until then.
    pub fn answered(&self, status: StatusCode, took: Duration, overhead: Duration) {
        self.note(|facts| {
            facts.status = Some(status);
            facts.answered = Some(took);
            facts.overhead = Some(overhead);
        });
    }
}

/// One of a call's attempts.
#[derive(Clone, Copy, Debug)]
pub struct Attempt(Option<usize>);

impl Attempt {
    fn end(self, facts: &mut Facts, tokens: Option<u64>) {
        if let Some(report) = self.0.and_then(|at| facts.attempts.get_mut(at)) {
            report.until = Some(Instant::now());
            report.tokens = tokens;
        }
    }
}

impl Record {
    fn write(&self, log: &AccessLog, facts: &Facts) {
        let served = facts.status.is_some_and(|status| status.is_success());
        if served && !log.takes(self.id) {
            return;
        }
        let line = LogRecord::of(self, facts);
        // Whatever cannot be written as JSON cannot be in there: texts, numbers, and an object that was read as JSON.
        if let Ok(mut text) = serde_json::to_vec(&line) {
            text.push(b'\n');
            log.writer.write(&text);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let facts = std::mem::take(self.facts.get_mut().unwrap_or_else(PoisonError::into_inner));
        if facts.is_untold {
            return;
        }
        if let Some(log) = &self.log {
            self.write(log, &facts);
        }
        if let Some(traced) = &self.traced {
            traced.telemetry.report(&report::of(self, traced, &facts));
        }
    }
}

#[cfg(test)]
mod tests;
