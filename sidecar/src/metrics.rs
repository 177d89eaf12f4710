//! What Prometheus sees. Names follow Prometheus's conventions; every label is bounded.

mod books;
mod buckets;
mod cache;
mod config;
mod family_text;
mod passed_on;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::{
    accounting::{TrialMetrics, WaitMetrics},
    tenancy::Tenancy,
};
use vectoll_config::namespace_of;
use vectoll_ledger::journal::JournalMetrics;
use vectoll_limits::store::StoreMetrics;
use vectoll_upstream::health::BackendMetrics;

use buckets::CALL_SECONDS;

pub use books::{BookFamilies, Source};
pub use cache::CacheMetrics;
pub use config::{ConfigMetrics, OneConfig};
pub use passed_on::PassedOnMetrics;

/// Buckets for our own share, in seconds.
const OVERHEAD_SECONDS: [f64; 9] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.1, 1.0];

/// The metrics that are noted as things happen. A handle: clones write to the same series.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    books: Arc<BookFamilies>,
    /// Of the text of the last scrape, in bytes.
    last_length: Arc<AtomicUsize>,
    requests: HistogramVec,
    by_status: Arc<Mutex<HashMap<StatusCode, Histogram>>>,
    overhead: Histogram,
    upstream: HistogramVec,
    rejections: IntCounterVec,
    /// Only where there are many namespaces.
    by_namespace: Option<IntCounterVec>,
    in_flight: IntGauge,
    /// Reloads by result, and what was last applied.
    pub config: ConfigMetrics,
    /// Exchanges with the store.
    pub store: StoreMetrics,
    /// What becomes of calls at the backends.
    pub backends: BackendMetrics,
    /// Vectors that are kept.
    pub cache: CacheMetrics,
    /// Calls that the gateway carries out.
    pub passed_on: PassedOnMetrics,
}

/// A request that is being served.
#[derive(Debug)]
pub struct UnderWay(IntGauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Registers the counter of lines that the access log lost.
    pub fn lost_lines(&self) -> prometheus::Result<IntCounter> {
        let lost =
            IntCounter::new(crate::access::LOST, "Lines that the access log dropped because its reader was too slow.")?;
        self.registry.register(Box::new(lost.clone()))?;
        Ok(lost)
    }

    /// Registers what is measured elsewhere.
    pub fn add<T, E>(&self, register: impl FnOnce(&Registry) -> Result<T, E>) -> Result<T, E> {
        register(&self.registry)
    }

    /// Registers everything; `books` renders the spend, `journal` are those of the journal, `trials` those of limits on trial, `waits` those of calls that wait for room.
    pub fn new(
        books: BookFamilies,
        (journal, trials, waits): (&JournalMetrics, &TrialMetrics, &WaitMetrics),
        tenancy: Tenancy,
    ) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let histogram =
            |name: &str, help: &str, buckets: &[f64]| HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let gauge = |name: &str, help: &str| IntGauge::new(name, help);
        let metrics = Self {
            requests: HistogramVec::new(
                histogram(
                    "vectoll_request_duration_seconds",
                    "Time from a request's headers to its response's headers.",
                    &CALL_SECONDS,
                ),
                &["status"],
            )?,
            by_status: Arc::default(),
            overhead: Histogram::with_opts(histogram(
                "vectoll_overhead_duration_seconds",
                "The part of a request's time that the sidecar itself took.",
                &OVERHEAD_SECONDS,
            ))?,
            upstream: HistogramVec::new(
                histogram(
                    "vectoll_upstream_duration_seconds",
                    "Time from sending a call to the last byte of the backend's answer.",
                    &CALL_SECONDS,
                ),
                &["backend"],
            )?,
            rejections: IntCounterVec::new(
                Opts::new(
                    "vectoll_rejections_total",
                    "Calls that got no vectors, by whose limit or fault it was and why.",
                ),
                &tenancy.labels(&["scope", "reason"]),
            )?,
            by_namespace: tenancy.is_many().then(requests_by_namespace).transpose()?,
            in_flight: gauge("vectoll_requests_in_flight", "Requests that have no response yet.")?,
            config: ConfigMetrics::register(&registry, tenancy)?,
            store: StoreMetrics::register(&registry)?,
            backends: BackendMetrics::register(&registry)?,
            cache: CacheMetrics::register(&registry)?,
            passed_on: PassedOnMetrics::register(&registry)?,
            registry,
            books: Arc::new(books),
            last_length: Arc::default(),
        };
        let Self {
            registry,
            books: _,
            last_length: _,
            requests,
            by_status: _,
            overhead,
            upstream,
            rejections,
            by_namespace,
            in_flight,
            config: _,
            store: _,
            backends: _,
            cache: _,
            passed_on: _,
        } = &metrics;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(overhead.clone()))?;
        registry.register(Box::new(upstream.clone()))?;
        registry.register(Box::new(rejections.clone()))?;
        registry.register(Box::new(in_flight.clone()))?;
        if let Some(by_namespace) = by_namespace {
            registry.register(Box::new(by_namespace.clone()))?;
        }
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let counted =
            IntCounter::new("vectoll_counted_text_bytes_total", "Text whose tokens were counted here, in bytes.")?;
        registry.register(Box::new(counted.clone()))?;
        vectoll_upstream::tokens::observe_counted_bytes(counted);
        journal.register(registry)?;
        trials.register(registry)?;
        waits.register(registry)?;
        Ok(metrics)
    }

    /// Notes that a request has begun.
    pub fn enter(&self) -> UnderWay {
        self.in_flight.inc();
        UnderWay(self.in_flight.clone())
    }

    /// Notes a request's end.
    pub fn observe(&self, status: StatusCode, took: Duration, upstream: Duration) {
        let histogram = {
            let mut known = self.by_status.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry(status).or_insert_with(|| self.requests.with_label_values(&[status.as_str()])).clone()
        };
        histogram.observe(took.as_secs_f64());
        self.overhead.observe(took.saturating_sub(upstream).as_secs_f64());
    }

    /// The histogram of a backend.
    pub fn upstream(&self, backend: &str) -> Histogram {
        self.upstream.with_label_values(&[backend])
    }

    /// Notes a refusal of a call with this key, where that is known.
    pub fn rejected(&self, key: Option<&str>, scope: &str, reason: &str) {
        match &self.by_namespace {
            None => self.rejections.with_label_values(&[scope, reason]),
            Some(_) => self.rejections.with_label_values(&[namespace_of(key.unwrap_or_default()), scope, reason]),
        }
        .inc();
    }

    /// Notes the end of a call with this key, where that is known. Only where there are many namespaces.
    pub fn of_namespace(&self, key: Option<&str>, status: StatusCode) {
        if let Some(by_namespace) = &self.by_namespace {
            by_namespace.with_label_values(&[namespace_of(key.unwrap_or_default()), status.as_str()]).inc();
        }
    }

    /// Everything in Prometheus's text format.
    pub fn render(&self) -> prometheus::Result<String> {
        // A text of megabytes is not copied while it grows: it is about as long as the last one.
        let mut text = String::with_capacity(self.last_length.load(Ordering::Relaxed) * 17 / 16);
        TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text)?;
        let text = self.books.write(text)?;
        self.last_length.store(text.len(), Ordering::Relaxed);
        Ok(text)
    }
}

fn requests_by_namespace() -> prometheus::Result<IntCounterVec> {
    let help = "Calls that were answered, by the namespace of their key; without one where the key is not known.";
    IntCounterVec::new(Opts::new("vectoll_namespace_requests_total", help), &["namespace", "status"])
}
