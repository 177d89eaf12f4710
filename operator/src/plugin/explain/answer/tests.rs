#![allow(clippy::unwrap_used, reason = "tests")]
use std::sync::Arc;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use vectoll_crds::{ApiKey, ModelRoute, Team};

use super::*;
use crate::{
    cluster::{Raw, Readable, Tracked, as_tracked},
    observed_state::SecretContent,
    plugin::explain::text::text,
};

fn of<K: Readable>(object: Value) -> Tracked<K::Spec, K::Status>
where
    Raw<K>: DeserializeOwned,
{
    as_tracked(serde_json::from_value::<Raw<K>>(object).unwrap(), None).unwrap()
}

/// What is known of some manifests, with statuses in them.
fn known_of(manifests: &str) -> KeyContext {
    let mut known = KeyContext::default();
    for (at, document) in serde_yaml::Deserializer::from_str(manifests).enumerate() {
        let mut object = Value::deserialize(document).unwrap();
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        object["metadata"]["uid"] = json!(format!("uid-{at}"));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["creationTimestamp"] = json!("2026-11-01T00:00:00Z");
        match &*kind {
            "ApiKey" => known.put_key(&of::<ApiKey>(object)),
            "Team" => known.put_team(&of::<Team>(object)),
            "ModelRoute" => known.put_route(&of::<ModelRoute>(object)),
            other => panic!("{other}"),
        }
    }
    known
}

/// A key of a Team below another one, whose routes are elsewhere.
const WORLD: &str = "
{kind: ApiKey, metadata: {name: alice, namespace: web}, spec: {teamRef: {name: search}, limits: {tokensPerMinute: 5000},
  budget: {limit: '25.00', period: Monthly}, rotation: {interval: 24h}, secretName: alice-key, userLimits: {requestsPerMinute: 3}},
 status: {observedGeneration: 1, conditions: [READY], spend: {amount: '20.00', limit: '25.00', remaining: '5.00',
  resetsAt: '2026-12-01T00:00:00Z', updatedAt: '2026-11-24T10:00:00Z'}}}
---
{kind: Team, metadata: {name: search, namespace: web}, spec: {parentRef: {name: org, namespace: top}, routeNamespaces: [models],
  models: ['text-*', builtin], modelLimits: [{model: 'text-*', requestsPerDay: 1000}, {model: other, requestsPerDay: 1}], keyDefaults: {maxWaitSeconds: 5}},
 status: {observedGeneration: 1, conditions: [READY]}}
---
{kind: Team, metadata: {name: org, namespace: top}, spec: {allowedNamespaces: {from: All}, budgets: [{limit: '100', period: Daily}, {limit: '1000', period: Yearly}],
  maxTokensPerCall: 8000},
 status: {observedGeneration: 1, conditions: [READY], spend: {amount: '1.00', limit: '100.00', remaining: '99.00', updatedAt: '2026-11-24T10:00:00Z',
  budgets: [{period: Daily, amount: '1.00', limit: '100.00', remaining: '99.00'}, {period: Yearly, amount: '400.00', limit: '1000.00', remaining: '600.00'}]}}}
---
{kind: ModelRoute, metadata: {name: openai, namespace: models}, spec: {allowedNamespaces: {from: All}, models: ['text-embedding-3-small', 'text-*'],
  backends: [{name: one, openAI: {apiKeySecretRef: {name: openai, key: api-key}}},
             {name: two, priority: 1, openAI: {}, price: {inputPerMillionTokens: '0.05'}, discountPercent: '10'}]},
 status: {observedGeneration: 1, conditions: [READY]}}
";

fn world(changes: &[(&str, &str)]) -> KeyContext {
    let mut text = WORLD.to_owned();
    for (part, other) in changes {
        assert!(text.contains(part), "{part}");
        text = text.replacen(part, other, 1);
    }
    let ready = "{type: Ready, status: 'True', reason: Ready, message: '', lastTransitionTime: '2026-11-01T00:00:00Z'}";
    known_of(&text.replace("READY", ready))
}

