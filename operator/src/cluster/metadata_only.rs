//! A client that asks for objects without what is in them: what stands in other people's Secrets never comes here.
//!
//! Not the client library's own watcher of metadata: its type holds `managedFields`, by which whoever may write one object can make
//! all of a list unreadable ([`super::raw`]).
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-metadata-only>

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, header};
use kube::{Client, client::Body};
use tower_service::Service;

/// What a list, and what a watch, are to answer with. No full object beside it: a server that does not know this refuses.
const LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const WATCH: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// The same client, for lists and watches of metadata.
pub(super) fn metadata_only(client: &Client) -> Client {
    Client::new(MetadataOnly(client.clone()), client.default_namespace())
}

#[derive(Clone)]
struct MetadataOnly(Client);

impl Service<Request<Body>> for MetadataOnly {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, kube::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), kube::Error>> {
        // The client waits for itself.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let accept = if is_watch(&request) { WATCH } else { LIST };
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
        let client = self.0.clone();
        Box::pin(async move { client.send(request).await })
    }
}

fn is_watch(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|part| matches!(part, "watch=true" | "watch=1" | "watch"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::{Arc, Mutex};

    use axum::{Json, Router};
    use futures_util::{StreamExt, TryStreamExt};
    use http::{HeaderMap, Uri};
    use k8s_openapi::api::core::v1::Secret;
    use kube::{Api, Config, runtime::watcher};
    use serde_json::json;

    use super::*;
    use crate::cluster::raw::Raw;

    /// An API server with one Secret, which is as full as it was asked for.
    async fn serve(asked: Arc<Mutex<Vec<String>>>) -> Client {
        let answer = move |uri: Uri, headers: HeaderMap| async move {
            let accept = headers.get("accept").and_then(|accept| accept.to_str().ok()).unwrap_or_default().to_owned();
            let is_whole = !accept.contains("as=PartialObjectMetadata");
            let mut secret = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "others",
                "namespace": "apps", "resourceVersion": "7", "managedFields": [{"time": "9999-12-31T23:59:59Z"}]}});
            if is_whole {
                secret = json!({"metadata": secret["metadata"], "data": {"password": "aHVudGVyMg=="}});
            }
            asked.lock().unwrap().push(accept);
            if uri.query().unwrap_or_default().contains("watch=true") {
                return Json(json!({"type": "ADDED", "object": secret}));
            }
            let kind = if is_whole { "SecretList" } else { "PartialObjectMetadataList" };
            Json(
                json!({"apiVersion": "meta.k8s.io/v1", "kind": kind, "metadata": {"resourceVersion": "9"}, "items": [secret]}),
            )
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Client::try_from(Config::new(url)).unwrap()
    }

    #[tokio::test]
    async fn neither_list_nor_watch_asks_for_what_is_in_a_secret() {
        let asked = Arc::default();
        let client = serve(Arc::clone(&asked)).await;
        // Whole objects, to see what has come over the wire.
        let api: Api<Raw<Secret>> = Api::all(metadata_only(&client));
        let config = watcher::Config::default().fields("type!=mine");
        let events: Vec<_> = watcher(api, config).take(4).try_collect().await.unwrap();
        let objects: Vec<&Raw<Secret>> = events
            .iter()
            .filter_map(|event| match event {
                watcher::Event::InitApply(object) | watcher::Event::Apply(object) => Some(object),
                watcher::Event::Init | watcher::Event::InitDone | watcher::Event::Delete(_) => None,
            })
            .collect();
        assert_eq!(objects.len(), 2, "one listed, one watched: {events:?}");
        for object in objects {
            assert_eq!(object.metadata.name.as_deref(), Some("others"));
            assert!(object.field("data").is_none());
        }
        let asked = asked.lock().unwrap();
        assert_eq!(asked.first().map(String::as_str), Some(LIST));
        assert_eq!(asked.get(1).map(String::as_str), Some(WATCH));
    }
}
