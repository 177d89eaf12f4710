#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use reqwest::Client;
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch};

use super::*;
use crate::page::{
    listener::serve,
    sample::{api_server, facts},
};

/// The page on a free port, and how to stop it.
async fn started(access: Access) -> (String, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(serve(listener, router(Page { gather: Arc::new(facts), access, history: Vec::new() }), stopped));
    (url, stop)
}

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// Status and body of a path, asked for with this token.
async fn get(url: &str, path: &str, token: Option<&str>) -> (u16, Value) {
    let mut request = client().get(format!("{url}{path}"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn every_answer_has_the_headers_that_hold_the_page_together() {
    let (url, _stop) = started(Access::Loopback).await;
    for (path, status) in [
        ("/page/", 200),
        ("/page/page.js", 200),
        ("/page/page.css", 200),
        ("/page/api/about", 200),
        ("/page/api/keys", 200),
        ("/page/api/keys/rows.csv", 200),
        ("/page/api/keys?sort=x", 400),
        ("/page/api/secrets", 404),
        ("/page/../etc/passwd", 404),
        ("/", 303),
    ] {
        let answer = client().get(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let header =
            |name: &str| answer.headers().get(name).unwrap_or_else(|| panic!("{path}: {name}")).to_str().unwrap();
        let policy = header("content-security-policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe-inline"));
        assert_eq!((header("cache-control"), header("x-content-type-options")), ("no-store", "nosniff"), "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer");
    }
    let answer = client().post(format!("{url}/page/api/keys")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 405, "nothing can be changed here");
}

#[tokio::test]
async fn without_tokens_only_this_machine_is_answered() {
    let (url, _stop) = started(Access::Loopback).await;
    let answer = client().get(format!("{url}/page/api/keys")).header("host", "evil.example").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 421, "a name that was made to point here");
    assert_eq!(get(&url, "/page/api/keys", None).await.1["total"], 3);
}

#[tokio::test]
async fn one_sees_what_one_may_list_and_nobody_sees_anything_without_a_token() {
    let (url, _stop) = started(Access::Reviewed(Readers::new(api_server().await.0))).await;
    // The page itself says nothing of anyone.
    assert_eq!(get(&url, "/page/", None).await.0, 200);
    for path in
        ["/page/api/about", "/page/api/keys", "/page/api/keys/rows.csv", "/page/api/teams/detail?id=apps/search"]
    {
        for token in [None, Some("mallory")] {
            let (status, body) = get(&url, path, token).await;
            assert_eq!(status, 401, "{path}");
            assert!(!body.to_string().contains("apps"), "{path}: {body}");
        }
    }
    let ids = |body: &Value| -> Vec<String> {
        body["rows"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&get(&url, "/page/api/keys", Some("alice")).await.1), ["apps/one"]);
    assert_eq!(ids(&get(&url, "/page/api/routes", Some("alice")).await.1), Vec::<String>::new());
    assert_eq!(ids(&get(&url, "/page/api/keys", Some("admin")).await.1), ["apps/one", "secret/three", "web/two"]);
    for path in ["detail", "months"] {
        for (id, token, status) in [
            ("secret/three", "alice", 404),
            ("secret/nothing", "alice", 404),
            ("apps/one", "alice", 200),
            ("secret/three", "admin", 200),
        ] {
            let (found, body) = get(&url, &format!("/page/api/keys/{path}?id={id}"), Some(token)).await;
            assert_eq!(found, status, "{path} {id} {token}: {body}");
        }
    }
    let (_, about) = get(&url, "/page/api/about", Some("alice")).await;
    assert_eq!((&about["reader"], &about["sees"]["keys"]), (&json!("alice"), &json!(["apps"])));
    // What is not there and what may not be seen are told in the same words.
    let there = get(&url, "/page/api/keys/detail?id=secret/three", Some("alice")).await;
    assert_eq!(there, get(&url, "/page/api/keys/detail?id=secret/nothing", Some("alice")).await);
}

#[tokio::test]
async fn a_file_has_the_rows_of_the_search_and_no_formula() {
    let (url, _stop) = started(Access::Reviewed(Readers::new(api_server().await.0))).await;
    let (status, file) = get(&url, "/page/api/users/rows.csv?sort=requests&order=desc", Some("alice")).await;
    assert_eq!(status, 200);
    let file = file.as_str().unwrap().to_owned();
    assert!(file.contains("apps,apps/search,ada,5,50,0.000000000007\r\n"), "{file}");
    assert!(file.contains("\"'=cmd|x\""), "{file}");
    let (_, keys) = get(&url, "/page/api/keys/rows.csv", Some("alice")).await;
    assert_eq!(keys.as_str().unwrap().lines().count(), 2, "titles, and the one key that may be seen");
}

#[tokio::test]
async fn the_page_stops_when_it_is_asked_to() {
    let (url, stop) = started(Access::Loopback).await;
    assert_eq!(get(&url, "/page/", None).await.0, 200);
    stop.send_replace(true);
    let deadline = Instant::now() + Duration::from_secs(5);
    while client().get(format!("{url}/page/")).send().await.is_ok() {
        assert!(Instant::now() < deadline, "it still answers");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// 10,000 keys: a sort by the server is a fraction of the 300 ms that the browser has for it.
#[test]
fn ten_thousand_keys_are_sorted_and_searched_in_moments() {
    let mut facts = facts();
    let one = facts.keys[0].clone();
    facts.keys = (0..10_000)
        .map(|n| {
            let name = vectoll_config::ObjectName::new("apps", &format!("key-{n:05}"));
            let object = crate::observed_state::Object { name, ..(*one.object).clone() };
            crate::page::facts::ResourceFacts { object: Arc::new(object), ..one.clone() }
        })
        .collect();
    let view = View::of(facts);
    let query = Query::read(Table::Keys, "q=key+ada&sort=spent&order=desc&page=7").unwrap();
    let began = Instant::now();
    let found = answer::table(&view, Table::Keys, &query, &Grants::everything());
    let took = began.elapsed();
    assert_eq!((&found["total"], found["rows"].as_array().unwrap().len()), (&json!(10_000), 50));
    // With room for a build without optimisations on a busy machine.
    assert!(took < Duration::from_secs(2), "{took:?}");
}
