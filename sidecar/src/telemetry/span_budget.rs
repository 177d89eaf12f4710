//! How many spans may wait for the collector. The SDK's own queue says of none that it dropped it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use prometheus::{IntCounter, Registry};

/// Spans that may wait, or be on their way. Each is a few kilobytes at most.
pub(super) const MAX_WAITING_SPANS: usize = 2_048;

/// Bounds the spans that wait. A handle: clones share it.
#[derive(Clone, Debug)]
pub(super) struct SpanBudget {
    waiting: Arc<AtomicUsize>,
    dropped: IntCounter,
}

impl SpanBudget {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let help = "Spans that were dropped, because the collector took none for too long.";
        let dropped = IntCounter::new("vectoll_otlp_spans_dropped_total", help)?;
        registry.register(Box::new(dropped.clone()))?;
        Ok(Self { waiting: Arc::default(), dropped })
    }

    /// Takes one span in; false: the budget is used up, and the span is counted as dropped.
    pub(super) fn try_take(&self) -> bool {
        let one_more = |waiting| (waiting < MAX_WAITING_SPANS).then_some(waiting + 1);
        let is_within = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        if !is_within {
            self.dropped.inc();
        }
        is_within
    }

    /// Spans no longer wait: they are sent, or lost.
    fn release(&self, spans: usize, lost: bool) {
        let less = |waiting: usize| Some(waiting.saturating_sub(spans));
        let _ = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        if lost {
            self.dropped.inc_by(spans as u64);
        }
    }
}

/// Sends spans, and releases their part of the budget.
#[derive(Debug)]
pub(super) struct BudgetReleasing<E> {
    pub(super) exporter: E,
    pub(super) budget: SpanBudget,
}

impl<E: SpanExporter> SpanExporter for BudgetReleasing<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        self.budget.release(spans, sent.is_err());
        sent
    }

    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_dropped_and_counted() {
        let budget = SpanBudget::new(&Registry::new()).unwrap();
        assert_eq!((0..MAX_WAITING_SPANS + 3).filter(|_| budget.try_take()).count(), MAX_WAITING_SPANS);
        assert_eq!(budget.dropped.get(), 3);
        budget.release(2, false);
        assert_eq!((0..3).filter(|_| budget.try_take()).count(), 2);
        budget.release(5, true);
        assert_eq!(budget.dropped.get(), 3 + 1 + 5);
    }
}
