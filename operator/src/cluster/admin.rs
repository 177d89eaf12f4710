//! The paths for Prometheus and probes.

use axum::{
    Router,
    extract::State,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};

use super::{
    metrics::Metrics,
    metrics_access::{self, MetricsAccess},
    watch::StateHandle,
    webhook_certificate::Shown,
};

/// Prometheus's text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone)]
struct CacheEntry {
    metrics: Metrics,
    shared: StateHandle,
    certificate: Option<Shown>,
}

pub(super) fn router(
    metrics: Metrics,
    shared: StateHandle,
    certificate: Option<Shown>,
    access: MetricsAccess,
) -> Router {
    Router::new()
        .route("/metrics", get(render).layer(from_fn_with_state(access, metrics_access::check)))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(CacheEntry { metrics, shared, certificate })
}

async fn render(State(seen): State<CacheEntry>) -> Response {
    match seen.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "failed to render the metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be rendered\n").into_response()
        }
    }
}

/// Ready when the webhook has its certificate: while it is not, no labelled pod starts. What can or cannot be listed has no part in that.
/// Without a webhook, when everything has been listed: from then on this replica can take over.
async fn ready(State(seen): State<CacheEntry>) -> Response {
    match seen.certificate {
        Some(certificate) if certificate.borrow().is_none() => {
            (StatusCode::SERVICE_UNAVAILABLE, "the webhook has no certificate yet\n").into_response()
        }
        None if !seen.shared.cluster().watches.are_synced() => {
            (StatusCode::SERVICE_UNAVAILABLE, "not everything has been listed yet\n").into_response()
        }
        Some(_) | None => "ok\n".into_response(),
    }
}
