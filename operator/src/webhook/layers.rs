//! The layers between a connection and the answer, in their order.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{StatusCode, header};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    metrics::Metrics,
    namespaces::NamespaceAnnotations,
    review::{PodReview, Verdict},
};
use crate::inject::InjectionSettings;

/// Where pods are posted that say themselves what they want.
pub const PATH: &str = "/mutate-pods";
/// Where those are that say nothing and whose namespace's label asks for sidecars. A review does not carry the label; the API server, which
/// goes by it, knows it for certain.
pub const NAMESPACE_PATH: &str = "/mutate-pods-of-namespace";

/// The largest review that is read, in bytes. The API server takes objects of up to 3 MiB.
const LARGEST: usize = 8 * 1024 * 1024;
/// How long a review may take to arrive. An API server waits ten seconds by default, thirty at most.
const ARRIVAL: Duration = Duration::from_secs(10);
/// Reviews read at a time: together with [`LARGEST`] a bound on memory.
const MAX_CONCURRENT_READS: usize = 8;

struct Shared {
    settings: Arc<InjectionSettings>,
    namespaces: NamespaceAnnotations,
    metrics: Metrics,
    reading: Semaphore,
}

pub(super) fn router(settings: Arc<InjectionSettings>, namespaces: NamespaceAnnotations, metrics: Metrics) -> Router {
    let shared = Shared { settings, namespaces, metrics, reading: Semaphore::new(MAX_CONCURRENT_READS) };
    Router::new().route(PATH, post(of_pod)).route(NAMESPACE_PATH, post(of_namespace)).with_state(Arc::new(shared))
}

async fn of_pod(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    mutate(&shared, request, false).await
}

async fn of_namespace(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    mutate(&shared, request, true).await
}

/// `asks`: the namespace's label does.
async fn mutate(shared: &Shared, request: Request, asks: bool) -> Response {
    let Ok(read) = timeout(ARRIVAL, read(shared, request.into_body())).await else {
        return refuse(shared, StatusCode::REQUEST_TIMEOUT, "the review did not arrive in time\n".to_owned());
    };
    let body = match read {
        Ok(body) => body,
        Err(error) => {
            let message = format!("failed to read the review, of {LARGEST} bytes at most: {error}\n");
            return refuse(shared, StatusCode::PAYLOAD_TOO_LARGE, message);
        }
    };
    match PodReview::read(&body) {
        Ok(review) => {
            let annotations = shared.namespaces.of(review.namespace()).await;
            let annotations = annotations.map_err(|error| format!("{error:#}"));
            let (verdict, answer) = review.answer(&shared.settings, &annotations, asks);
            let Shared { metrics: Metrics { injected, untouched, skipped, refused, invalid }, .. } = shared;
            match verdict {
                Verdict::Injected => injected,
                Verdict::Untouched => untouched,
                Verdict::Skipped => skipped,
                Verdict::Refused => refused,
                Verdict::Invalid => invalid,
            }
            .inc();
            ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
        }
        Err(error) => refuse(shared, StatusCode::BAD_REQUEST, format!("failed to read the review: {error}\n")),
    }
}

async fn read(shared: &Shared, body: Body) -> Result<axum::body::Bytes, axum::Error> {
    // The semaphore is never closed.
    let _place = shared.reading.acquire().await;
    to_bytes(body, LARGEST).await
}

/// An answer that is no review: the API server takes it as a failure, by which a labelled pod is not let in.
fn refuse(shared: &Shared, status: StatusCode, message: String) -> Response {
    shared.metrics.invalid.inc();
    tracing::warn!(status = status.as_u16(), error = message.trim_end(), "the webhook was sent something unusable");
    (status, message).into_response()
}
