//! OpenTelemetry: two spans for each call, and the GenAI histograms, by OTLP to a collector. Off unless an endpoint is set.
//!
//! A call's spans and measures are made when the last word on it is known, of what the access log is made of ([`Report`]): nothing on the
//! request path waits for it, and no input is ever told. Spans wait in a queue that is bounded, and what a collector does not take is
//! dropped and counted: traces are not the books.
//!
//! Names are those of OpenTelemetry's semantic conventions: HTTP server spans, and GenAI client embeddings, which are in development
//! (github.com/open-telemetry/semantic-conventions-genai, `docs/gen-ai/client-embeddings.md`); [`Conventions::Released`] has the metrics'
//! names of the releases before.

mod context;
mod export;
mod instruments;
mod names;
mod report;
mod room;
mod spans;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use http::HeaderMap;
use opentelemetry::{InstrumentationScope, trace::SpanKind};
use opentelemetry_sdk::{
    metrics::SdkMeterProvider,
    trace::{BatchSpanProcessor, Sampler, SamplingDecision, ShouldSample, SpanProcessor},
};
use prometheus::Registry;

pub use self::{
    context::{TraceContext, Trust},
    export::Exporting,
    names::Conventions,
    report::{Asked, EmbeddingOptions, Report, Server, http_route},
};
use self::{instruments::Instruments, room::Room};

/// The longest text of a caller's that a span repeats, in bytes: so much of what waits is bounded by its number.
const MAX_TEXT: usize = 256;

/// Where spans and measures go.
#[derive(Debug)]
pub struct Telemetry {
    spans: BatchSpanProcessor,
    room: Room,
    meters: SdkMeterProvider,
    instruments: Instruments,
    sampler: Sampler,
    scope: InstrumentationScope,
    trust: Trust,
    /// What callers speak: `http` or `https`.
    scheme: &'static str,
}

impl Telemetry {
    /// Begins to tell a collector. Within the runtime: requests to it are made there.
    pub fn start(exporting: Exporting, registry: &Registry) -> anyhow::Result<Arc<Self>> {
        let (portion, conventions, scheme) = (exporting.sampling, exporting.conventions, exporting.scheme);
        let (trust, room) = (exporting.trust, Room::new(registry)?);
        let (spans, meters) = exporting.start(room.clone(), registry).context("failed to set up OTLP")?;
        let scope = InstrumentationScope::builder("vectoll-sidecar").with_version(env!("CARGO_PKG_VERSION")).build();
        let instruments = Instruments::new(&meters, scope.clone(), conventions);
        let sampler = Sampler::TraceIdRatioBased(portion);
        Ok(Arc::new(Self { spans, room, meters, instruments, sampler, scope, trust, scheme }))
    }

    /// The trace that a call belongs to: its caller's, or one of its own.
    pub fn trace(&self, headers: &HeaderMap) -> TraceContext {
        TraceContext::of(headers, self.trust, |trace| {
            let sampled = self.sampler.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
            sampled.decision == SamplingDecision::RecordAndSample
        })
    }

    /// Takes the last word on a call.
    pub fn report(&self, report: &Report<'_>) {
        if let Some(asked) = &report.asked {
            self.instruments.record(report, asked);
        }
        if report.trace.is_sampled() {
            for span in spans::of(report, self.scheme, &self.scope) {
                if self.room.take() {
                    self.spans.on_end(span);
                }
            }
        }
    }

    /// Tells the collector what is left, for so long at most. It blocks.
    pub fn stop(self: Arc<Self>, timeout: Duration) {
        let (done, end) = std::sync::mpsc::channel();
        // The SDK waits for measures as long as it likes: not here.
        let stopping = std::thread::Builder::new().name("last-spans".to_owned()).spawn(move || {
            // What the collector does not take in time is lost; whoever stops says no more about it.
            let _ = self.spans.shutdown_with_timeout(timeout);
            let _ = self.meters.shutdown_with_timeout(timeout);
            let _ = done.send(());
        });
        if stopping.is_ok() {
            let _ = end.recv_timeout(timeout);
        }
    }
}

/// Whether a text is longer than spans repeat.
pub fn is_long(text: &str) -> bool {
    text.len() > MAX_TEXT
}

/// The beginning of a text that a caller has written.
pub fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text)
}
