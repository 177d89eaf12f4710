//! Strangers in other namespaces draw no one's inputs and get no one's credentials.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a test"
)]

use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, builtin, file, key_value, resource_in, route, secret, team},
    pair::Pair,
    provider::{Options, Provider},
};

#[tokio::test]
async fn a_foreign_route_with_an_exact_name_draws_no_inputs() -> anyhow::Result<()> {
    let ours = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let theirs = Provider::start(Options::new("sk-theirs-0123456789")).await?;
    let hostile = |model: &str| {
        json!({
            "models": [model],
            "allowedNamespaces": {"from": "All"},
            "backends": [{"name": "draw", "openAI": {"baseURL": theirs.url(), "apiKeySecretRef": {"name": "k"}}, "price": {"inputPerMillionTokens": "0"}}],
        })
    };
    // The Team names the namespace `shared`, and nobody names `evil`.
    let mut all = vec![team("search", json!({"routeNamespaces": ["shared"]}))];
    all.extend(route("openai", &["text-*"], &ours.url()));
    all.extend(api_key("alice", "search", json!({})));
    for namespace in ["evil", "shared"] {
        all.push(resource_in(namespace, "ModelRoute", "exact", hostile("text-embedding-3-small")));
        all.push(resource_in(namespace, "ModelRoute", "only-there", hostile("elsewhere")));
        all.push(secret(namespace, "k", json!({"key": "sk-theirs-0123456789"})));
    }
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    // The nearer namespace decides, although its name is a wildcard and the stranger's is exact.
    assert_eq!(caller.embed("text-embedding-3-small", json!("secret plans")).await?.status, 200);
    assert_eq!(theirs.account().requests, 0);
    assert_eq!(ours.account().requests, 1);
    // What only the named namespace has is served by it; what only the unnamed one has would be, too, if it were named.
    assert_eq!(caller.embed("elsewhere", json!("public")).await?.status, 200);
    assert_eq!(theirs.account().requests, 1);
    let config = std::fs::read_to_string(pair.config_dir().join("config.v1.yaml"))?;
    assert!(!config.contains("evil/"), "routes that nobody named are not delivered");
    Ok(())
}

#[tokio::test]
async fn without_consent_nothing_crosses() -> anyhow::Result<()> {
    let mut all = vec![team("search", json!({"routeNamespaces": ["private"]})), builtin("builtin", &["builtin"])];
    all.extend(api_key("alice", "search", json!({})));
    all.push(resource_in("private", "ModelRoute", "secret", json!({
        "models": ["hidden"],
        "backends": [{"name": "b", "openAI": {"baseURL": "http://127.0.0.1:9/v1", "apiKeySecretRef": {"name": "k"}}}],
    })));
    all.push(secret("private", "k", json!({"key": "sk-private-0123456789"})));
    all.push(resource_in("private", "Team", "closed", json!({})));
    // A key that names a Team of another namespace without its consent, and one that names nothing at all.
    all.extend(api_key("intruder", "search", json!({"teamRef": {"name": "closed", "namespace": "private"}})));
    all.extend(api_key("lost", "nowhere", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    assert_eq!(caller.embed("hidden", json!("a")).await?.status, 404);
    assert_eq!(caller.with_key(&key_value("intruder")).embed("builtin", json!("a")).await?.status, 401);
    assert_eq!(caller.with_key(&key_value("lost")).embed("builtin", json!("a")).await?.status, 401);
    let log = pair.operator_log();
    for words in [
        "RefNotPermitted: spec.routeNamespaces: private has no ModelRoute that allows the namespaces of this Team's keys (default)",
        "RefNotPermitted: spec.teamRef: there is no Team private/closed that allows namespace default",
        "TeamNotFound: spec.teamRef: there is no Team default/nowhere",
    ] {
        assert!(log.contains(words), "{words}\n{log}");
    }
    for entry in std::fs::read_dir(pair.config_dir())? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        assert!(!name.contains("private"), "{name} was delivered");
    }
    Ok(())
}

#[tokio::test]
async fn of_two_routes_for_one_model_one_counts_and_both_know() -> anyhow::Result<()> {
    let ours = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({})), builtin("zz-later", &["text-embedding-3-small", "other"])];
    all.extend(route("aa-first", &["text-embedding-3-small"], &ours.url()));
    all.extend(api_key("alice", "search", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let answer = caller.embed("text-embedding-3-small", json!("a")).await?;
    assert_eq!(answer.header("x-litellm-model-id"), Some("default/aa-first/test"));
    assert_eq!(caller.embed("other", json!("a")).await?.status, 200, "what is not contested is served");
    let log = pair.operator_log();
    assert!(
        log.contains("Conflicted=True ModelTaken: an older route serves text-embedding-3-small (by default/aa-first)"),
        "{log}"
    );
    Ok(())
}
