//! A collector of OpenTelemetry: OTLP over HTTP with protobuf, at `/v1/traces` and `/v1/metrics`. It checks how it is asked, and keeps what
//! it is told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value},
    metrics::v1::metric::Data,
    trace::v1::Span,
};
use prost::Message;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// A collector that runs until it is dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    told: Arc<Mutex<Told>>,
    serving: JoinHandle<()>,
}

/// What a collector was told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Spans, in the order in which they came.
    pub spans: Vec<Span>,
    /// The latest points of histograms, by name and attributes: how many values, and their sum.
    pub histograms: BTreeMap<(String, String), (u64, f64)>,
    /// Units and bounds of histograms, by name.
    pub bounds: BTreeMap<String, (String, Vec<f64>)>,
    /// Attributes of those who tell.
    pub resource: BTreeMap<String, Value>,
    /// What was wrong with requests.
    pub violations: Vec<String>,
    /// All bytes that came.
    pub bytes: Vec<u8>,
    /// What requests are answered with; none: 200.
    pub refuses: Option<StatusCode>,
}

type Shared = State<Arc<Mutex<Told>>>;

impl Collector {
    /// Starts on a free port.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// The same at an address.
    pub async fn start_at(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.context("failed to listen")?;
        let address = listener.local_addr()?;
        let told: Arc<Mutex<Told>> = Arc::default();
        let router = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/metrics", post(metrics))
            .with_state(told.clone());
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, told, serving })
    }

    /// Where it is, as settings name it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was told until now.
    pub fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers with this from now on; none: takes what comes.
    pub fn refuse(&self, with: Option<StatusCode>) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).refuses = with;
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Told {
    fn asked(&mut self, headers: &HeaderMap, body: &[u8]) -> Option<StatusCode> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind != Some("application/x-protobuf") {
            self.violations.push(format!("the content type is {kind:?}"));
        }
        if headers.get("x-collector-key").is_some_and(|key| key != "open") {
            self.violations.push("the header that the settings name has another value".to_owned());
        }
        self.bytes.extend_from_slice(body);
        self.refuses
    }

    fn resource(&mut self, of: Option<&opentelemetry_proto::tonic::resource::v1::Resource>) {
        match of {
            Some(resource) => self.resource = attributes(&resource.attributes),
            None => self.violations.push("nobody knows whose it is".to_owned()),
        }
    }
}

async fn traces(State(told): Shared, headers: HeaderMap, body: Bytes) -> StatusCode {
    take(&told, &headers, body, |told, request: ExportTraceServiceRequest| {
        for of in request.resource_spans {
            told.resource(of.resource.as_ref());
            told.spans.extend(of.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    })
}

async fn metrics(State(told): Shared, headers: HeaderMap, body: Bytes) -> StatusCode {
    take(&told, &headers, body, |told, request: ExportMetricsServiceRequest| {
        for of in request.resource_metrics {
            told.resource(of.resource.as_ref());
            for metric in of.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                let Some(Data::Histogram(histogram)) = metric.data else { continue };
                for point in histogram.data_points {
                    let of = (metric.name.clone(), json!(attributes(&point.attributes)).to_string());
                    told.bounds.insert(metric.name.clone(), (metric.unit.clone(), point.explicit_bounds));
                    told.histograms.insert(of, (point.count, point.sum.unwrap_or_default()));
                }
            }
        }
    })
}

/// Checks a request, and keeps what it says.
fn take<M: Message + Default>(
    told: &Mutex<Told>,
    headers: &HeaderMap,
    body: Bytes,
    keep: impl FnOnce(&mut Told, M),
) -> StatusCode {
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(refusal) = told.asked(headers, &body) {
        return refusal;
    }
    match M::decode(body) {
        Err(error) => told.violations.push(error.to_string()),
        Ok(request) => keep(&mut told, request),
    }
    StatusCode::OK
}

/// Attributes by name.
pub fn attributes(all: &[KeyValue]) -> BTreeMap<String, Value> {
    all.iter().map(|of| (of.key.clone(), value(of.value.as_ref().and_then(|value| value.value.as_ref())))).collect()
}

fn value(of: Option<&any_value::Value>) -> Value {
    match of {
        Some(any_value::Value::StringValue(text)) => json!(text),
        Some(any_value::Value::BoolValue(is)) => json!(is),
        Some(any_value::Value::IntValue(number)) => json!(number),
        Some(any_value::Value::DoubleValue(number)) => json!(number),
        Some(any_value::Value::ArrayValue(list)) => list.values.iter().map(|of| value(of.value.as_ref())).collect(),
        Some(_) | None => Value::Null,
    }
}
