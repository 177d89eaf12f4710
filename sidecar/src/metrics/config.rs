//! What Prometheus sees of the config: of the one there is, or of each namespace's.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::tenancy::Tenancy;

/// The results of a look at a config.
const RESULTS: [&str; 2] = ["applied", "refused"];

/// The families. A handle: clones write to the same series.
#[derive(Clone, Debug)]
pub struct ConfigMetrics {
    tenancy: Tenancy,
    generation: IntGaugeVec,
    reloads: IntCounterVec,
    stale: IntGaugeVec,
    applied: IntGaugeVec,
}

/// Those of one config.
#[derive(Clone, Debug)]
pub struct OneConfig {
    /// The generation in force.
    pub generation: IntGauge,
    /// Configs that were put in force.
    pub reloads: IntCounter,
    /// Configs that were refused.
    pub refusals: IntCounter,
    /// 1 while the newest config in the folder is not the one in force.
    pub stale: IntGauge,
    /// When the config in force was applied, in seconds since 1970.
    pub applied: IntGauge,
}

impl ConfigMetrics {
    pub(super) fn register(registry: &Registry, tenancy: Tenancy) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &tenancy.labels(&[]));
        let metrics = Self {
            tenancy,
            generation: gauge("vectoll_config_generation", "The generation of the config in force; 0: none.")?,
            reloads: IntCounterVec::new(
                Opts::new("vectoll_config_reloads_total", "Configs read, by result."),
                &tenancy.labels(&["result"]),
            )?,
            stale: gauge(
                "vectoll_config_stale",
                "1 while the config in the folder is refused or gone and the last good one is in force.",
            )?,
            applied: gauge("vectoll_config_last_applied_timestamp_seconds", "When the config in force was applied.")?,
        };
        let Self { tenancy: _, generation, reloads, stale, applied } = &metrics;
        for gauge in [generation, stale, applied] {
            registry.register(Box::new(gauge.clone()))?;
        }
        registry.register(Box::new(reloads.clone()))?;
        if !tenancy.is_many() {
            // They are there from the start.
            metrics.of("");
        }
        Ok(metrics)
    }

    /// Those of a namespace's config; where there is but one, whichever it is.
    pub fn of(&self, namespace: &str) -> OneConfig {
        let gauge = |vec: &IntGaugeVec| vec.with_label_values(&self.tenancy.values(namespace, &[]));
        let [reloads, refusals] =
            RESULTS.map(|result| self.reloads.with_label_values(&self.tenancy.values(namespace, &[result])));
        OneConfig {
            generation: gauge(&self.generation),
            reloads,
            refusals,
            stale: gauge(&self.stale),
            applied: gauge(&self.applied),
        }
    }

    /// A namespace is gone, and its series with it.
    pub fn forget(&self, namespace: &str) {
        // It fails where a series is not there: then it is gone as well.
        for gauge in [&self.generation, &self.stale, &self.applied] {
            let _ = gauge.remove_label_values(&self.tenancy.values(namespace, &[]));
        }
        for result in RESULTS {
            let _ = self.reloads.remove_label_values(&self.tenancy.values(namespace, &[result]));
        }
    }
}
