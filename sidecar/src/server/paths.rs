//! The paths for applications.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use percent_encoding::percent_decode_str;
use serde_json::json;

use crate::{call_id::CallId, proxy::Proxy, refusal::Refusal};

pub(super) fn router(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route("/v1/embeddings", only_post(post(embeddings)))
        .route("/embeddings", only_post(post(embeddings)))
        // A model's name may contain slashes, so the rest of the path is taken apart by hand.
        .route("/engines/{*rest}", only_post(post(embeddings_of_engine)))
        .route("/openai/deployments/{*rest}", only_post(post(embeddings_of_deployment)))
        .route("/v1/models", only_get(get(models)))
        .route("/models", only_get(get(models)))
        .route("/health/liveliness", only_get(get(alive)))
        .route("/health/liveness", only_get(get(alive)))
        .route("/health/readiness", only_get(get(ready)))
        .fallback(no_such_path)
        .with_state(proxy)
}

fn only_post(method: MethodRouter<Arc<Proxy>>) -> MethodRouter<Arc<Proxy>> {
    method.fallback(async |State(proxy): State<Arc<Proxy>>| not_allowed(&proxy, "POST"))
}

fn only_get(method: MethodRouter<Arc<Proxy>>) -> MethodRouter<Arc<Proxy>> {
    method.fallback(async |State(proxy): State<Arc<Proxy>>| not_allowed(&proxy, "GET"))
}

fn not_allowed(proxy: &Proxy, allowed: &'static str) -> Response {
    let mut response = proxy.refuse(Refusal::method_not_allowed(allowed), CallId::random());
    response.headers_mut().insert(http::header::ALLOW, http::HeaderValue::from_static(allowed));
    response
}

async fn embeddings(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    proxy.embeddings(request, None).await
}

async fn embeddings_of_engine(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    embeddings_of(proxy, request, "/engines/").await
}

async fn embeddings_of_deployment(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    embeddings_of(proxy, request, "/openai/deployments/").await
}

async fn embeddings_of(proxy: Arc<Proxy>, request: Request, before: &str) -> Response {
    let path = request.uri().path();
    let model = path
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix("/embeddings"))
        .and_then(|model| percent_decode_str(model).decode_utf8().ok())
        .filter(|model| !model.is_empty())
        .map(std::borrow::Cow::into_owned);
    match model {
        Some(model) => proxy.embeddings(request, Some(model)).await,
        None => proxy.refuse(Refusal::path_not_found(path), CallId::random()),
    }
}

async fn models(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    proxy.models(&request)
}

async fn alive() -> Response {
    Json(json!("I'm alive!")).into_response()
}

/// Ready when a config is loaded. It does not hang on providers: their trouble is no reason to stop the application.
async fn ready(State(proxy): State<Arc<Proxy>>) -> Response {
    if proxy.is_ready() {
        Json(json!({"status": "healthy"})).into_response()
    } else {
        let message = "No config is loaded, or this sidecar is about to stop".to_owned();
        proxy.refuse(Refusal::unavailable("not_ready", message), CallId::random())
    }
}

async fn no_such_path(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    proxy.refuse(Refusal::path_not_found(request.uri().path()), CallId::random())
}
