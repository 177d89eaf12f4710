//! What Prometheus sees of the journal.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::record::Kind;

/// The metrics of the journal. A handle: clones write to the same series.
#[derive(Clone, Debug)]
pub struct JournalMetrics {
    bytes: IntGauge,
    max_bytes: IntGauge,
    records: IntCounterVec,
    intents: IntCounter,
    settlements: IntCounter,
    damaged: IntCounter,
    errors: IntCounter,
}

impl JournalMetrics {
    /// Metrics that are not registered yet: the journal is there before all others.
    pub fn new() -> prometheus::Result<Self> {
        let records = IntCounterVec::new(
            Opts::new("vectoll_journal_records_total", "Records written to the journal, by kind."),
            &["kind"],
        )?;
        for kind in ["carried", "refine", "void"] {
            records.with_label_values(&[kind]);
        }
        Ok(Self {
            bytes: IntGauge::new("vectoll_journal_bytes", "What the journal's segments hold.")?,
            max_bytes: IntGauge::new("vectoll_journal_max_bytes", "What they may hold; beyond it calls are refused.")?,
            intents: records.with_label_values(&["intent"]),
            settlements: records.with_label_values(&["settlement"]),
            records,
            damaged: IntCounter::new(
                "vectoll_journal_damaged_total",
                "Parts of the journal that could not be read, and settlements whose call was lost with them.",
            )?,
            errors: IntCounter::new("vectoll_journal_errors_total", "Records that the journal did not take at once.")?,
        })
    }

    /// Registers all of them.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let Self { bytes, max_bytes, records, intents: _, settlements: _, damaged, errors } = self;
        registry.register(Box::new(bytes.clone()))?;
        registry.register(Box::new(max_bytes.clone()))?;
        registry.register(Box::new(records.clone()))?;
        registry.register(Box::new(damaged.clone()))?;
        registry.register(Box::new(errors.clone()))
    }

    /// Notes a record.
    pub fn wrote(&self, kind: &Kind) {
        match kind {
            Kind::Intent(_) => self.intents.inc(),
            Kind::Settlement(_) => self.settlements.inc(),
            Kind::Carried(_) => self.records.with_label_values(&["carried"]).inc(),
            Kind::Refine(_) => self.records.with_label_values(&["refine"]).inc(),
            Kind::Void(_) => self.records.with_label_values(&["void"]).inc(),
        }
    }

    /// Notes the size.
    pub fn bytes(&self, bytes: u64) {
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Notes what the size is held to.
    pub fn max_bytes(&self, bytes: u64) {
        self.max_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Notes damage.
    pub fn damaged(&self, parts: u64) {
        self.damaged.inc_by(parts);
    }

    /// The damage that was noted.
    #[cfg(test)]
    pub(crate) fn damaged_so_far(&self) -> u64 {
        self.damaged.get()
    }

    /// The intents that were carried over.
    #[cfg(test)]
    pub(crate) fn carried_so_far(&self) -> u64 {
        self.records.with_label_values(&["carried"]).get()
    }

    /// Notes a record that was not taken.
    pub fn failed(&self) {
        self.errors.inc();
    }
}
