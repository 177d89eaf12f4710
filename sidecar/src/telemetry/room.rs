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
pub(super) const MAX_WAITING: usize = 2_048;

/// The room. A handle: clones share it.
#[derive(Clone, Debug)]
pub(super) struct Room {
    waiting: Arc<AtomicUsize>,
    dropped: IntCounter,
}

impl Room {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let help = "Spans that were dropped, because the collector took none for too long.";
        let dropped = IntCounter::new("vectoll_otlp_spans_dropped_total", help)?;
        registry.register(Box::new(dropped.clone()))?;
        Ok(Self { waiting: Arc::default(), dropped })
    }

    /// Whether there is room for one more, which has it then.
    pub(super) fn take(&self) -> bool {
        let room = |waiting| (waiting < MAX_WAITING).then_some(waiting + 1);
        let has_room = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok();
        if !has_room {
            self.dropped.inc();
        }
        has_room
    }

    /// Spans are out, or lost.
    fn leave(&self, spans: usize, lost: bool) {
        let less = |waiting: usize| Some(waiting.saturating_sub(spans));
        let _ = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        if lost {
            self.dropped.inc_by(spans as u64);
        }
    }
}

/// Sends spans, and gives their room back.
#[derive(Debug)]
pub(super) struct Leaving<E> {
    pub(super) exporter: E,
    pub(super) room: Room,
}

impl<E: SpanExporter> SpanExporter for Leaving<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        self.room.leave(spans, sent.is_err());
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
        let room = Room::new(&Registry::new()).unwrap();
        assert_eq!((0..MAX_WAITING + 3).filter(|_| room.take()).count(), MAX_WAITING);
        assert_eq!(room.dropped.get(), 3);
        room.leave(2, false);
        assert_eq!((0..3).filter(|_| room.take()).count(), 2);
        room.leave(5, true);
        assert_eq!(room.dropped.get(), 3 + 1 + 5);
    }
}
