//! The spans of a call: one of being called, and below it one of asking providers, which covers all attempts.

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{Link, SpanContext, SpanId, SpanKind, Status},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::{
    call_report::{AttemptReport, CallReport},
    instruments::{of_operation, texts},
    names::{common, gen_ai, vectoll},
};

/// Those of a call, the caller's end first.
pub(super) fn of(report: &CallReport<'_>, scheme: &'static str, scope: &InstrumentationScope) -> Vec<SpanData> {
    let mut spans = vec![server(report, scheme, scope)];
    spans.extend(report.attempt.as_ref().map(|attempt| client(report, attempt, scope)));
    spans
}

fn server(report: &CallReport<'_>, scheme: &'static str, scope: &InstrumentationScope) -> SpanData {
    let mut attributes = vec![
        KeyValue::new(common::METHOD, "POST"),
        KeyValue::new(common::ROUTE, report.http_route),
        KeyValue::new(common::PATH, report.path.to_string()),
        KeyValue::new(common::SCHEME, scheme),
        KeyValue::new(vectoll::CALL_ID, report.call_id.to_string()),
    ];
    let mut add = |name, value: Option<String>| attributes.extend(value.map(|value| KeyValue::new(name, value)));
    add(common::CLIENT, report.client.map(|client| client.to_string()));
    add(vectoll::NAMESPACE, report.namespace.map(str::to_owned));
    add(vectoll::KEY, report.key.map(str::to_owned));
    add(vectoll::TEAM, report.team.map(str::to_owned));
    add(vectoll::USER, report.user.as_deref().map(str::to_owned));
    add(vectoll::MODEL, report.model.as_deref().map(str::to_owned));
    add(vectoll::ROUTE, report.route.map(|(route, _)| route.to_owned()));
    add(vectoll::BACKEND, report.route.map(|(_, backend)| backend.to_owned()));
    // A decimal number as text: exact to the pico-USD.
    add(vectoll::COST, report.cost.map(|cost| cost.to_string()));
    add(vectoll::USAGE, report.usage.map(str::to_owned));
    add(vectoll::SCOPE, report.refused.map(|(scope, _)| scope.to_owned()));
    add(vectoll::REASON, report.refused.map(|(_, reason)| reason.to_owned()));
    let millis = report.overhead.map(|overhead| overhead.as_secs_f64() * 1_000.0);
    attributes.extend(millis.map(|millis| KeyValue::new(vectoll::OVERHEAD, millis)));
    for (name, count) in [(vectoll::RETRIES, report.retries), (vectoll::HEDGES, report.hedges)] {
        attributes.extend((count > 0).then(|| KeyValue::new(name, i64::from(count))));
    }
    if !report.would_reject.is_empty() {
        let found = report.would_reject.iter().map(|(scope, reason)| format!("{scope} {reason}"));
        attributes.push(KeyValue::new(vectoll::WOULD_REJECT, texts(found)));
    }
    attributes.extend(report.status.map(|status| KeyValue::new(common::STATUS, i64::from(status))));
    // What a caller has done wrong is no error of the server's: HTTP spans, "Status".
    let error = report.error().filter(|_| report.status.is_none_or(|status| status >= 500));
    let status = if error.is_some() { Status::error("") } else { Status::Unset };
    attributes.extend(error.map(|error| KeyValue::new(common::ERROR, error)));
    SpanData {
        name: format!("POST {}", report.http_route).into(),
        span_kind: SpanKind::Server,
        start_time: report.began,
        // As the access log's `duration_ms`: what goes on afterwards is the settlement.
        end_time: report.answered.map_or_else(|| report.at(report.ended), |took| report.began + took),
        status,
        links: links(report.trace.link()),
        ..blank(&report.trace.server, report.trace.parent(), attributes, scope)
    }
}

fn client(report: &CallReport<'_>, attempt: &AttemptReport, scope: &InstrumentationScope) -> SpanData {
    let model = report.model_at(attempt);
    let mut attributes = of_operation(model, attempt);
    if let Some(options) = report.options {
        let dimensions = options.dimensions.and_then(|dimensions| i64::try_from(dimensions).ok());
        attributes.extend(dimensions.map(|dimensions| KeyValue::new(gen_ai::DIMENSIONS, dimensions)));
        let formats = options.encoding_format.map(|format| texts([format.to_owned()]));
        attributes.extend(formats.map(|formats| KeyValue::new(gen_ai::ENCODING_FORMATS, formats)));
    }
    let tokens = attempt.tokens.and_then(|tokens| i64::try_from(tokens).ok());
    attributes.extend(tokens.map(|tokens| KeyValue::new(gen_ai::INPUT_TOKENS, tokens)));
    let error = report.error();
    let status = if error.is_some() { Status::error("") } else { Status::Unset };
    attributes.extend(error.map(|error| KeyValue::new(common::ERROR, error)));
    let name = format!("{} {}", gen_ai::EMBEDDINGS, model.unwrap_or_default());
    SpanData {
        name: name.trim_end().to_owned().into(),
        span_kind: SpanKind::Client,
        start_time: report.at(attempt.from),
        end_time: report.at(attempt.until.unwrap_or(report.ended)),
        status,
        ..blank(&report.trace.client, (report.trace.server.span_id(), false), attributes, scope)
    }
}

fn links(to: Option<&SpanContext>) -> SpanLinks {
    let mut links = SpanLinks::default();
    links.links.extend(to.map(|of| Link::new(of.clone(), Vec::new(), 0)));
    links
}

/// A span that says nothing yet but where it belongs.
fn blank(
    of: &SpanContext,
    (parent_span_id, parent_span_is_remote): (SpanId, bool),
    attributes: Vec<KeyValue>,
    scope: &InstrumentationScope,
) -> SpanData {
    SpanData {
        span_context: of.clone(),
        parent_span_id,
        parent_span_is_remote,
        span_kind: SpanKind::Internal,
        name: "".into(),
        start_time: std::time::UNIX_EPOCH,
        end_time: std::time::UNIX_EPOCH,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope.clone(),
    }
}

#[cfg(test)]
mod tests;
