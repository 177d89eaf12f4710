//! Teams above Teams, and what is owed to one provider: limits and budgets that calls of several Teams share, over one sidecar.

#![allow(clippy::indexing_slicing, clippy::float_cmp, reason = "a test")]

use std::time::Duration;

use serde_json::{Value, json};
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, file, key_value, resource, resource_in, secret, team},
    pair::Pair,
    provider::{Options, Provider},
};

/// A token of the built-in model costs a cent.
fn cents(name: &str) -> Value {
    let backend = json!({"name": "builtin", "builtin": {}, "price": {"inputPerMillionTokens": "10000"}});
    resource("ModelRoute", name, json!({"models": [name], "backends": [backend]}))
}

fn under(parent: &str) -> Value {
    json!({"parentRef": {"name": parent}})
}

async fn edit(pair: &Pair, yaml: &str) -> anyhow::Result<()> {
    let generation = async || pair.metrics().await.map(|metrics| metrics.value("vectoll_config_generation", &[]));
    let before = generation().await?;
    pair.write_manifest("all.yaml", yaml)?;
    let applied = async || Ok((generation().await? != before).then_some(()));
    pair.wait_for("the config to be in force", Duration::from_secs(20), applied).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organisations_limits_and_budgets_hold_over_all_teams_below_it() -> anyhow::Result<()> {
    let all = |ads: &str| {
        let mut all = vec![
            cents("m"),
            cents("other"),
            team(
                "org",
                json!({"budget": {"limit": "0.05", "period": "Total"}, "models": ["m"], "maxTokensPerCall": 3,
                    "tagLimits": [{"tag": "nightly", "limits": {"requestsPerMinute": 1}}]}),
            ),
            team("division", json!({"parentRef": {"name": "org"}, "limits": {"requestsPerMinute": 4}})),
            team("search", under("division")),
            team("ads", under(ads)),
            team("elsewhere", json!({"suspended": true})),
        ];
        all.extend(api_key("s", "search", json!({})));
        all.extend(api_key("a", "ads", json!({})));
        file(all)
    };
    let pair = Pair::start(&[("all.yaml", all("division"))]).await?;
    let base = Caller::new(&pair.base_url(), "")?;
    let ask = async |key: &str, model: &str, input: &str, tags: &str| {
        let body = json!({"model": model, "input": input});
        let answer = base.with_key(&key_value(key)).post("/v1/embeddings", &body, &[("x-litellm-tags", tags)]).await?;
        anyhow::Ok((answer.status, answer.message().to_owned()))
    };
    let is = |(status, message): (u16, String), expected: u16, begin: &str| {
        assert!(status == expected && message.starts_with(begin), "{status} {message}");
    };
    // What a Team above says of models and sizes holds below.
    is(ask("s", "other", "a", "").await?, 403, "");
    is(ask("s", "m", "one two three four five", "").await?, 400, "");
    // Two of search's and two of ads', one of each with a tag that the organisation limits.
    assert_eq!(ask("s", "m", "a", "nightly").await?.0, 200);
    is(
        ask("a", "m", "a", "nightly").await?,
        429,
        "Rate limit exceeded for tag nightly of team default/org: 1 requests",
    );
    assert_eq!(ask("s", "m", "a", "").await?.0, 200);
    assert_eq!(ask("a", "m", "a", "").await?.0, 200);
    assert_eq!(ask("a", "m", "a", "").await?.0, 200);
    let limit = "Rate limit exceeded for team default/division: 4 requests per minute";
    is(ask("s", "m", "a", "").await?, 429, limit);
    // Under another Team the division's limit is not ads' any more, and the organisation's money still is.
    edit(&pair, &all("org")).await?;
    assert_eq!(ask("a", "m", "a", "").await?.0, 200, "the organisation has a cent left");
    is(ask("a", "m", "a", "").await?, 429, "Budget exceeded for team default/org: 0.05 USD (Total), 0.05 spent");
    is(ask("s", "m", "a", "").await?, 429, "Budget exceeded for team default/org");
    let metrics = pair.metrics().await?;
    let of = |family: &str, team: &str| metrics.value(family, &[("team", team)]);
    assert_eq!(of("vectoll_team_budget_remaining_usd", "default/org"), Some(0.0));
    assert_eq!(of("vectoll_team_spend_usd_total", "default/search"), Some(0.02), "each call is its own Team's");
    assert_eq!(of("vectoll_team_spend_usd_total", "default/ads"), Some(0.03));
    assert_eq!(of("vectoll_team_spend_usd_total", "default/org"), None);
    assert_eq!(metrics.value("vectoll_reservations", &[]), Some(0.0));
    // Away and back: what was spent was spent where it was booked.
    edit(&pair, &all("elsewhere")).await?;
    is(ask("a", "m", "a", "").await?, 401, "");
    edit(&pair, &all("division")).await?;
    is(ask("a", "m", "a", "").await?, 429, "Budget exceeded for team default/org: 0.05 USD (Total), 0.05 spent");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_that_does_not_hold_leaves_nobody_unlimited() -> anyhow::Result<()> {
    let all = |parent: Value, allowed: Value| {
        let mut all = vec![
            cents("m"),
            resource_in(
                "org",
                "Team",
                "top",
                json!({"allowedNamespaces": allowed, "limits": {"requestsPerMinute": 1}}),
            ),
            team("search", json!({"parentRef": parent})),
            team("plain", json!({})),
        ];
        all.extend(api_key("s", "search", json!({})));
        all.extend(api_key("p", "plain", json!({})));
        file(all)
    };
    let everyone = json!({"from": "All"});
    let top = json!({"name": "top", "namespace": "org"});
    let pair = Pair::start(&[("all.yaml", all(json!({"name": "gone"}), everyone.clone()))]).await?;
    let base = Caller::new(&pair.base_url(), "")?;
    let ask = async |key: &str| anyhow::Ok(base.with_key(&key_value(key)).embed("m", json!("a")).await?.status);
    assert_eq!((ask("s").await?, ask("p").await?), (401, 200), "a parent that is not there");
    edit(&pair, &all(top.clone(), everyone)).await?;
    assert_eq!((ask("s").await?, ask("s").await?), (200, 429), "a parent that is");
    edit(&pair, &all(top.clone(), json!({"from": "Same"}))).await?;
    assert_eq!((ask("s").await?, ask("p").await?), (401, 200), "without consent");
    edit(&pair, &all(top, json!({"from": "All"}))).await?;
    assert_eq!(ask("s").await?, 429, "and what was counted before is counted still");
    edit(&pair, &all(json!({"name": "search"}), json!({}))).await?;
    assert_eq!((ask("s").await?, ask("p").await?), (401, 200), "in a circle");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_whose_budget_is_spent_gives_way_to_the_next_one() -> anyhow::Result<()> {
    let providers =
        [Provider::start(Options::new(PROVIDER_KEY)).await?, Provider::start(Options::new(PROVIDER_KEY)).await?];
    let backend = |at: usize, budgets: Value| {
        json!({
            "name": (["first", "second"][at]),
            "model": "text-embedding-3-small",
            "priority": at,
            "openAI": {"baseURL": providers[at].url(), "apiKeySecretRef": {"name": "provider", "key": "api-key"}},
            "price": {"inputPerMillionTokens": "10000"},
            "tokens": {"encoding": "cl100k_base"},
            "budgets": budgets,
        })
    };
    let route = |name: &str, backends: Vec<Value>| {
        resource("ModelRoute", name, json!({"models": [name], "backends": backends}))
    };
    let total = |limit: &str| json!([{"limit": limit, "period": "Total"}]);
    let trial = json!([{"limit": "0.01", "period": "Total", "enforcement": "Audit"}]);
    let mut all = vec![
        secret("default", "provider", json!({"api-key": PROVIDER_KEY})),
        // Three calls of one token, and two.
        route("both", vec![backend(0, total("0.03")), backend(1, json!([{"limit": "0.02", "period": "Hourly"}]))]),
        route("for-good", vec![backend(0, total("0.01"))]),
        route("trial", vec![backend(0, trial)]),
        team("search", json!({})),
    ];
    all.extend(api_key("s", "search", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("s"))?;
    let asked = || providers.each_ref().map(|provider| provider.account().requests);
    for expected in [[1, 0], [2, 0], [3, 0], [3, 1], [3, 2]] {
        assert_eq!(caller.embed("both", json!("a")).await?.status, 200);
        assert_eq!(asked(), expected);
    }
    let refused = caller.embed("both", json!("a")).await?;
    let message = refused.message();
    assert_eq!((refused.status, refused.code()), (429, "budget_exceeded"), "{message}");
    assert!(message.starts_with("Budget exceeded for backend default/both/second: 0.02 USD (Hourly)"), "{message}");
    let told: u64 = refused.header("retry-after").unwrap_or_default().parse()?;
    assert!((1..=3_600).contains(&told), "the soonest of both: {told}");
    assert_eq!(asked(), [3, 2]);
    // Two tokens do not fit into what one token would.
    let larger = caller.embed("for-good", json!("one two")).await?;
    assert_eq!((larger.status, larger.header("retry-after")), (429, None));
    assert_eq!(caller.embed("for-good", json!("a")).await?.status, 200);
    assert_eq!(caller.embed("for-good", json!("a")).await?.status, 429);
    // On trial it is counted and told.
    assert_eq!(caller.embed("trial", json!("a")).await?.header("x-vectoll-would-reject"), None);
    let over = caller.embed("trial", json!("a")).await?;
    assert_eq!((over.status, over.header("x-vectoll-would-reject")), (200, Some("backend budget")));
    let metrics = pair.metrics().await?;
    let of = |family: &str, backend: &str| metrics.value(family, &[("backend", backend)]);
    assert_eq!(of("vectoll_backend_budget_remaining_usd", "default/both/first"), Some(0.0));
    assert_eq!(of("vectoll_backend_budget_limit_usd", "default/both/second"), Some(0.02));
    assert_eq!(metrics.value("vectoll_would_reject_total", &[("scope", "backend"), ("reason", "budget")]), Some(1.0));
    assert_eq!(metrics.value("vectoll_rejections_total", &[("scope", "backend"), ("reason", "budget")]), Some(3.0));
    Ok(())
}
