#![allow(clippy::unwrap_used, reason = "tests")]
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use http::HeaderMap;
use opentelemetry::Value;

use super::*;
use crate::{
    call_id::CallId,
    telemetry::{
        call_report::{EmbeddingOptions, Server},
        context::{TraceContext, Trust},
    },
};

/// The attributes of the conventions' span `gen_ai.client.embeddings`, and of HTTP server spans: those that must be there, and those that
/// may.
const CLIENT: ([&str; 3], [&str; 7]) = (
    ["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"],
    [
        "error.type",
        "server.port",
        "server.address",
        "gen_ai.embeddings.dimension.count",
        "gen_ai.request.encoding_formats",
        "gen_ai.response.model",
        "gen_ai.usage.input_tokens",
    ],
);
const SERVER: ([&str; 4], [&str; 3]) = (
    ["http.request.method", "url.path", "url.scheme", "http.route"],
    ["error.type", "http.response.status_code", "client.address"],
);

fn report(trace: &TraceContext) -> CallReport<'_> {
    let started = Instant::now();
    CallReport {
        trace,
        call_id: CallId::random(),
        path: "/openai/deployments/small/embeddings".into(),
        http_route: "/openai/deployments/{model}/embeddings",
        began: SystemTime::UNIX_EPOCH + Duration::from_hours(500_000),
        started,
        ended: started + Duration::from_millis(90),
        status: Some(200),
        answered: Some(Duration::from_millis(50)),
        overhead: Some(Duration::from_micros(40)),
        client: None,
        namespace: None,
        key: Some("shop/alice"),
        team: Some("shop/search"),
        user: Some("ada".into()),
        model: Some("small".into()),
        route: Some(("shop/openai", "east")),
        usage: Some("known"),
        cost: Some("0.00000016".parse().unwrap()),
        retries: 1,
        hedges: 0,
        refused: None,
        would_reject: &[("key", "requests_per_minute")],
        attempt: Some(AttemptReport {
            label: "shop/openai/east".into(),
            provider: "openai",
            server: Some(Server { address: "api.openai.com".into(), port: 443 }),
            model: Some("text-embedding-3-small".into()),
            is_named_by_callers: false,
            from: started + Duration::from_millis(10),
            until: Some(started + Duration::from_millis(40)),
            tokens: Some(8),
        }),
        options: Some(EmbeddingOptions { dimensions: Some(256), encoding_format: Some("base64") }),
    }
}

fn trace() -> TraceContext {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
    TraceContext::of(&headers, Trust::Callers, |_| false)
}

fn spans(report: &CallReport<'_>) -> Vec<SpanData> {
    of(report, "https", &InstrumentationScope::builder("test").build())
}

fn attributes(span: &SpanData) -> BTreeMap<String, Value> {
    let all: BTreeMap<String, Value> =
        span.attributes.iter().map(|of| (of.key.as_str().to_owned(), of.value.clone())).collect();
    assert_eq!(all.len(), span.attributes.len(), "each is said once: {:?}", span.attributes);
    all
}

fn millis(span: &SpanData) -> (u128, u128) {
    let since =
        |time: SystemTime| (time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()) - 1_800_000_000_000;
    (since(span.start_time), since(span.end_time))
}

#[test]
fn a_call_is_a_span_below_its_callers_and_the_asking_one_below_that() {
    let trace = trace();
    let report = report(&trace);
    let spans = spans(&report);
    let [server, client] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(
        (&*server.name, &*client.name),
        ("POST /openai/deployments/{model}/embeddings", "embeddings text-embedding-3-small")
    );
    assert_eq!((&server.span_kind, &client.span_kind), (&SpanKind::Server, &SpanKind::Client));
    assert_eq!(server.parent_span_id.to_string(), "b7ad6b7169203331");
    assert!(server.parent_span_is_remote && !client.parent_span_is_remote);
    assert_eq!(client.parent_span_id, server.span_context.span_id());
    assert_eq!((millis(server), millis(client)), ((0, 50), (10, 40)));
    for span in [server, client] {
        assert_eq!(span.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span.status, Status::Unset);
    }
    let said = attributes(client);
    for (name, value) in [
        ("gen_ai.operation.name", Value::from("embeddings")),
        ("gen_ai.provider.name", "openai".into()),
        ("gen_ai.request.model", "text-embedding-3-small".into()),
        ("gen_ai.embeddings.dimension.count", 256.into()),
        ("gen_ai.request.encoding_formats", texts(["base64".to_owned()])),
        ("gen_ai.usage.input_tokens", 8.into()),
        ("server.address", "api.openai.com".into()),
        ("server.port", 443.into()),
    ] {
        assert_eq!(said.get(name), Some(&value), "{name}");
    }
    let said = attributes(server);
    for (name, value) in [
        ("http.response.status_code", Value::from(200)),
        ("url.scheme", "https".into()),
        ("vectoll.cost_usd", "0.00000016".into()),
        ("vectoll.key", "shop/alice".into()),
        ("vectoll.retries", 1.into()),
        ("vectoll.would_reject", texts(["key requests_per_minute".to_owned()])),
    ] {
        assert_eq!(said.get(name), Some(&value), "{name}");
    }
}

