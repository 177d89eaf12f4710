//! Windows and periods beside each other, and limits on trial.

use std::time::Duration;

use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, file, key_value, route, team},
    pair::Pair,
    provider::{Options, Provider},
};

use crate::NINE_TOKENS;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hours_days_and_several_budgets_hold_and_the_refusal_names_which() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut routes = route("openai", &["text-embedding-3-small"], &provider.url());
    // Nine tokens cost 0.09 USD.
    routes[0]["spec"]["backends"][0]["price"]["inputPerMillionTokens"] = json!("10000");
    let mut all = vec![team("search", json!({}))];
    all.extend(routes);
    all.extend(api_key("hourly", "search", json!({"limits": {"tokensPerMinute": 1000, "tokensPerHour": 20}})));
    all.extend(api_key("daily", "search", json!({"limits": {"requestsPerMinute": 10, "requestsPerDay": 2}})));
    let budgets =
        json!([{"limit": "1", "period": "Hourly"}, {"limit": "0.2", "period": "Yearly", "startsOn": "2026-04-06"}]);
    all.extend(api_key("yearly", "search", json!({"budgets": budgets})));
    all.push(team("tagged", json!({"tagLimits": [{"tag": "nightly", "limits": {"requestsPerHour": 9}, "budgets": [{"limit": "0.1", "period": "Weekly"}]}]})));
    all.extend(api_key("tagged", "tagged", json!({})));
    let of_model = json!([{"model": "text-embedding-3-*", "budgets": [{"limit": "0.1", "everyDays": 14, "startsOn": "1970-01-04"}]}]);
    all.extend(api_key("model", "search", json!({"modelLimits": of_model})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let base = Caller::new(&pair.base_url(), "")?;
    let embed =
        async |key: &str| base.with_key(&key_value(key)).embed("text-embedding-3-small", json!(NINE_TOKENS)).await;
    for (key, served, code, words) in [
        (
            "hourly",
            2,
            "rate_limit_exceeded",
            "key default/hourly: 20 tokens per hour, 18 used or reserved, this call needs 9; try again in",
        ),
        ("daily", 2, "rate_limit_exceeded", "key default/daily: 2 requests per day, 2 used; try again in"),
        (
            "yearly",
            2,
            "budget_exceeded",
            "key default/yearly: 0.20 USD (Yearly-04-06), 0.18 spent or reserved, this call costs 0.09; try again in",
        ),
        (
            "model",
            1,
            "budget_exceeded",
            "model text-embedding-3-* of key default/model: 0.10 USD (Days-14-3), 0.09 spent or reserved, this call costs 0.09; try again in",
        ),
    ] {
        for n in 0..served {
            let answer = embed(key).await?;
            assert_eq!(answer.status, 200, "{key} {n}: {}", answer.message());
        }
        let refused = embed(key).await?;
        assert_eq!((refused.status, refused.code()), (429, code), "{key}");
        assert!(refused.message().contains(words), "{}", refused.message());
        assert!(refused.header("retry-after").is_some(), "{key}");
    }
    let tagged = base.with_key(&key_value("tagged"));
    let body = json!({"model": "text-embedding-3-small", "input": NINE_TOKENS});
    let with_tag = async |tag: &str| tagged.post("/v1/embeddings", &body, &[("x-litellm-tags", tag)]).await;
    assert_eq!((with_tag("nightly").await?.status, with_tag("other").await?.status), (200, 200));
    let refused = with_tag("other,nightly").await?;
    assert_eq!((refused.status, refused.code()), (429, "budget_exceeded"));
    let words = "tag nightly of team default/tagged: 0.10 USD (Weekly), 0.09 spent";
    assert!(refused.message().contains(words), "{}", refused.message());
    let left = embed("hourly").await?;
    assert_eq!(
        left.header("x-ratelimit-limit-tokens"),
        Some("20"),
        "the hour's: less is left of it than of the minute's"
    );
    assert_eq!(left.header("x-vectoll-ratelimit-window-tokens"), Some("hour"));
    assert_eq!(left.header("x-vectoll-ratelimit-window-requests"), None);
    let metrics = pair.metrics().await?;
    for (scope, reason, times) in [
        ("key", "tokens_per_hour", 2.0),
        ("key", "requests_per_day", 1.0),
        ("key", "budget", 1.0),
        ("model", "budget", 1.0),
        ("tag", "budget", 1.0),
    ] {
        let found = metrics.value("vectoll_rejections_total", &[("scope", scope), ("reason", reason)]);
        assert_eq!(found, Some(times), "{scope} {reason}");
    }
    let key = [("team", "default/search"), ("key", "default/yearly")];
    for (period, left) in [("Hourly", 0.82), ("Yearly-04-06", 0.02)] {
        let labels = [key.as_slice(), &[("period", period)]].concat();
        let found = metrics.value("vectoll_key_budget_remaining_usd", &labels).unwrap_or_default();
        assert!((found - left).abs() < 1e-9, "{period}: {found}");
    }
    let labels = [
        ("team", "default/search"),
        ("key", "default/model"),
        ("model", "text-embedding-3-*"),
        ("period", "Days-14-3"),
    ];
    assert_eq!(metrics.value("vectoll_key_model_budget_limit_usd", &labels), Some(0.1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_limit_on_trial_would_refuse_is_served_counted_and_told() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut routes = route("openai", &["text-embedding-3-small"], &provider.url());
    routes[0]["spec"]["backends"][0]["price"]["inputPerMillionTokens"] = json!("10000");
    let mut all = vec![team("search", json!({"limits": {"requestsPerMinute": 4}}))];
    all.extend(routes);
    let audit = json!({"limits": {"requestsPerMinute": 1, "tokensPerDay": 1000, "enforcement": "Audit"},
        "budgets": [{"limit": "0.1", "period": "Monthly", "enforcement": "Audit"}, {"limit": "9", "period": "Total"}]});
    all.extend(api_key("trial", "search", audit));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("trial"))?;
    let embed = async || caller.embed("text-embedding-3-small", json!(NINE_TOKENS)).await;
    let first = embed().await?;
    assert_eq!((first.status, first.header("x-vectoll-would-reject")), (200, None));
    for _ in 0..3 {
        let beyond = embed().await?;
        assert_eq!(beyond.status, 200, "{}", beyond.message());
        assert_eq!(beyond.header("x-vectoll-would-reject"), Some("key budget, key requests"));
    }
    let enforced = embed().await?;
    assert_eq!(enforced.status, 429, "the Team's limit is not on trial");
    assert!(enforced.message().contains("team default/search: 4 requests per minute"), "{}", enforced.message());
    let metrics = pair.metrics().await?;
    for reason in ["budget", "requests"] {
        let found = metrics.value("vectoll_would_reject_total", &[("scope", "key"), ("reason", reason)]);
        assert_eq!(found, Some(3.0), "{reason}");
    }
    assert_eq!(metrics.value("vectoll_rejections_total", &[("scope", "key")]), None);
    let labels = [("key", "default/trial"), ("period", "Total")];
    let left = metrics.value("vectoll_key_budget_remaining_usd", &labels).unwrap_or_default();
    assert!((left - 8.64).abs() < 1e-9, "what was served is counted: {left}");
    let logged =
        async || Ok(pair.sidecar_log().contains(r#""would_reject":["key budget","key requests"]"#).then_some(()));
    pair.wait_for("the access log", Duration::from_secs(30), logged).await
}
