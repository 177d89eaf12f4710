//! The paths for Prometheus and probes.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};

use crate::proxy::Proxy;

/// Prometheus's text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the other listener serves.
const OPENAPI: &str = include_str!("../../openapi.yaml");

pub(super) fn router(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/openapi.yaml", get(async || ([(header::CONTENT_TYPE, "application/yaml")], OPENAPI)))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(proxy)
}

/// Probes alone: what they say is nobody's secret.
pub(super) fn probes(proxy: Arc<Proxy>) -> Router {
    Router::new().route("/livez", get(async || "ok\n")).route("/readyz", get(ready)).with_state(proxy)
}

async fn metrics(State(proxy): State<Arc<Proxy>>) -> Response {
    // Of thousands of keys that is megabytes of text, and nobody waits for it who calls.
    let metrics = proxy.metrics.clone();
    let rendered = proxy.compute().run(0, move || metrics.render().map_err(anyhow::Error::from)).await;
    match rendered.map_err(anyhow::Error::from).flatten() {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "failed to render the metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be rendered\n").into_response()
        }
    }
}

async fn ready(State(proxy): State<Arc<Proxy>>) -> Response {
    if proxy.is_ready() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no config is loaded, or this sidecar is about to stop\n").into_response()
    }
}
