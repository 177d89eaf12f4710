//! The access log: one JSON object a line on standard output for each call. It says who called, what it cost and how long it
//! took, and never what was embedded, nor a credential.
//!
//! A line is written when the last word on a call is known: after its answer, and after its settlement, whichever comes
//! later. What is known of a call gathers in an [`Entry`] that goes with it; the line follows from dropping the last handle,
//! so no way out of the request path can forget it.

mod log;
mod log_record;
mod record;
mod redact;
mod writer;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use vectoll_config::PicoUsd;

pub use self::{
    log::AccessLog,
    writer::{LOST, Writer},
};
use self::{
    log_record::LogRecord,
    record::{Facts, Record},
};
use crate::{authenticate::Caller, call_id::CallId, refusal::Refusal};
use vectoll_api::request::Metadata;
use vectoll_ledger::books::Certainty;

/// What is known of a call. A handle: the line is written when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Entry(Option<Arc<Record>>);

impl Entry {
    /// For a call that has just come. Without a log nothing is gathered.
    pub fn new(log: Option<&Arc<AccessLog>>, id: CallId) -> Self {
        let record = |log: &Arc<AccessLog>| {
            let (at, started) = (Timestamp::now(), Instant::now());
            Arc::new(Record { log: log.clone(), id, at, started, facts: Mutex::default() })
        };
        Self(log.map(record))
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

    /// What it used, as it was booked.
    pub fn booked(&self, tokens: u64, cost: Option<PicoUsd>, certainty: Certainty) {
        self.note(|facts| {
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

impl Drop for Record {
    fn drop(&mut self) {
        let facts = std::mem::take(self.facts.get_mut().unwrap_or_else(PoisonError::into_inner));
        if facts.is_untold {
            return;
        }
        let served = facts.status.is_some_and(|status| status.is_success());
        if served && !self.log.takes(self.id) {
            return;
        }
        let line = LogRecord::of(self, &facts);
        // Whatever cannot be written as JSON cannot be in there: texts, numbers, and an object that was read as JSON.
        if let Ok(mut text) = serde_json::to_vec(&line) {
            text.push(b'\n');
            self.log.writer.write(&text);
        }
    }
}

#[cfg(test)]
mod tests;
