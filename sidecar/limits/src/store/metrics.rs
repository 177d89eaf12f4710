//! What Prometheus sees of the store.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Buckets from a fifth of a millisecond to a second.
const SECONDS: [f64; 10] = [0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.3, 1.0];

/// Exchanges with the store.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    /// 1 while it answers.
    pub up: IntGauge,
    /// How long an exchange takes.
    pub duration: Histogram,
    exchanges: IntCounterVec,
    given_up: IntCounter,
}

impl StoreMetrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            up: IntGauge::new(
                "vectoll_store_up",
                "1 while the store of limits and budgets answers; 0 while it does not, or there is none.",
            )?,
            duration: Histogram::with_opts(
                HistogramOpts::new("vectoll_store_exchange_duration_seconds", "Time of an exchange with the store.")
                    .buckets(SECONDS.to_vec()),
            )?,
            exchanges: IntCounterVec::new(
                Opts::new("vectoll_store_exchanges_total", "Exchanges with the store, by result."),
                &["result"],
            )?,
            given_up: IntCounter::new(
                "vectoll_store_settlements_given_up_total",
                "Calls of Teams that are gone whose cost the store would not take any more: it is in no ledger.",
            )?,
        };
        let Self { up, duration, exchanges, given_up } = &metrics;
        registry.register(Box::new(up.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(exchanges.clone()))?;
        registry.register(Box::new(given_up.clone()))?;
        for result in ["answered", "failed"] {
            exchanges.with_label_values(&[result]);
        }
        Ok(metrics)
    }

    pub(super) fn gave_up(&self, settlements: u64) {
        self.given_up.inc_by(settlements);
    }

    pub(super) fn exchanged(&self, answered: bool) {
        self.exchanges.with_label_values(&[if answered { "answered" } else { "failed" }]).inc();
    }
}
