//! What is sent to an API server, and what is made of its answers.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    http::{Method, StatusCode, Uri},
};
use jiff::Timestamp;
use kube::{Config, runtime::events::Reporter};
use serde_json::{Value, json};
use vectoll_config::{ObjectName, Uid};

use super::{event::shortened, *};
use crate::{
    cluster::{
        cluster_state::Sidecar,
        config::ConfigFiles,
        generations::Contents,
        plan::{Replaced, Transition, config_name},
        status::NewStatus,
    },
    desired_state::NamespaceConfig,
    observed_state::{Kind, ResourceRef},
};

/// What was sent: the method, the path, and the body.
type Sent = Arc<Mutex<Vec<(Method, String, Value)>>>;

/// An API server that answers as it is told, and notes what it was asked to change.
async fn server(
    sent: Sent,
    answer: impl Fn(&Method) -> (StatusCode, Value) + Clone + Send + Sync + 'static,
) -> Applier {
    let answer = move |method: Method, uri: Uri, body: String| async move {
        let (status, answer) = answer(&method);
        if method != Method::GET {
            sent.lock().unwrap().push((method, uri.path().to_owned(), serde_json::from_str(&body).unwrap()));
        }
        (status, Json(answer))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let client = Client::try_from(Config::new(url)).unwrap();
    let recorder = Recorder::new(client.clone(), Reporter { controller: "test".to_owned(), instance: None });
    Applier::new(client, recorder, StateHandle::default())
}

fn failure(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code.as_u16(),
        "message": "it is so"});
    (code, status)
}

#[tokio::test]
async fn a_status_is_not_written_over_a_newer_resource_and_what_is_newer_is_known_then() {
    let sent = Sent::default();
    // Somebody was faster.
    let hands = server(sent.clone(), |method| match *method {
        Method::GET => {
            let newer = json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "Team", "spec": {"suspended": true},
                "metadata": {"name": "team", "namespace": "apps", "uid": "t", "resourceVersion": "9"}});
            (StatusCode::OK, newer)
        }
        _ => failure(StatusCode::CONFLICT, "Conflict"),
    })
    .await;
    let name = ObjectName::new("apps", "team");
    let status = NewStatus { patch: json!({"observedGeneration": 1}), conditions: Vec::new() };
    let turn = Transition { warns: true, reason: "Invalid".to_owned(), message: String::new() };
    let of = ResourceRef { kind: Kind::Team, name: name.clone() };
    let report = Action::Report { of, uid: Uid::new("t"), version: 7, status, turns: vec![turn] };
    hands.act(report).await.unwrap();
    let expected = json!({"metadata": {"uid": "t", "resourceVersion": "7"}, "status": {"observedGeneration": 1}});
    let path = "/apis/vectoll.dev/v1alpha1/namespaces/apps/teams/team/status".to_owned();
    let once = [(Method::PATCH, path, expected)];
    assert_eq!(*sent.lock().unwrap(), once, "once, and without an event for what was not written");
    let cluster = hands.shared.cluster();
    let seen = cluster.teams.get(&name).unwrap();
    assert!(seen.version == 9 && seen.value.object.spec.suspended);
}

#[test]
fn a_note_fills_the_kilobyte_that_the_api_server_takes_and_cuts_no_character() {
    assert_eq!(shortened("x".repeat(1024)), "x".repeat(1024));
    assert_eq!(shortened("x".repeat(1025)), "x".repeat(1024));
    assert_eq!(shortened(format!("{}é", "x".repeat(1023))), "x".repeat(1023), "é has two bytes");
}

