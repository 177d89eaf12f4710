//! What Prometheus sees of the webhook.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Answers of the webhook, by what came out.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) injected: IntCounter,
    pub(super) untouched: IntCounter,
    pub(super) skipped: IntCounter,
    pub(super) refused: IntCounter,
    pub(super) invalid: IntCounter,
}

impl Metrics {
    /// Registers `vectoll_injections_total{result}`: `injected`, `untouched` (nobody asked), `skipped` (its namespace
    /// asked, and it cannot have one), `refused` (see the answer), `invalid` (not a review of a pod). All of them are there from the start.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new("vectoll_injections_total", "Pods that the webhook was asked about, by what came out.");
        let results = IntCounterVec::new(opts, &["result"])?;
        registry.register(Box::new(results.clone()))?;
        let of = |result| results.with_label_values(&[result]);
        Ok(Self {
            injected: of("injected"),
            untouched: of("untouched"),
            skipped: of("skipped"),
            refused: of("refused"),
            invalid: of("invalid"),
        })
    }
}