fn now() -> Timestamp {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

fn ask(known: &KeyContext, model: &str) -> Answer {
    answer(known, &ObjectName::new("web", "alice"), model, now())
}

fn obstacles(known: &KeyContext, model: &str) -> Vec<String> {
    let answer = ask(known, model);
    assert_eq!(answer.may, answer.obstacles.is_empty());
    answer.obstacles.into_iter().map(|of| format!("{}: {}", of.of, of.reason)).collect()
}

#[test]
fn a_key_that_may_is_told_route_price_limits_and_what_is_left() {
    let answer = ask(&world(&[]), "text-embedding-3-small");
    assert!(answer.may, "{:?}", answer.obstacles);
    insta::assert_snapshot!(text(&answer, false, now()));
    insta::assert_yaml_snapshot!(answer);
}

#[test]
fn each_obstacle_is_named_with_whose_it_is() {
    let small = "text-embedding-3-small";
    for (changes, model, expected) in [
        (&[][..], "bge-m3", &["team web/search: ModelNotAllowed", "model bge-m3: ModelNotFound"][..]),
        (
            &[("{teamRef: {name: search}, ", "{teamRef: {name: search}, models: [builtin], ")],
            small,
            &["key web/alice: ModelNotAllowed"],
        ),
        (
            &[("{teamRef: {name: search}, ", "{teamRef: {name: search}, suspended: true, ")],
            small,
            &["key web/alice: Suspended"],
        ),
        (
            &[(
                "{allowedNamespaces: {from: All}, budgets",
                "{allowedNamespaces: {from: All}, suspended: true, budgets",
            )],
            small,
            &["team top/org: Suspended"],
        ),
        (&[("secretName: alice-key", "expiresAt: '2026-11-24T09:00:00Z'")], small, &["key web/alice: Expired"]),
        (&[("{teamRef: {name: search}", "{teamRef: {name: gone}")], small, &["key web/alice: TeamNotFound"]),
        (&[("{allowedNamespaces: {from: All}, budgets", "{budgets")], small, &["key web/alice: TeamNotAccepted"]),
        (&[("budget: {limit: '25.00'", "budget: {limit: 'much'")], small, &["key web/alice: Invalid"]),
        (
            &[("routeNamespaces: [models]", "routeNamespaces: []")],
            small,
            &["model text-embedding-3-small: ModelNotFound"],
        ),
        (
            &[("{allowedNamespaces: {from: All}, models", "{models")],
            small,
            &["model text-embedding-3-small: ModelNotFound"],
        ),
        (&[], "text-other", &["route models/openai: PriceUnknown"]),
    ] {
        assert_eq!(obstacles(&world(changes), model), expected, "{changes:?} {model}");
    }
}

#[test]
fn what_only_the_operator_knows_comes_from_statuses() {
    let told = |condition: &str, model: &str| {
        let condition = format!(
            "conditions: [{{{condition}, message: 'as it is', lastTransitionTime: '2026-11-01T00:00:00Z'}}, READY], spend: {{amount: '20"
        );
        obstacles(&world(&[("conditions: [READY], spend: {amount: '20", &condition)]), model)
    };
    let small = "text-embedding-3-small";
    assert_eq!(
        told("type: BudgetExceeded, status: 'True', reason: CallsRefused", small),
        ["key web/alice: CallsRefused"]
    );
    assert_eq!(
        told("type: ResolvedRefs, status: 'False', reason: SecretNotFound", small),
        ["key web/alice: SecretNotFound"]
    );
    assert!(told("type: Programmed, status: 'False', reason: Pending", small).is_empty());
    let behind = ask(&world(&[("status: {observedGeneration: 1", "status: {observedGeneration: 0")]), small);
    assert!(behind.may && behind.remarks.iter().any(|of| of.reason == "Pending"), "{:?}", behind.remarks);
}

#[test]
fn the_nearest_namespace_wins_and_in_it_the_most_specific_name() {
    let near = "---
{kind: ModelRoute, metadata: {name: near, namespace: web}, spec: {models: ['text-*'], backends: [{name: own, builtin: {}}]}}
---
{kind: ModelRoute, metadata: {name: all, namespace: web}, spec: {models: ['*'], backends: [{name: own, builtin: {}}]}}
";
    let mut known = world(&[]);
    let more = known_of(near);
    known.observed.routes.extend(more.observed.routes);
    known.routes.extend(more.routes);
    let answer = ask(&known, "text-embedding-3-small");
    let route = answer.route.unwrap();
    assert_eq!((route.name.to_string(), route.pattern.to_string()), ("web/near".to_owned(), "text-*".to_owned()));
    let free: Vec<_> = route.backends.iter().map(|backend| (backend.provider, backend.price_from)).collect();
    assert_eq!(free, [("builtin", "nothing is charged")]);
}

#[test]
fn prices_are_those_that_sidecars_have_been_told() {
    let mut known = world(&[]);
    // The operator has the Secret, which people have not.
    let secret = json!({"metadata": {"name": "openai"}, "stringData": {"api-key": "a-credential"}});
    let secret = SecretContent::of(serde_json::from_value(secret).unwrap());
    let mut observed = known.observed.clone();
    observed.secrets.insert(ObjectName::new("models", "openai"), Arc::new(secret));
    let mut config = desired_state(&observed, now()).config(&observed, "web", Credentials::Withhold, None).config;
    let prices = |known: &KeyContext| -> Vec<(Option<String>, &'static str)> {
        let route = ask(known, "text-embedding-3-small").route.unwrap();
        route.backends.into_iter().map(|of| (of.price_per_million_tokens, of.price_from)).collect()
    };
    assert_eq!(prices(&known).first().unwrap().1, "list");
    for backend in config.routes.iter_mut().flat_map(|route| &mut route.backends) {
        backend.price_per_million_tokens = "0.5".parse().ok();
    }
    known.in_force = Some(config.clone());
    assert_eq!(prices(&known), [(Some("0.50".to_owned()), "in force"), (Some("0.50".to_owned()), "spec")]);
    // What the gateway carries out is not told here.
    config.routes.iter_mut().for_each(|route| route.backends.clear());
    known.in_force = Some(config);
    assert_eq!(prices(&known).first().unwrap().1, "list");
}

#[test]
fn the_last_refusal_is_a_line_of_its_own() {
    let mut answer = ask(&world(&[]), "text-embedding-3-small");
    let mut line = |last| {
        answer.last_refusal = Some(last);
        text(&answer, false, now()).lines().last().unwrap_or_default().to_owned()
    };
    let found = LastRefusal::Found {
        at: "2026-11-24T09:56:00Z".parse().unwrap(),
        call_id: "an-id".to_owned(),
        status: 429,
        model: Some("builtin".to_owned()),
        because: "key web/alice: budget".to_owned(),
    };
    assert_eq!(
        line(found),
        "the last call that was refused: 4m ago to builtin (429), key web/alice: budget (call an-id)"
    );
    assert_eq!(line(LastRefusal::None { logs: 3 }), "no call of the key was refused lately, in the logs of 3 sidecars");
    let unknown = LastRefusal::Unknown { because: "you may not get pods/log".to_owned() };
    assert!(line(unknown).ends_with("is not known: you may not get pods/log"));
}
