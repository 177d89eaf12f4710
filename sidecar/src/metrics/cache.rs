//! What Prometheus sees of the vectors that are kept.

use prometheus::{IntCounterVec, Opts, Registry};

/// Inputs of calls to routes that keep vectors. A handle: clones write to the same series.
#[derive(Clone, Debug)]
pub struct CacheMetrics(IntCounterVec);

impl CacheMetrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let help =
            "Inputs of calls to routes with a cache, by whether a provider was asked for them (miss) or not (hit).";
        let inputs = IntCounterVec::new(Opts::new("vectoll_cache_inputs_total", help), &["route", "result"])?;
        registry.register(Box::new(inputs.clone()))?;
        Ok(Self(inputs))
    }

    /// Notes a call's inputs.
    pub fn inputs(&self, route: &str, hits: u64, misses: u64) {
        self.0.with_label_values(&[route, "hit"]).inc_by(hits);
        self.0.with_label_values(&[route, "miss"]).inc_by(misses);
    }
}
