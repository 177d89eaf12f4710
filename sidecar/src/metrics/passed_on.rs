//! Calls that were passed on to a gateway.

use std::time::Duration;

use http::StatusCode;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

use super::buckets::CALL_SECONDS;

/// Calls that were passed on. A handle.
#[derive(Clone, Debug)]
pub struct PassedOnMetrics {
    calls: IntCounterVec,
    duration: Histogram,
}

impl PassedOnMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let calls = "Calls of routes that the gateway carries out, by the status that their callers got.";
        let duration = "Time from passing a call on to the gateway to the last byte of its answer.";
        let duration =
            HistogramOpts::new("vectoll_passed_on_duration_seconds", duration).buckets(CALL_SECONDS.to_vec());
        let metrics = Self {
            calls: IntCounterVec::new(Opts::new("vectoll_passed_on_calls_total", calls), &["route", "status"])?,
            duration: Histogram::with_opts(duration)?,
        };
        registry.register(Box::new(metrics.calls.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        Ok(metrics)
    }

    /// Notes what a caller of a route got.
    pub fn answered(&self, route: &str, status: StatusCode) {
        self.calls.with_label_values(&[route, status.as_str()]).inc();
    }

    /// Notes how long the gateway took.
    pub fn took(&self, time: Duration) {
        self.duration.observe(time.as_secs_f64());
    }
}
