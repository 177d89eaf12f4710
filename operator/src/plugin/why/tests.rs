//! Against an API server that answers as real ones do.

#![allow(clippy::unwrap_used, reason = "tests")]
use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use kube::Config;
use serde_json::{Value, json};

use super::{answer::OutcomeKind, *};
use crate::plugin::access_log::tests::{ID, line};

const SIDECAR_LOG: &str = "/api/v1/namespaces/web/pods/app-1/log";
const GATEWAY_LOG: &str = "/api/v1/namespaces/system/pods/gateway-1/log";

fn pod(namespace: &str, name: &str, container: &str, restarts: u8) -> Value {
    json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"containers": [{"name": container}]}, "status": {
        "containerStatuses": [{"name": container, "restartCount": restarts, "image": "i", "imageID": "i", "ready": true}]}})
}

fn pods(items: &[Value]) -> Response {
    axum::Json(json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items})).into_response()
}

fn refusal(code: StatusCode, message: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": "R",
        "code": code.as_u16()});
    (code, axum::Json(status)).into_response()
}

/// A cluster with one sidecar, which was started again, and one gateway, whose logs are these; and what was asked.
async fn cluster(logs: &[(&'static str, Result<String, StatusCode>)]) -> (Client, Arc<Mutex<Vec<String>>>) {
    let (logs, asked) = (logs.to_vec(), Arc::<Mutex<Vec<String>>>::default());
    let (noted, of) = (asked.clone(), |text: &str| format!("2026-11-24T10:00:00.5Z {text}\n"));
    let answer = move |request: Request| {
        let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
        noted.lock().unwrap().push(format!("{path}?{query}"));
        let found = match &*path {
            "/api/v1/namespaces/web/pods" => pods(&[pod("web", "app-1", "vectoll-sidecar", 1)]),
            "/api/v1/pods" => pods(&[pod("system", "gateway-1", "gateway", 0)]),
            _ if query.contains("previous=true") => {
                refusal(StatusCode::BAD_REQUEST, "previous terminated container not found")
            }
            path => match logs.iter().find(|(of, _)| *of == path) {
                Some((_, Ok(text))) => {
                    (of("the sidecar starts") + &text.lines().map(of).collect::<String>()).into_response()
                }
                Some((_, Err(code))) => refusal(*code, "no"),
                None => refusal(StatusCode::NOT_FOUND, "no such pod"),
            },
        };
        std::future::ready(found)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (Client::try_from(Config::new(url)).unwrap(), asked)
}

async fn searched(client: &Client) -> Answer {
    let (id, place) = (ID.parse().unwrap(), Place::Namespace("web".to_owned()));
    let mut answer = Answer::of(ID.parse().unwrap());
    let search = Search { client, place: &place, since: Duration::from_mins(15), id: &id };
    search.sidecars(&mut answer).await.unwrap();
    search.gateways(&mut answer, None).await.unwrap();
    search.explain(&mut answer, &"15m".parse().unwrap());
    answer
}

#[tokio::test]
async fn a_call_of_a_sidecar_is_found_and_no_gateway_is_asked() {
    let text = format!("it is late, call_id={ID}\n{}", line(200, ",\"backend\":\"one\""));
    let (client, asked) = cluster(&[(SIDECAR_LOG, Ok(text))]).await;
    let answer = searched(&client).await;
    assert_eq!(answer.outcome.as_ref().unwrap().word, OutcomeKind::Served);
    assert_eq!(answer.also, [format!("web/app-1: it is late, call_id={ID}")]);
    assert!(answer.notes.is_empty(), "{:?}", answer.notes);
    let asked = asked.lock().unwrap();
    assert!(asked.iter().any(|path| path.contains("previous=true")), "what was before the restart: {asked:?}");
    assert!(asked.iter().all(|path| !path.starts_with("/api/v1/pods?")), "{asked:?}");
    let read = asked.iter().find(|path| path.starts_with(SIDECAR_LOG) && !path.contains("previous")).unwrap();
    assert!(read.contains("container=vectoll-sidecar") && read.contains("sinceSeconds=900"), "{read}");
}

#[tokio::test]
async fn of_a_call_that_was_passed_on_both_lines_are_found() {
    let (passed_on, carried_out) =
        (line(429, ",\"backend\":\"_gateway\""), line(429, ",\"scope\":\"team\",\"reason\":\"tokens\""));
    let (client, _) = cluster(&[(SIDECAR_LOG, Ok(passed_on)), (GATEWAY_LOG, Ok(carried_out))]).await;
    let answer = searched(&client).await;
    assert!(answer.sidecar.is_some() && answer.gateway.is_some());
    assert!(answer.outcome.unwrap().because.unwrap().starts_with("team web/search"));
}

#[tokio::test]
async fn who_may_not_read_logs_is_told_which_right_is_missing() {
    let (client, _) = cluster(&[(SIDECAR_LOG, Err(StatusCode::FORBIDDEN)), (GATEWAY_LOG, Ok(line(200, "")))]).await;
    let answer = searched(&client).await;
    assert!(answer.is_found(), "the gateway's may be read");
    let (client, _) =
        cluster(&[(SIDECAR_LOG, Err(StatusCode::FORBIDDEN)), (GATEWAY_LOG, Err(StatusCode::FORBIDDEN))]).await;
    let answer = searched(&client).await;
    assert!(!answer.is_found());
    let notes = answer.notes.join("\n");
    assert!(notes.contains("you may not get pods/log/app-1 in namespace web"), "{notes}");
    assert!(notes.contains("the verb get on pods/log"), "{notes}");
}

#[tokio::test]
async fn a_call_that_nobody_knows_is_said_with_how_far_back_was_looked() {
    let (client, _) =
        cluster(&[(SIDECAR_LOG, Ok(String::new())), (GATEWAY_LOG, Err(StatusCode::INTERNAL_SERVER_ERROR))]).await;
    let answer = searched(&client).await;
    assert!(!answer.is_found());
    let notes = answer.notes.join("\n");
    assert!(
        notes
            .contains("no line of the last 15m is about it, in the logs of 1 sidecars in namespace web and 1 gateways"),
        "{notes}"
    );
    assert!(notes.contains("begins at 2026-11-24T10:00:00.5Z"), "{notes}");
    assert!(notes.contains("not read: system/gateway-1 (no)"), "{notes}");
}

#[test]
fn files_are_read_as_sidecars_and_collectors_write_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.log");
    let carried_out = line(200, ",\"namespace\":\"web\",\"backend\":\"one\"");
    let text = format!("\u{fffd}\n2026-11-24T10:00:00.5Z {}\n{carried_out}\n", line(200, ",\"backend\":\"_gateway\""));
    std::fs::write(&file, [text.as_bytes(), b"\xff\xfe\n"].concat()).unwrap();
    let mut answer = Answer::of(ID.parse().unwrap());
    in_file(&file, &ID.parse().unwrap(), &mut answer).unwrap();
    assert!(answer.sidecar.is_some() && answer.gateway.is_some() && answer.is_decided());
    let missing = in_file(Path::new("/nowhere"), &ID.parse().unwrap(), &mut answer).unwrap_err();
    assert!(missing.to_string().contains("--log /nowhere"), "{missing}");
}