#[tokio::test]
async fn the_answer_to_a_touch_tells_that_the_pod_has_ended() {
    let hands = server(Sent::default(), |_| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Succeeded"}, "metadata": {"name": "app",
            "namespace": "apps", "uid": "p", "resourceVersion": "11", "annotations": {"vectoll.dev/config-generation": "5"},
            "labels": {"vectoll.dev/contract": "v1"}}});
        (StatusCode::OK, pod)
    })
    .await;
    let name = ObjectName::new("apps", "app");
    let running = Sidecar {
        uid: Uid::new("p"),
        created: None,
        touched: None,
        contract: "v1".to_owned(),
        image: None,
        lives: true,
        runs: true,
        up: true,
    };
    let touch = || Action::Touch { pod: name.clone(), uid: Uid::new("p"), generation: 5 };
    {
        let mut cluster = hands.shared.cluster();
        cluster.pods.put(name.clone(), 9, running.clone());
        cluster.pods.take_changed();
    }
    hands.act(touch()).await.unwrap();
    {
        let mut cluster = hands.shared.cluster();
        let seen = cluster.pods.get(&name).unwrap();
        // The watch says it of version 10, which is an older one now.
        assert!(seen.version == 11 && !seen.value.lives && !seen.value.runs, "{seen:?}");
        assert_eq!(cluster.pods.take_changed().into_iter().collect::<Vec<_>>(), std::slice::from_ref(&name));
        // A touch alone is no news.
        let ended = Sidecar { touched: None, lives: false, runs: false, up: false, ..running };
        cluster.pods.set(name.clone(), 10, ended);
        cluster.pods.take_changed();
    }
    hands.act(touch()).await.unwrap();
    assert!(hands.shared.cluster().pods.take_changed().is_empty());
}

/// A config without keys.
fn files() -> Arc<ConfigFiles> {
    let config =
        serde_json::from_value(json!({"version": "v1", "generation": 0, "namespace": "apps", "teams": [], "keys": [],
        "routes": [], "complete": true}));
    let config = NamespaceConfig { config: config.unwrap(), credentials: std::collections::BTreeMap::new() };
    let contents = Contents::of(&config).unwrap();
    Arc::new(ConfigFiles::make(config, contents, 7, None, Timestamp::UNIX_EPOCH, |_| false, |_, _| ()).unwrap())
}

fn write(replaces: Option<Replaced>) -> Action {
    Action::WriteConfig { namespace: "apps".to_owned(), files: files(), replaces }
}

fn written(version: &str) -> (StatusCode, Value) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "vectoll.dev/config", "metadata": {"name": "vectoll-sidecar",
        "namespace": "apps", "uid": "s", "resourceVersion": version}});
    (StatusCode::CREATED, secret)
}

fn methods(sent: &Sent) -> Vec<Method> {
    sent.lock().unwrap().iter().map(|(method, ..)| method.clone()).collect()
}

#[tokio::test]
async fn a_config_that_somebody_makes_meanwhile_is_not_written_over() {
    let sent = Sent::default();
    let hands = server(sent.clone(), |method| match *method {
        Method::GET => failure(StatusCode::NOT_FOUND, "NotFound"),
        _ => failure(StatusCode::CONFLICT, "AlreadyExists"),
    })
    .await;
    hands.act(write(None)).await.unwrap_err();
    assert_eq!(methods(&sent), [Method::POST], "an apply would have written over it");
}

#[tokio::test]
async fn a_config_that_has_gone_meanwhile_is_made_anew() {
    for gone in [(StatusCode::CONFLICT, "Conflict"), (StatusCode::NOT_FOUND, "NotFound")] {
        let sent = Sent::default();
        let hands = server(sent.clone(), move |method| match *method {
            Method::GET => failure(StatusCode::NOT_FOUND, "NotFound"),
            Method::PATCH => failure(gone.0, gone.1),
            _ => written("12"),
        })
        .await;
        hands.act(write(Some(Replaced { version: 3, frozen: false }))).await.unwrap();
        assert_eq!(methods(&sent), [Method::PATCH, Method::POST]);
        let (_, _, body) = sent.lock().unwrap()[1].clone();
        assert!(
            body["metadata"].get("resourceVersion").is_none() && body["data"]["config.v1.yaml"].is_string(),
            "{body}"
        );
        assert_eq!(hands.shared.cluster().configs.get(&config_name("apps")).unwrap().version, 12);
    }
}

#[tokio::test]
async fn a_config_that_somebody_has_changed_meanwhile_is_judged_anew() {
    let sent = Sent::default();
    let hands = server(sent.clone(), |method| match *method {
        Method::GET => written("9"),
        _ => failure(StatusCode::CONFLICT, "Conflict"),
    })
    .await;
    hands.act(write(Some(Replaced { version: 3, frozen: false }))).await.unwrap_err();
    assert_eq!(methods(&sent), [Method::PATCH]);
}
