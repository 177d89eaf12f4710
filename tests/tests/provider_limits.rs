//! What a provider lets itself be asked for is held by all sidecars together: calls go elsewhere before it refuses them.

#![allow(clippy::print_stdout, reason = "a test")]

use anyhow::ensure;
use serde_json::{Value, json};
use vectoll_config::{
    Uid,
    store::{Library, SIDECAR_COMMANDS, backend_account, namespace_prefix, team_prefix},
};
use vectoll_tests::{
    caller::Caller,
    fleet::Fleet,
    manifest::{PROVIDER_KEY, api_key, file, key_value, resource, secret, team},
    pair::Setup,
    provider::{Options, Provider},
    store::Store,
};

const NINE_TOKENS: &str = "The quick brown fox jumps over the lazy dog";
const GOOD: &str = "text-embedding-3-small";
const SIDECARS: usize = 4;
const TEAM: &str = "00000000-0000-4000-8000-000000000001";

/// A route whose first backend has limits, and whose second one has none.
fn limited(name: &str, providers: [&Provider; 2], model: &str, limits: &Value) -> Value {
    let [first, second] = providers;
    let backend = |name: &str, provider: &Provider, model: &str, priority: u32| {
        json!({
            "name": name,
            "model": model,
            "space": "one",
            "priority": priority,
            "openAI": {"baseURL": provider.url(), "apiKeySecretRef": {"name": "provider", "key": "api-key"}},
            "price": {"inputPerMillionTokens": "0.02"},
            "tokens": {"encoding": "cl100k_base"},
            "batch": {"maxItems": 2},
        })
    };
    let mut one = backend("first", first, model, 0);
    if let Some(one) = one.as_object_mut() {
        one.insert("limits".to_owned(), limits.clone());
    }
    resource("ModelRoute", name, json!({"models": [name], "backends": [one, backend("second", second, GOOD, 1)]}))
}

/// A user of the store that may count for the Team and for some backends, as the operator makes it in a cluster.
async fn user(store: &Store, backends: &[&str]) -> anyhow::Result<()> {
    let mut admin = store.admin().await?;
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER").arg("sidecar").arg("on").arg(">pw").arg("-@all").arg(SIDECAR_COMMANDS);
    let team = Uid::new(TEAM);
    let accounts = backends.iter().map(|backend| backend_account(None, backend)).chain([team]);
    for prefix in accounts.map(|account| team_prefix(&account)).chain([namespace_prefix(None, "default")]) {
        user.arg(format!("~{prefix}*"));
    }
    user.query_async::<()>(&mut admin).await?;
    store.load_functions(Library::current().code()).await?;
    Ok(())
}

/// So many calls at every sidecar at once, all of which are to be served.
async fn burst(fleet: &Fleet, model: &str, each: usize, input: Value) -> anyhow::Result<()> {
    let mut calls = tokio::task::JoinSet::new();
    for sidecar in &fleet.sidecars {
        let caller = Caller::new(&sidecar.base_url(), &key_value("alice"))?;
        for _ in 0..each {
            let (caller, model, input) = (caller.clone(), model.to_owned(), input.clone());
            calls.spawn(async move { caller.embed(&model, input).await });
        }
    }
    for answer in calls.join_all().await {
        let answer = answer?;
        ensure!(answer.status == 200, "{model}: {} {}", answer.status, answer.message());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sidecars_together_stay_within_what_a_provider_allows() -> anyhow::Result<()> {
    let mut store = Store::start().await?;
    let (first, second) =
        (Provider::start(Options::new(PROVIDER_KEY)).await?, Provider::start(Options::new(PROVIDER_KEY)).await?);
    let both = [&first, &second];
    user(
        &store,
        &["requests", "tokens", "slots", "parts"]
            .map(|route| format!("default/{route}/first"))
            .each_ref()
            .map(|it| &**it),
    )
    .await?;
    let folder = tempfile::tempdir()?;
    let password = folder.path().join("password");
    std::fs::write(&password, "pw")?;
    let (url, password) = (store.url(), password.display().to_string());
    let arguments = ["--store-url", &url, "--store-username", "sidecar", "--store-password-file", &password];
    let mut of_team = team("search", json!({}));
    if let Some(metadata) = of_team.get_mut("metadata") {
        *metadata = json!({"name": "search", "namespace": "default", "uid": TEAM});
    }
    let mut all = vec![of_team, secret("default", "provider", json!({"api-key": PROVIDER_KEY}))];
    all.extend(api_key("alice", "search", json!({})));
    all.push(limited("requests", both, GOOD, &json!({"requestsPerMinute": 20})));
    all.push(limited("tokens", both, GOOD, &json!({"tokensPerMinute": 90})));
    all.push(limited("slots", both, "fault-slow-3000", &json!({"parallelRequests": 4})));
    all.push(limited("parts", both, GOOD, &json!({"requestsPerMinute": 9})));
    all.push(limited("forbidden", both, GOOD, &json!({"requestsPerMinute": 8})));
    let fleet = Fleet::start(Setup::built()?, &[("all.yaml", file(all))], &arguments, SIDECARS).await?;

    let mut asked = 0;
    for (route, each, input, allowed) in [
        ("requests", 15, json!(NINE_TOKENS), 20),
        ("tokens", 10, json!(NINE_TOKENS), 10),
        ("slots", 5, json!(NINE_TOKENS), 4),
        // Three requests each.
        ("parts", 3, json!([NINE_TOKENS, NINE_TOKENS, "a", "b", "c"]), 9),
    ] {
        // Twice: what the first ones used is gone for the others.
        burst(&fleet, route, each, input.clone()).await?;
        burst(&fleet, route, each, input).await?;
        let now = first.account().requests - asked;
        asked += now;
        // Those at the same time are counted, and not those before.
        let allowed = if route == "slots" { 2 * allowed } else { allowed };
        println!("figure: {route}: {now} of {allowed} requests that the provider allows");
        assert!(now <= allowed, "{route}: {now} requests");
        // What one sidecar holds and does not need is no other one's for a moment.
        assert!(2 * now >= allowed, "{route}: {now} requests");
    }
    let refused = first.account().behaviours.get("fault-429").copied().unwrap_or_default();
    assert_eq!(refused, 0);
    // Who may not count them together, or cannot for a while, has shares, and goes on.
    burst(&fleet, "forbidden", 5, json!(NINE_TOKENS)).await?;
    store.kill().await?;
    let before = first.account().requests;
    // More than the share of each, which is 22: not for want of a store does it go through.
    burst(&fleet, "tokens", 3, json!([NINE_TOKENS, NINE_TOKENS, NINE_TOKENS])).await?;
    assert_eq!(first.account().requests, before);
    for route in ["requests", "tokens", "forbidden"] {
        burst(&fleet, route, 3, json!(NINE_TOKENS)).await?;
    }
    assert!(fleet.sum("vectoll_reservations").await?.abs() < 0.5);
    assert_eq!((first.account().violations, second.account().violations), (Vec::new(), Vec::new()));
    Ok(())
}
