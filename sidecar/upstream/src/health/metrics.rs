//! What Prometheus sees of the backends.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Attempts, retries and cooldowns by backend. A handle: clones write to the same series.
#[derive(Clone, Debug)]
pub struct BackendMetrics {
    attempts: IntCounterVec,
    retries: IntCounterVec,
    hedges: IntCounterVec,
    coalesced: IntCounterVec,
    saved: IntCounterVec,
    cooldowns: IntCounterVec,
    cooling: IntGaugeVec,
}

/// The series of one backend.
#[derive(Clone, Debug)]
pub struct OneBackend {
    label: Box<str>,
    of: BackendMetrics,
}

impl BackendMetrics {
    /// Registers all of them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let metrics = Self {
            attempts: counter(
                "vectoll_backend_attempts_total",
                "Calls that a backend was sent, by how it took them: served, refused, limited, denied (the credential), failed, timeout, no_connection.",
                &["backend", "result"],
            )?,
            retries: counter(
                "vectoll_retries_total",
                "Attempts after a call's first, by the backend that they went to.",
                &["backend"],
            )?,
            hedges: counter(
                "vectoll_hedges_total",
                "Attempts beside one that had no answer yet, by the backend that they went to and whether theirs was the \
                 answer: won, lost.",
                &["backend", "outcome"],
            )?,
            coalesced: counter(
                "vectoll_coalesced_calls_total",
                "Calls that were sent to a backend together with others, in one request.",
                &["backend"],
            )?,
            saved: counter(
                "vectoll_coalesced_requests_saved_total",
                "Requests that a backend was not sent because calls travelled together: calls less requests.",
                &["backend"],
            )?,
            cooldowns: counter(
                "vectoll_backend_cooldowns_total",
                "How often a backend was left alone for a while, by why: failures, limited.",
                &["backend", "reason"],
            )?,
            cooling: IntGaugeVec::new(
                Opts::new("vectoll_backend_cooldown", "1 from a backend's cooldown to the next call that it serves."),
                &["backend"],
            )?,
        };
        let Self { attempts, retries, hedges, coalesced, saved, cooldowns, cooling } = &metrics;
        for counter in [attempts, retries, hedges, coalesced, saved, cooldowns] {
            registry.register(Box::new(counter.clone()))?;
        }
        registry.register(Box::new(cooling.clone()))?;
        Ok(metrics)
    }

    /// Seen by nobody: for who only wants to know whether a config can be served.
    pub fn unseen() -> prometheus::Result<Self> {
        Self::register(&Registry::new())
    }

    /// Those of one backend.
    pub fn of(&self, label: &str) -> OneBackend {
        OneBackend { label: label.into(), of: self.clone() }
    }

    /// Notes a retry.
    pub fn retried(&self, backend: &str) {
        self.retries.with_label_values(&[backend]).inc();
    }

    /// Notes a request that so many calls travel in.
    pub fn coalesced(&self, backend: &str, calls: u64) {
        self.coalesced.with_label_values(&[backend]).inc_by(calls);
        self.saved.with_label_values(&[backend]).inc_by(calls.saturating_sub(1));
    }

    /// Notes how a second attempt beside the first one ended.
    pub fn hedged(&self, backend: &str, has_won: bool) {
        self.hedges.with_label_values(&[backend, if has_won { "won" } else { "lost" }]).inc();
    }
}

impl OneBackend {
    /// Notes an attempt's end.
    pub fn attempted(&self, result: &str) {
        self.of.attempts.with_label_values(&[&*self.label, result]).inc();
    }

    /// Notes that it is left alone once more.
    pub fn cooled(&self, reason: &str) {
        self.of.cooldowns.with_label_values(&[&*self.label, reason]).inc();
    }

    /// Notes whether it is left alone.
    pub fn cooling(&self, whether: bool) {
        self.of.cooling.with_label_values(&[&*self.label]).set(i64::from(whether));
    }

    /// Its state goes. Its counters stay: they only ever grow.
    pub fn forget(&self) {
        // It fails where the series is not there: then it is gone as well.
        let _ = self.of.cooling.remove_label_values(&[&*self.label]);
    }
}
