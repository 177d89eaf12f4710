//! What is written, and whom the pods hear of it by, when the API server fails.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    http::{Method, StatusCode, Uri},
};
use kube::Config;
use serde_json::Value;
use vectoll_config::{read_v1, v1, write_bundle};

use super::*;
use crate::cluster::gateway::{Bundle, Share, shards::shard_of};

/// What an API server was asked to change: the method and the path; and what it fails at.
#[derive(Default)]
struct Server {
    changed: Mutex<Vec<String>>,
    fails_at: Mutex<Option<&'static str>>,
}

impl Server {
    fn answer(&self, method: &Method, uri: &Uri, body: &str) -> (StatusCode, Value) {
        let status = |code: u16, reason: &str| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": "it is so"});
        let name =
            serde_json::from_str(body).ok().and_then(|body: Value| Some(body["metadata"]["name"].as_str()?.to_owned()));
        let at = format!("{method} {}{}", uri.path(), name.map(|name| format!("/{name}")).unwrap_or_default());
        if self.fails_at.lock().unwrap().is_some_and(|what| at.contains(what)) {
            return (StatusCode::INTERNAL_SERVER_ERROR, status(500, "InternalError"));
        }
        let of_pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gateway-1", "namespace": "system"}});
        match *method {
            Method::GET if uri.path().ends_with("/pods") => {
                (StatusCode::OK, json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [of_pod]}))
            }
            Method::GET => (StatusCode::NOT_FOUND, status(404, "NotFound")),
            _ => {
                self.changed.lock().unwrap().push(at);
                let written = serde_json::from_str(body).unwrap();
                (StatusCode::OK, if uri.path().contains("/pods/") { of_pod } else { written })
            }
        }
    }

    fn changes(&self) -> Vec<String> {
        std::mem::take(&mut *self.changed.lock().unwrap())
    }

    fn fails(&self, at: Option<&'static str>) {
        *self.fails_at.lock().unwrap() = at;
    }
}

/// A namespace of this Secret, of two.
fn namespace_in(number: usize) -> String {
    (0..1_000).map(|n| format!("team-{n}")).find(|name| shard_of(name, 2) == number).unwrap()
}

fn share(namespace: &str) -> Share {
    let yaml = format!(
        "version: v1\ngeneration: 1\nnamespace: {namespace}\nteams: []\nkeys: []\nroutes: []\ncomplete: true\n"
    );
    let config = read_v1(&yaml).unwrap();
    let content = write_bundle(&[(v1::FILE.to_owned(), yaml.into_bytes())].into());
    Share::Config(Arc::new(Bundle { config, store_files: BTreeMap::new(), is_cut: false, content }))
}

/// Two Secrets, and a namespace for each of them.
async fn writer(server: Arc<Server>) -> Writer {
    let answer = move |method: Method, uri: Uri, body: String| async move {
        let (status, answer) = server.answer(&method, &uri, &body);
        (status, Json(answer))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let client = Client::try_from(Config::new(url)).unwrap();
    let settings = Settings {
        namespace: "system".to_owned(),
        shards: 2,
        prefix: "gateway".to_owned(),
        pods: "app=gateway".to_owned(),
    };
    let wanted = Shares::default();
    for number in 0..2 {
        let namespace = namespace_in(number);
        wanted.put(&namespace, share(&namespace));
    }
    Writer::new(&client, settings, (wanted, StateHandle::default(), Tenure::endless()), &Registry::new()).unwrap()
}

#[tokio::test]
async fn one_secret_that_cannot_be_written_holds_up_no_other_and_the_pods_hear_of_it() {
    let server = Arc::new(Server::default());
    let mut writer = writer(server.clone()).await;
    server.fails(Some("POST /api/v1/namespaces/system/secrets/gateway-0"));
    assert!(writer.keep().await.is_err());
    let secret = |number: usize| format!("POST /api/v1/namespaces/system/secrets/gateway-{number}");
    let pod = "PATCH /api/v1/namespaces/system/pods/gateway-1".to_owned();
    assert_eq!(server.changes(), [secret(1), pod.clone()]);
    server.fails(None);
    writer.keep().await.unwrap();
    assert_eq!(server.changes(), [secret(0), pod]);
    writer.keep().await.unwrap();
    assert_eq!(server.changes(), Vec::<String>::new(), "and no more");
}

#[tokio::test]
async fn who_issues_tokens_is_written_though_nothing_else_can_be_and_holds_up_nothing() {
    let secret = |name: &str| format!("POST /api/v1/namespaces/system/secrets/gateway-{name}");
    let pod = "PATCH /api/v1/namespaces/system/pods/gateway-1".to_owned();
    let server = Arc::new(Server::default());
    let mut writer = writer(server.clone()).await;
    writer.wanted.put_issuer(b"one".to_vec());
    server.fails(Some("POST /api/v1/namespaces/system/secrets/gateway-issuer"));
    writer.keep().await.unwrap();
    assert_eq!(server.changes(), [secret("0"), secret("1"), pod.clone()], "what ends for a namespace ends");
    server.fails(Some("POST /api/v1/namespaces/system/secrets/gateway-0"));
    writer.wanted.put(&namespace_in(0), share(&namespace_in(1)));
    writer.keep().await.unwrap();
    assert_eq!(server.changes()[0], secret("issuer"));
    writer.wanted.put_issuer(b"two".to_vec());
    writer.keep().await.unwrap();
    let patch = "PATCH /api/v1/namespaces/system/secrets/gateway-issuer";
    assert!(server.changes().iter().any(|change| change == patch), "as the cluster's keys change");
}

#[tokio::test]
async fn pods_that_could_not_be_touched_are_touched_later() {
    for fails_at in ["GET /api/v1/namespaces/system/pods", "PATCH /api/v1/namespaces/system/pods"] {
        let server = Arc::new(Server::default());
        let mut writer = writer(server.clone()).await;
        server.fails(Some(fails_at));
        writer.keep().await.unwrap();
        assert_eq!(server.changes().len(), 2, "{fails_at}: both Secrets");
        server.fails(None);
        writer.keep().await.unwrap();
        assert_eq!(server.changes(), ["PATCH /api/v1/namespaces/system/pods/gateway-1"], "{fails_at}");
    }
}
