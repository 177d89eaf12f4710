//! What the tests of the page look at: a small cluster, and an API server that knows two readers.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Json, Router, routing::post};
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use vectoll_config::{
    ObjectName, PicoUsd, Uid, ZoneName,
    store::{ModelAt, Series},
    v1::{Budget, Period},
};

use super::facts::{Facts, KeyValue, ResourceFacts, Source, Stated};
use crate::{
    ledger::{Account, Breakdown, LedgerSnapshot, Money, Spent, TeamLedger, Totals},
    observed_state::Object,
};

/// When it is.
pub(super) const NOW: &str = "2026-11-30T10:00:00Z";

fn resource_facts<S: serde::de::DeserializeOwned>(
    name: &str,
    uid: &str,
    spec: Value,
    reason: &str,
) -> ResourceFacts<S> {
    let name: ObjectName = name.parse().unwrap();
    let status = if reason == "Ready" { "True" } else { "False" };
    let ready = Stated {
        kind: "Ready".into(),
        status: status.into(),
        reason: reason.into(),
        message: String::new(),
        since: None,
    };
    let object = Object::new(name, Uid::new(uid), serde_json::from_value(spec).unwrap());
    ResourceFacts { object: Arc::new(object), conditions: vec![ready], spend: None }
}

/// Calls, tokens and money.
pub(super) fn totals(requests: u64, pico: u64) -> Totals {
    Totals { requests, tokens: 10 * requests, spent: PicoUsd::new(pico) }
}

fn money(spent: &str, limit: &str) -> Money {
    let zone = ZoneName::try_from("UTC".to_owned()).unwrap();
    let budget = Budget::new(limit.parse().unwrap(), Period::Monthly, zone);
    let spent = Spent { spent: spent.parse().unwrap(), held: PicoUsd::new(1), refused_at: None };
    Money { budget: Some(budget), ends: Some("2026-12-01T00:00:00Z".parse().unwrap()), spent }
}

/// Two namespaces with a Team each, a key of the first Team in a third, and a route in a fourth that the first Team uses.
pub(super) fn facts() -> Facts {
    let now: Timestamp = NOW.parse().unwrap();
    let search = TeamLedger {
        totals: BTreeMap::from([
            (Series::Team, totals(7, 1_500_000_000_001)),
            (Series::Key(Uid::new("K1")), totals(4, 1_000_000_000_000)),
            (Series::Key(Uid::new("K2")), totals(3, 500_000_000_001)),
            (Series::Unsettled, totals(1, 2)),
        ]),
        money: BTreeMap::from([
            (Account::Team, vec![money("1.5", "2.00")]),
            (Account::Key(Uid::new("K1")), vec![money("1", "10")]),
        ]),
        month: None,
    };
    let at = |provider: &str, backend: &str, model: &str| ModelAt {
        provider: provider.into(),
        backend: backend.into(),
        model: model.into(),
    };
    let breakdown = Breakdown {
        users: BTreeMap::from([("ada".to_owned(), totals(5, 7)), ("=cmd|x".to_owned(), totals(2, 8))]),
        models: BTreeMap::from([
            (at("openAI", "ml/openai/eu", "small"), totals(4, 9)),
            (at("builtin", "apps/own/one", "small"), totals(3, 6)),
        ]),
    };
    Facts {
        at: now,
        teams: vec![
            resource_facts(
                "apps/search",
                "T1",
                json!({"displayName": "Search", "limits": {"tokensPerMinute": 1000}}),
                "Ready",
            ),
            resource_facts("secret/hidden", "T2", json!({}), "ParentNotFound"),
        ],
        keys: vec![
            resource_facts("apps/one", "K1", json!({"teamRef": {"name": "search"}, "user": "ada"}), "Ready"),
            resource_facts("web/two", "K2", json!({"teamRef": {"name": "search", "namespace": "apps"}}), "Ready"),
            resource_facts("secret/three", "K3", json!({"teamRef": {"name": "hidden"}}), "TeamNotReady"),
        ],
        values: BTreeMap::from([(
            ObjectName::new("apps", "one"),
            KeyValue { secret: Some("one".into()), hint: Some("abcd".into()), next_rotation: None },
        )]),
        routes: vec![resource_facts(
            "ml/openai",
            "R1",
            json!({"models": ["small"], "backends": [{"name": "eu", "builtin": {}}]}),
            "Ready",
        )],
        owed: BTreeMap::new(),
        ledger: LedgerSnapshot {
            teams: BTreeMap::from([(Uid::new("T1"), Arc::new(search))]),
            breakdowns: BTreeMap::from([(Uid::new("T1"), Arc::new(breakdown))]),
            ..LedgerSnapshot::default()
        },
        source: Source::Read { at: now },
        sidecars: BTreeMap::from([("apps".to_owned(), 2)]),
    }
}

/// How many reviews an API server was sent.
#[derive(Clone, Default)]
pub(super) struct ReviewCount {
    /// `TokenReview`: who sends a token.
    pub(super) token: Arc<AtomicUsize>,
    /// `SubjectAccessReview`: what somebody may do.
    pub(super) access: Arc<AtomicUsize>,
}

/// An API server that knows `alice`, who may list keys and Teams in `apps`, and `admin`, who may list all.
pub(super) async fn api_server() -> (Client, ReviewCount) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let reviews = ReviewCount::default();
    let (token_reviews, access_reviews) = (reviews.token.clone(), reviews.access.clone());
    let identify = move |Json(review): Json<Value>| {
        token_reviews.fetch_add(1, Ordering::Relaxed);
        let token = review["spec"]["token"].as_str().unwrap_or_default().to_owned();
        let is_known = matches!(&*token, "alice" | "admin");
        let user = is_known.then(|| json!({"username": token, "groups": ["dev"]}));
        let status = json!({"authenticated": is_known, "user": user});
        async move { Json(merged(review, status)) }
    };
    let decide = move |Json(review): Json<Value>| {
        access_reviews.fetch_add(1, Ordering::Relaxed);
        let (user, of) = (&review["spec"]["user"], &review["spec"]["resourceAttributes"]);
        let is_ours =
            of["group"] == "vectoll.dev" && of["verb"] == "list" && review["spec"]["groups"] == json!(["dev"]);
        let of_apps = of["namespace"] == "apps" && (of["resource"] == "apikeys" || of["resource"] == "teams");
        let allowed = is_ours && (*user == "admin" || (*user == "alice" && of_apps));
        async move { Json(merged(review, json!({"allowed": allowed}))) }
    };
    let router = Router::new()
        .route("/apis/authentication.k8s.io/v1/tokenreviews", post(identify))
        .route("/apis/authorization.k8s.io/v1/subjectaccessreviews", post(decide));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap(), reviews)
}

fn merged(mut review: Value, status: Value) -> Value {
    review["status"] = status;
    review
}
