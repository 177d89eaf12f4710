//! What a key may know of itself, and where to those are sent who would manage a sidecar over HTTP.

#![allow(clippy::indexing_slicing, clippy::float_cmp, reason = "a test")]

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use vectoll_tests::{
    caller::{Answer, Caller},
    fleet::Fleet,
    manifest::{api_key, builtin, file, key_value, team},
    pair::{Pair, Setup, poll},
    store::{PASSWORD, Store},
};

async fn info(caller: &Caller, key: &str, query: &str) -> anyhow::Result<Answer> {
    caller.raw(|http, base| http.get(format!("{base}/key/info{query}")).bearer_auth(key_value(key))).await
}

fn manifests() -> String {
    let mut all = vec![
        team(
            "search",
            json!({
                "models": ["builtin", "text-*"],
                "limits": {"requestsPerMinute": 600, "tokensPerMinute": 100_000},
                "budget": {"limit": "25.00", "period": "Total"},
            }),
        ),
        builtin("builtin", &["builtin"]),
    ];
    all.extend(api_key(
        "alice",
        "search",
        json!({
            "models": ["builtin"],
            "limits": {"requestsPerMinute": 60, "tokensPerMinute": 5000, "parallelRequests": 4},
            "modelLimits": [{"model": "built*", "limits": {"tokensPerMinute": 4000}}],
            "budget": {"limit": "0.10", "period": "Monthly"},
            "expiresAt": "2099-01-01T00:00:00Z",
            "metadata": {"cost-centre": "north 4711"},
        }),
    ));
    all.extend(api_key("plain", "search", json!({})));
    all.extend(api_key("late", "search", json!({"expiresAt": "2020-01-01T00:00:00Z"})));
    file(all)
}

#[tokio::test]
async fn a_key_is_told_its_limits_and_what_it_has_spent() -> anyhow::Result<()> {
    let pair = Pair::start_with(Setup::built()?, &[("all.yaml", manifests())]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let before = info(&caller, "alice", "").await?;
    assert_eq!((before.status, before.header("content-type")), (200, Some("application/json")));
    let hash = vectoll_config::KeyHash::of(key_value("alice").as_bytes()).to_string();
    assert_eq!(before.json["key"], json!(hash));
    let found = &before.json["info"];
    for (field, value) in [
        ("key_alias", json!("default/alice")),
        ("key_name", json!("sk-...cdef")),
        ("spend", json!(0.0)),
        ("spend_scope", json!("BudgetPeriod")),
        ("max_budget", json!(0.1)),
        ("budget_duration", json!("1mo")),
        ("expires", json!("2099-01-01T00:00:00Z")),
        ("models", json!(["builtin"])),
        ("user_id", json!("alice")),
        ("tpm_limit", json!(5000)),
        ("rpm_limit", json!(60)),
        ("max_parallel_requests", json!(4)),
        ("metadata", json!({"cost-centre": "north 4711", "model_tpm_limit": {"built*": 4000}})),
        ("blocked", json!(false)),
        ("team_id", json!("default/search")),
        ("team_alias", json!("default/search")),
        ("team_max_budget", json!(25.0)),
        ("team_tpm_limit", json!(100_000)),
        ("team_rpm_limit", json!(600)),
        ("team_models", json!(["builtin", "text-*"])),
    ] {
        assert_eq!(found[field], value, "{field}: {found}");
    }
    ensure!(found["budget_reset_at"].as_str().is_some_and(|at| at.ends_with("-01T00:00:00Z")), "{found}");

    let call = caller.embed("builtin", json!("The quick brown fox")).await?;
    assert_eq!(call.status, 200);
    let cost: f64 = call.header("x-litellm-response-cost").unwrap_or_default().parse()?;
    let after = info(&caller, "alice", &format!("?key={}", key_value("alice"))).await?;
    assert_eq!(after.json["info"]["spend"].as_f64(), Some(cost), "{:?}", after.json);
    assert_eq!(after.json["info"]["team_spend"].as_f64(), Some(cost));
    assert_eq!(info(&caller, "alice", &format!("?key={hash}")).await?.status, 200);

    // Without a budget there is no period.
    let plain = info(&caller, "plain", "").await?;
    let plain = &plain.json["info"];
    for field in ["max_budget", "budget_duration", "budget_reset_at", "expires", "tpm_limit", "rpm_limit"] {
        assert_eq!(plain[field], Value::Null, "{field}: {plain}");
    }
    assert_eq!((&plain["spend_scope"], &plain["models"]), (&json!("Sidecar"), &json!([])));

    // Nobody is told of others.
    for (key, query, status, code) in [
        ("alice", format!("?key={}", key_value("plain")), 403, "key_not_allowed"),
        ("late", String::new(), 401, "expired_api_key"),
        ("nobody", String::new(), 401, "invalid_api_key"),
    ] {
        let refused = info(&caller, key, &query).await?;
        assert_eq!((refused.status, refused.code()), (status, code), "{key}{query}");
    }
    let v1 = caller.raw(|http, base| http.get(format!("{base}/v1/key/info")).bearer_auth(key_value("alice"))).await?;
    assert_eq!(v1.status, 200);
    let post = caller.post("/key/info", &json!({}), &[]).await?;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    Ok(())
}

/// What a sidecar tells is what it has heard: where it has not asked the store for a budget it knows of its own calls only.
#[tokio::test]
async fn with_a_store_a_key_is_told_what_all_sidecars_have_spent() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let folder = tempfile::tempdir()?;
    let password = folder.path().join("password");
    std::fs::write(&password, PASSWORD)?;
    let (url, password) = (store.url(), password.display().to_string());
    let arguments = ["--store-url", &*url, "--store-password-file", &*password];
    let fleet = Fleet::start(Setup::built()?, &[("all.yaml", manifests())], &arguments, 2).await?;
    let callers: Vec<Caller> =
        fleet.sidecars.iter().map(|one| Caller::new(&one.base_url(), &key_value("alice"))).collect::<Result<_, _>>()?;
    let (one, other) = (&callers[0], &callers[1]);
    let cost = async |caller: &Caller| -> anyhow::Result<f64> {
        // A sidecar that has just started may not have reached the store yet.
        let served = async || {
            Ok(Some(caller.embed("builtin", json!("The quick brown fox")).await?).filter(|call| call.status == 200))
        };
        let call = poll::until("the call to be served", Duration::from_secs(10), served).await?;
        Ok(call.header("x-litellm-response-cost").unwrap_or_default().parse()?)
    };
    let first = cost(one).await?;
    let unheard = info(other, "alice", "").await?;
    assert_eq!(unheard.json["info"]["spend_scope"], json!("Sidecar"), "{:?}", unheard.json);
    assert_eq!(unheard.json["info"]["spend"].as_f64(), Some(0.0));
    let mut own = 0.0;
    let began = Instant::now();
    loop {
        own += cost(other).await?;
        let heard = info(other, "alice", "").await?;
        assert_eq!(heard.json["info"]["spend_scope"], json!("BudgetPeriod"), "{:?}", heard.json);
        let spent = heard.json["info"]["spend"].as_f64().unwrap_or_default();
        if spent >= first + own - 1e-12 {
            break;
        }
        ensure!(began.elapsed() < Duration::from_secs(10), "{spent} of {first} and {own}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
