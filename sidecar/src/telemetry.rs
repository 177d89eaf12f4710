//! OpenTelemetry: two spans for each call, and the GenAI histograms, by OTLP to a collector. Off unless an endpoint is set.
//!
//! A call's spans and measures are made when the last word on it is known, of what the access log is made of ([`CallReport`]): nothing on the
//! request path waits for it, and no input is ever told. Spans wait in a queue that is bounded, and what a collector does not take is
//! dropped and counted: traces are not the books.
//!
//! Names are those of OpenTelemetry's semantic conventions: HTTP server spans, and GenAI client embeddings, which are in development
//! (github.com/open-telemetry/semantic-conventions-genai, `docs/gen-ai/client-embeddings.md`); [`Conventions::Released`] has the metrics'
//! names of the releases before.

mod call_report;
mod context;
mod export;
mod instruments;
mod names;
mod span_budget;
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
    call_report::{AttemptReport, CallReport, EmbeddingOptions, Server, http_route},
    context::{TraceContext, Trust},
    export::Exporting,
    names::Conventions,
};
use self::{instruments::Instruments, span_budget::SpanBudget};

/// The longest text of a caller's that a span repeats, in bytes: so much of what waits is bounded by its number.
const MAX_TEXT: usize = 256;

/// Where spans and measures go.
#[derive(Debug)]
pub struct Telemetry {
    spans: BatchSpanProcessor,
    budget: SpanBudget,
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
        let (trust, budget) = (exporting.trust, SpanBudget::new(registry)?);
        let (spans, meters) = exporting.start(budget.clone(), registry).context("failed to set up OTLP")?;
        let scope = InstrumentationScope::builder("vectoll-sidecar").with_version(env!("CARGO_PKG_VERSION")).build();
        let instruments = Instruments::new(&meters, scope.clone(), conventions);
        let sampler = Sampler::TraceIdRatioBased(portion);
        Ok(Arc::new(Self { spans, budget, meters, instruments, sampler, scope, trust, scheme }))
    }

    /// The trace that a call belongs to: its caller's, or one of its own.
    pub fn trace(&self, headers: &HeaderMap) -> TraceContext {
        TraceContext::of(headers, self.trust, |trace| {
            let sampled = self.sampler.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
            sampled.decision == SamplingDecision::RecordAndSample
        })
    }

    /// Takes the last word on a call.
    pub fn report(&self, report: &CallReport<'_>) {
        if let Some(attempt) = &report.attempt {
            self.instruments.record(report, attempt);
        }
        if report.trace.is_sampled() {
            for span in spans::of(report, self.scheme, &self.scope) {
                if self.budget.try_take() {
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