#[test]
fn names_are_those_of_the_conventions_or_ours() {
    let trace = trace();
    let full = report(&trace);
    let failed = CallReport { status: Some(502), refused: Some(("provider", "bad_gateway")), ..report(&trace) };
    let left = CallReport {
        status: None,
        answered: None,
        client: Some([127, 0, 0, 1].into()),
        namespace: Some("shop"),
        ..report(&trace)
    };
    for report in [full, failed, left] {
        let spans = spans(&report);
        let [server, client] = spans.as_slice() else { panic!("{spans:?}") };
        let (server, client) = (attributes(server), attributes(client));
        assert!(SERVER.0.iter().all(|name| server.contains_key(*name)), "{server:?}");
        assert!(CLIENT.0.iter().all(|name| client.contains_key(*name)), "{client:?}");
        let known = |name: &String| SERVER.0.contains(&name.as_str()) || SERVER.1.contains(&name.as_str());
        assert!(server.keys().all(|name| known(name) || name.starts_with("vectoll.")), "{server:?}");
        let known = |name: &String| CLIENT.0.contains(&name.as_str()) || CLIENT.1.contains(&name.as_str());
        assert!(client.keys().all(known), "{client:?}");
    }
}

#[test]
fn errors_are_the_servers_own_or_those_of_the_asking() {
    let trace = trace();
    let refused =
        |status, scope, reason| CallReport { status: Some(status), refused: Some((scope, reason)), ..report(&trace) };
    for (report, server, client) in [
        (refused(429, "key", "requests_per_minute"), None, Some("requests_per_minute")),
        (refused(504, "provider", "timeout"), Some("timeout"), Some("timeout")),
        (CallReport { status: None, answered: None, ..report(&trace) }, Some("caller_left"), Some("caller_left")),
        (report(&trace), None, None),
    ] {
        let spans = spans(&report);
        for (span, error) in spans.iter().zip([server, client]) {
            let found = attributes(span).get("error.type").map(Value::to_string);
            assert_eq!(found.as_deref(), error, "{:?} {report:?}", span.span_kind);
            assert_eq!(span.status != Status::Unset, error.is_some(), "{:?} {report:?}", span.span_kind);
        }
    }
}

#[test]
fn what_is_not_known_is_not_said() {
    let trace = trace();
    let unsettled = report(&trace);
    let attempt = unsettled.attempt.clone().map(|attempt| AttemptReport { tokens: None, until: None, ..attempt });
    let options = Some(EmbeddingOptions { dimensions: None, encoding_format: None });
    let unsettled = CallReport { attempt, options, usage: Some("unsettled"), ..unsettled };
    let spans_of = spans(&unsettled);
    let said = attributes(spans_of.last().unwrap());
    for name in ["gen_ai.usage.input_tokens", "gen_ai.embeddings.dimension.count", "gen_ai.request.encoding_formats"] {
        assert!(!said.contains_key(name), "{name}");
    }
    assert_eq!(millis(spans_of.last().unwrap()).1, 90, "nobody has said when it was over");
    assert_eq!(millis(spans_of.first().unwrap()).1, 50, "the answer was there before");
    let nobody_asked = CallReport { attempt: None, ..report(&trace) };
    assert_eq!(spans(&nobody_asked).len(), 1);
}

#[test]
fn a_trace_of_ones_own_is_linked_to_the_callers() {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
    let trace = TraceContext::of(&headers, Trust::Nobody, |_| true);
    let report = report(&trace);
    let spans = spans(&report);
    let server = spans.first().unwrap();
    assert_eq!(server.links.links.first().unwrap().span_context.span_id().to_string(), "b7ad6b7169203331");
    assert_eq!(server.parent_span_id, SpanId::INVALID);
}
