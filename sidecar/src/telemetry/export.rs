//! To the collector, by OTLP over HTTP. The SDK's own threads gather and encode; their requests are made in this program's runtime, by its
//! own client. Whether a collector takes what it is sent is a metric, and is logged when it changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    metrics::SdkMeterProvider,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanProcessor},
};
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::runtime::Handle;

use super::{
    context::Trust,
    names::Conventions,
    span_budget::{BudgetReleasing, MAX_WAITING_SPANS, SpanBudget},
};
use crate::call_id::CallId;

/// How long a collector may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is told to whom.
#[derive(Debug)]
pub struct Exporting {
    /// The collector's root, as in `http://collector:4318`: `/v1/traces` and `/v1/metrics` stand behind it.
    pub endpoint: url::Url,
    /// The portion of calls that are told of which their callers have not decided, from 0 to 1.
    pub sampling: f64,
    /// The metrics' names.
    pub conventions: Conventions,
    /// The name of this program's kind, where `OTEL_SERVICE_NAME` names none.
    pub service: &'static str,
    /// The pod's name; empty outside a cluster.
    pub pod: String,
    /// What callers speak.
    pub scheme: &'static str,
    /// Whether callers' traces are gone on with.
    pub trust: Trust,
    /// What requests are made with.
    pub client: reqwest::Client,
}

impl Exporting {
    /// Starts the threads.
    pub(super) fn start(
        self,
        budget: SpanBudget,
        registry: &Registry,
    ) -> anyhow::Result<(BatchSpanProcessor, SdkMeterProvider)> {
        let help = "Requests to the OpenTelemetry collector, by signal and result.";
        let exports = IntCounterVec::new(Opts::new("vectoll_otlp_exports_total", help), &["signal", "result"])?;
        registry.register(Box::new(exports.clone()))?;
        let resource = self.resource();
        let base = self.endpoint.as_str().trim_end_matches('/');
        let asking = |signal| Asking {
            signal,
            client: self.client.clone(),
            runtime: Handle::current(),
            exports: exports.clone(),
            fails: Arc::default(),
        };
        let spans = SpanExporter::builder()
            .with_http()
            .with_http_client(asking("traces"))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(TIMEOUT)
            .with_endpoint(format!("{base}/v1/traces"))
            .build()?;
        // The budget is what bounds it: there is place for all that are within it.
        let queue = BatchConfigBuilder::default().with_max_queue_size(2 * MAX_WAITING_SPANS).build();
        let spans = BudgetReleasing { exporter: spans, budget };
        let mut spans = BatchSpanProcessor::builder(spans).with_batch_config(queue).build();
        spans.set_resource(&resource);
        let metrics = MetricExporter::builder()
            .with_http()
            .with_http_client(asking("metrics"))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(TIMEOUT)
            .with_endpoint(format!("{base}/v1/metrics"))
            .build()?;
        let meters = SdkMeterProvider::builder().with_resource(resource).with_periodic_exporter(metrics).build();
        Ok((spans, meters))
    }

    /// Whose spans and measures these are: what the environment says counts before what is known here.
    fn resource(&self) -> Resource {
        // Measures of several sidecars are told apart by their instances.
        let instance = CallId::random().to_string();
        let mut known = vec![
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance),
        ];
        if !self.pod.is_empty() {
            known.push(KeyValue::new("k8s.pod.name", self.pod.clone()));
        }
        let all = Resource::builder_empty()
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_service_name(self.service)
            .with_attributes(known)
            .with_detector(Box::new(EnvResourceDetector::new()));
        match std::env::var("OTEL_SERVICE_NAME") {
            Ok(name) if !name.is_empty() => all.with_service_name(name).build(),
            Ok(_) | Err(_) => all.build(),
        }
    }
}

/// Asks the collector.
#[derive(Clone, Debug)]
struct Asking {
    signal: &'static str,
    client: reqwest::Client,
    runtime: Handle,
    exports: IntCounterVec,
    fails: Arc<AtomicBool>,
}

impl Asking {
    /// Notes how a request went.
    fn note(&self, failure: Option<String>) {
        let result = if failure.is_some() { "error" } else { "success" };
        self.exports.with_label_values(&[self.signal, result]).inc();
        let failed = self.fails.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(error) if !failed => {
                tracing::warn!(
                    signal = self.signal,
                    error,
                    "the OpenTelemetry collector does not take what it is sent"
                );
            }
            None if failed => tracing::info!(signal = self.signal, "the OpenTelemetry collector takes what it is sent"),
            Some(_) | None => {}
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Asking {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        // The SDK's threads have no runtime.
        let asked = self.runtime.spawn(async move {
            let asking = HttpClient::send_bytes(&client, request);
            tokio::time::timeout(TIMEOUT, asking).await.map_err(|_| format!("no answer in {TIMEOUT:?}"))?
        });
        let answered = match asked.await {
            Ok(answered) => answered,
            Err(error) => Err(HttpError::from(error)),
        };
        self.note(match &answered {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answered {}", response.status())),
            Err(error) => Some(with_causes(&**error)),
        });
        answered
    }
}

/// An error and what it came of.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
