//! The paths for applications.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any, get, post},
};
use http::{Method, Uri};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::management;
use crate::{call_id::CallId, proxy::Proxy, refusal::Refusal};

/// Which endpoint a request is for, by its method and path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PathMatch {
    /// Embeddings; with the model's name where the path has it.
    Embeddings {
        /// The name.
        model: Option<String>,
    },
    /// Anything else, or nothing that there is: [`router`] knows.
    Other,
}

/// The forms of the one path that is called all the time, told without a walk through the router.
pub(super) fn match_path(method: &Method, uri: &Uri) -> PathMatch {
    if method != Method::POST {
        return PathMatch::Other;
    }
    match uri.path() {
        path if is_embeddings(path) => PathMatch::Embeddings { model: None },
        path => match model_in(path) {
            Some(model) => PathMatch::Embeddings { model: Some(model) },
            None if meant(path).is_some_and(|meant| is_embeddings(&meant)) => PathMatch::Embeddings { model: None },
            None => PathMatch::Other,
        },
    }
}

/// The last one is Azure's form without deployments.
fn is_embeddings(path: &str) -> bool {
    matches!(path, "/v1/embeddings" | "/embeddings" | "/openai/v1/embeddings")
}

/// The path that was meant, where it has slashes to spare or `/v1` twice, as of a base URL that ends in what a client adds. None: it is
/// as it should be.
fn meant(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let repeated = parts.iter().take_while(|part| **part == "v1").count().saturating_sub(1);
    let meant = format!("/{}", parts.get(repeated..).unwrap_or_default().join("/"));
    (meant != path).then_some(meant)
}

/// The model of `/engines/{model}/embeddings` and of Azure's form of it. Its name may contain slashes.
fn model_in(path: &str) -> Option<String> {
    let path = path.strip_prefix("/v1").unwrap_or(path);
    let model = path
        .strip_prefix("/engines/")
        .or_else(|| path.strip_prefix("/openai/deployments/"))?
        .strip_suffix("/embeddings")?;
    let model = percent_decode_str(model).decode_utf8().ok()?;
    (!model.is_empty()).then(|| model.into_owned())
}

/// All other requests.
pub(super) fn router(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route("/v1/embeddings", any(post_only))
        .route("/embeddings", any(post_only))
        .route("/openai/v1/embeddings", any(post_only))
        .route("/engines/{*rest}", post(no_such_path).fallback(post_only))
        .route("/v1/engines/{*rest}", post(no_such_path).fallback(post_only))
        .route("/openai/deployments/{*rest}", post(no_such_path).fallback(post_only))
        .route("/v1/openai/deployments/{*rest}", post(no_such_path).fallback(post_only))
        .route("/v1/models", only_get(get(models)))
        .route("/models", only_get(get(models)))
        .route("/openai/v1/models", only_get(get(models)))
        // Where the class AzureOpenAI of OpenAI's clients asks.
        .route("/openai/models", only_get(get(models)))
        .route("/openai/models/{*id}", only_get(get(model)))
        .route("/v1/models/{*id}", only_get(get(model)))
        .route("/models/{*id}", only_get(get(model)))
        .route("/openai/v1/models/{*id}", only_get(get(model)))
        .route("/key/info", only_get(get(key_info)))
        .route("/v1/key/info", only_get(get(key_info)))
        .route("/health/liveliness", only_get(get(alive)))
        .route("/health/liveness", only_get(get(alive)))
        .route("/health/readiness", only_get(get(ready)))
        .fallback(no_such_path)
        .with_state(proxy)
}

async fn post_only(method: Method, State(proxy): State<Arc<Proxy>>) -> Response {
    not_allowed(&proxy, &method, "POST")
}

fn only_get(routed: MethodRouter<Arc<Proxy>>) -> MethodRouter<Arc<Proxy>> {
    routed.fallback(async |method: Method, State(proxy): State<Arc<Proxy>>| not_allowed(&proxy, &method, "GET, HEAD"))
}

/// OPTIONS is told what else there is; to another origin nothing is granted by it.
fn not_allowed(proxy: &Proxy, method: &Method, allowed: &'static str) -> Response {
    let mut response = if method == Method::OPTIONS {
        http::StatusCode::NO_CONTENT.into_response()
    } else {
        proxy.refuse(Refusal::method_not_allowed(allowed), CallId::random())
    };
    response.headers_mut().insert(http::header::ALLOW, http::HeaderValue::from_static(allowed));
    response
}

async fn models(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    proxy.models(request.headers(), proxy.client(&request))
}

/// The name as it stands in the path, which may contain slashes.
async fn model(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let path = request.uri().path();
    let name = path.split_once("/models/").and_then(|(_, name)| percent_decode_str(name).decode_utf8().ok());
    match name {
        Some(name) => proxy.model(request.headers(), proxy.client(&request), &name),
        None => proxy.refuse(Refusal::path_not_found(path, None), CallId::random()),
    }
}

async fn key_info(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    proxy.key_info(request.headers(), proxy.client(&request), request.uri())
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
    let path = request.uri().path();
    let refusal = match management::here(path) {
        Some(how) => Refusal::managed_elsewhere(path, how),
        None => Refusal::path_not_found(path, meant(path).as_deref()),
    };
    proxy.refuse(refusal, CallId::random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_of_embeddings() {
        let of = |path: &str| match_path(&Method::POST, &path.parse().unwrap());
        let model = |name: &str| PathMatch::Embeddings { model: Some(name.to_owned()) };
        for path in ["/v1/embeddings", "/embeddings", "/v1/embeddings?a=b", "/openai/v1/embeddings"] {
            assert_eq!(of(path), PathMatch::Embeddings { model: None });
            assert_eq!(match_path(&Method::GET, &path.parse().unwrap()), PathMatch::Other);
        }
        assert_eq!(of("/engines/a/b/embeddings"), model("a/b"));
        assert_eq!(of("/v1/engines/a:b/embeddings"), model("a:b"));
        assert_eq!(of("/v1/openai/deployments/a%3Ab/embeddings"), model("a:b"));
        assert_eq!(of("/openai/deployments/a%2Fb/embeddings?api-version=1"), model("a/b"));
        for path in
            ["/v1/embeddings/", "/v1//embeddings", "//embeddings", "/v1/v1/embeddings", "/v1/v1/v1//embeddings/"]
        {
            assert_eq!(of(path), PathMatch::Embeddings { model: None }, "{path}");
        }
        assert_eq!(of("/openai/deployments/a//b/embeddings"), model("a//b"));
        assert_eq!(meant("/v1//models/").as_deref(), Some("/v1/models"));
        assert_eq!(meant("/v1/models"), None);
        for path in ["/", "/engines//embeddings", "/engines/embeddings", "/engines/%FF/embeddings", "/engines/a"] {
            assert_eq!(of(path), PathMatch::Other, "{path}");
        }
    }
}
