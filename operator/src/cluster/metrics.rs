//! What Prometheus sees of the operator.

use std::{collections::BTreeMap, time::Duration};

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::{
    observed_state::Kind,
    store::{Memory, StoreState, Swept},
};

/// The operator's families. A handle.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    registry: Registry,
    passes: Histogram,
    failed: IntCounter,
    actions: IntCounterVec,
    waiting: IntGauge,
    leads: IntGauge,
    resources: IntGaugeVec,
    watch_errors: IntCounterVec,
}

impl Metrics {
    pub(super) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let passes = Histogram::with_opts(
            HistogramOpts::new(
                "vectoll_operator_reconcile_duration_seconds",
                "Time from looking at the observed state to a plan",
            )
            .buckets(vec![0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0]),
        )?;
        let failed =
            IntCounter::new("vectoll_operator_reconcile_errors_total", "Reconciliations that came to no plan")?;
        let actions = IntCounterVec::new(
            Opts::new("vectoll_operator_actions_total", "Changes made through the API server, by kind and result"),
            &["action", "result"],
        )?;
        let waiting = IntGauge::new(
            "vectoll_operator_queue_length",
            "Changes to be made or under way, and namespaces to be reconciled",
        )?;
        let leads = IntGauge::new("vectoll_operator_leader", "1 while this replica acts")?;
        let resources = IntGaugeVec::new(
            Opts::new("vectoll_operator_resources", "Resources by kind and whether they are ready"),
            &["kind", "ready"],
        )?;
        let watch_errors = IntCounterVec::new(
            Opts::new(
                "vectoll_operator_watch_errors_total",
                "Lists and watches that failed and were tried again, by kind",
            ),
            &["kind"],
        )?;
        registry.register(Box::new(watch_errors.clone()))?;
        registry.register(Box::new(passes.clone()))?;
        registry.register(Box::new(failed.clone()))?;
        registry.register(Box::new(actions.clone()))?;
        registry.register(Box::new(waiting.clone()))?;
        registry.register(Box::new(leads.clone()))?;
        registry.register(Box::new(resources.clone()))?;
        Ok(Self { registry, passes, failed, actions, waiting, leads, resources, watch_errors })
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) fn pass(&self, took: Duration) {
        self.passes.observe(took.as_secs_f64());
    }

    pub(super) fn pass_failed(&self) {
        self.failed.inc();
    }

    pub(super) fn watch_failed(&self, kind: &str) {
        self.watch_errors.with_label_values(&[kind]).inc();
    }

    pub(super) fn acted(&self, action: &str, ok: bool) {
        self.actions.with_label_values(&[action, if ok { "success" } else { "error" }]).inc();
    }

    pub(super) fn waiting(&self, actions: usize) {
        self.waiting.set(i64::try_from(actions).unwrap_or(i64::MAX));
    }

    pub(super) fn leads(&self, leads: bool) {
        self.leads.set(i64::from(leads));
        if !leads {
            // What it found is out of date from now on; another replica says it.
            self.resources.reset();
        }
    }

    /// By kind: how many are ready, and how many are not.
    pub(super) fn resources(&self, ready: &BTreeMap<Kind, [usize; 2]>) {
        for (kind, [ready, not]) in ready {
            for (word, number) in [("true", *ready), ("false", *not)] {
                let number = i64::try_from(number).unwrap_or(i64::MAX);
                self.resources.with_label_values(&[&kind.to_string(), word]).set(number);
            }
        }
    }

    /// All families in Prometheus's text format.
    pub(super) fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// The families of the store.
#[derive(Clone, Debug)]
pub(super) struct StoreMetrics {
    up: IntGauge,
    users: IntGauge,
    memory: IntGauge,
    max: IntGauge,
    busy: IntGauge,
    removed: IntCounterVec,
}

impl StoreMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let up = IntGauge::new(
            "vectoll_operator_store_up",
            "1 while this replica acts and the store has the users that it is to have",
        )?;
        let users =
            IntGauge::new("vectoll_operator_store_users", "Users of namespaces that this replica keeps in the store")?;
        registry.register(Box::new(up.clone()))?;
        let memory = IntGauge::new(
            "vectoll_operator_store_memory_bytes",
            "What the store's fullest server holds, as this replica saw it last",
        )?;
        let max = IntGauge::new(
            "vectoll_operator_store_memory_max_bytes",
            "What that server may hold; 0: it has no limit of its own",
        )?;
        let busy =
            IntGauge::new("vectoll_operator_store_busy", "1 while a script keeps the store busy that cannot be ended")?;
        let removed = IntCounterVec::new(
            Opts::new(
                "vectoll_operator_store_removed_total",
                "Keys and fields that were removed from the store, by reason",
            ),
            &["reason"],
        )?;
        registry.register(Box::new(users.clone()))?;
        registry.register(Box::new(memory.clone()))?;
        registry.register(Box::new(max.clone()))?;
        registry.register(Box::new(busy.clone()))?;
        registry.register(Box::new(removed.clone()))?;
        Ok(Self { up, users, memory, max, busy, removed })
    }

    pub(super) fn record_store_state(&self, state: &StoreState) {
        let (up, users) = match state {
            StoreState::Good { users: _, count, full: _, persistence: _ } => (1, *count),
            StoreState::Unknown | StoreState::Trouble { since: _, busy: _ } => (0, 0),
        };
        self.busy.set(i64::from(matches!(state, StoreState::Trouble { since: _, busy: true })));
        self.up.set(up);
        self.users.set(i64::try_from(users).unwrap_or(i64::MAX));
    }

    pub(super) fn weighs(&self, memory: Memory) {
        let Memory { used, max } = memory;
        self.memory.set(i64::try_from(used).unwrap_or(i64::MAX));
        self.max.set(i64::try_from(max).unwrap_or(i64::MAX));
    }

    pub(super) fn swept(&self, swept: &Swept) {
        for (reason, number) in swept.by_reason() {
            self.removed.with_label_values(&[reason]).inc_by(number);
        }
    }
}
