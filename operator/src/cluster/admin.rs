//! The paths for Prometheus and probes.

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};

use super::{metrics::Metrics, watch::Shared};

/// Prometheus's text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone)]
struct Seen {
    metrics: Metrics,
    shared: Shared,
}

pub(super) fn router(metrics: Metrics, shared: Shared) -> Router {
    Router::new()
        .route("/metrics", get(render))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(Seen { metrics, shared })
}

async fn render(State(seen): State<Seen>) -> Response {
    match seen.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "failed to render the metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be rendered\n").into_response()
        }
    }
}

/// Ready when everything has been listed: from then on this replica can take over.
async fn ready(State(seen): State<Seen>) -> Response {
    if seen.shared.observed().is_whole() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not everything has been listed yet\n").into_response()
    }
}
