//! The GenAI histograms. They are bounded: beyond 2,000 sets of attributes the SDK counts the rest together.

use opentelemetry::{
    Array, InstrumentationScope, KeyValue, StringValue, Value,
    metrics::{Histogram, MeterProvider},
};
use opentelemetry_sdk::metrics::SdkMeterProvider;

use super::{
    call_report::{AttemptReport, CallReport},
    names::{Conventions, common, gen_ai},
};

/// Bounds of buckets, in seconds.
const SECONDS: [f64; 14] = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// Bounds of buckets, in tokens: the powers of four from 4⁰ to 4¹³.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// The histograms.
#[derive(Debug)]
pub(super) struct Instruments {
    duration: Histogram<f64>,
    tokens: Histogram<u64>,
    conventions: Conventions,
}

impl Instruments {
    pub(super) fn new(meters: &SdkMeterProvider, scope: InstrumentationScope, conventions: Conventions) -> Self {
        let meter = meters.meter_with_scope(scope);
        let duration = meter
            .f64_histogram(conventions.duration())
            .with_unit("s")
            .with_description(conventions.duration_description())
            .with_boundaries(SECONDS.to_vec());
        let tokens = meter
            .u64_histogram(conventions.tokens())
            .with_unit("{token}")
            .with_description(conventions.tokens_description())
            .with_boundaries(TOKENS.to_vec());
        Self { duration: duration.build(), tokens: tokens.build(), conventions }
    }

    /// Of a call for which a provider was asked.
    pub(super) fn record(&self, report: &CallReport<'_>, attempt: &AttemptReport) {
        // There is no end to names that callers make up: one of them would take the place of others' series.
        let model = report.model_at(attempt).filter(|_| !attempt.is_named_by_callers);
        let mut attributes = of_operation(model, attempt);
        if let Some(tokens) = attempt.tokens {
            let mut of_tokens = attributes.clone();
            if self.conventions == Conventions::Released {
                of_tokens.push(KeyValue::new(gen_ai::TOKEN_TYPE, "input"));
            }
            self.tokens.record(tokens, &of_tokens);
        }
        attributes.extend(report.error().map(|error| KeyValue::new(common::ERROR, error)));
        let until = attempt.until.unwrap_or(report.ended);
        self.duration.record(until.saturating_duration_since(attempt.from).as_secs_f64(), &attributes);
    }
}

/// What spans and measures have in common of an attempt.
pub(super) fn of_operation(model: Option<&str>, attempt: &AttemptReport) -> Vec<KeyValue> {
    let mut attributes =
        vec![KeyValue::new(gen_ai::OPERATION, gen_ai::EMBEDDINGS), KeyValue::new(gen_ai::PROVIDER, attempt.provider)];
    attributes.extend(model.map(|model| KeyValue::new(gen_ai::MODEL, model.to_owned())));
    if let Some(server) = &attempt.server {
        attributes.push(KeyValue::new(common::SERVER, server.address.clone()));
        attributes.push(KeyValue::new(common::PORT, i64::from(server.port)));
    }
    attributes
}

/// A list of texts.
pub(super) fn texts(texts: impl IntoIterator<Item = String>) -> Value {
    Value::Array(Array::String(texts.into_iter().map(StringValue::from).collect()))
}
