//! Budgets: no pico-USD more, and what moves them: prices, money on top, resets.

use std::time::Duration;

use serde_json::{Value, json};
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, file, key_value, route, team},
    pair::Pair,
    provider::{Options, Provider},
};

use crate::NINE_TOKENS;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_never_passed_by_a_pico_usd() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["text-embedding-3-small"], &provider.url()));
    // 100 calls of 9 tokens at 0.02 USD a million, and 5 tokens that no call fits into.
    let budget = json!({"budget": {"limit": "0.0000181", "period": "Daily", "timeZone": "Asia/Kathmandu"}});
    all.extend(api_key("alice", "search", budget));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let calls = (0..64).map(|_| {
        let caller = caller.clone();
        tokio::spawn(async move {
            let mut refused = None;
            for _ in 0..8 {
                let answer = caller.embed("text-embedding-3-small", json!(NINE_TOKENS)).await?;
                if answer.status == 429 {
                    refused = Some(answer);
                } else {
                    anyhow::ensure!(answer.status == 200, "{:?}", answer.json);
                }
            }
            Ok(refused)
        })
    });
    let mut refused = None;
    for call in calls.collect::<Vec<_>>() {
        refused = call.await??.or(refused);
    }
    // While many run, their reservations keep some of the money from each other. One at a time gets the rest.
    while refused.is_none() || provider.account().charged_tokens < 900 {
        let answer = caller.embed("text-embedding-3-small", json!(NINE_TOKENS)).await?;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let account = provider.account();
    assert_eq!(account.charged_tokens, 900, "as many calls as fit, and not one more");
    let refused = refused.ok_or_else(|| anyhow::anyhow!("no call was refused"))?;
    assert_eq!(refused.json["error"]["type"], "budget_exceeded");
    assert_eq!(refused.code(), "budget_exceeded");
    assert!(
        refused.message().starts_with("Budget exceeded for key default/alice: 0.0000181 USD (Daily)"),
        "{}",
        refused.message()
    );
    let wait: u64 = refused.header("retry-after").unwrap_or_default().parse()?;
    let zone = jiff::tz::TimeZone::get("Asia/Kathmandu")?;
    let now = jiff::Timestamp::now().to_zoned(zone);
    let until_midnight = now.until(&now.tomorrow()?.start_of_day()?)?.total(jiff::Unit::Second)?;
    assert!((wait as f64 - until_midnight).abs() <= 30.0, "{wait} s, midnight there is in {until_midnight} s");
    let metrics = pair.metrics().await?;
    let left = metrics.value("vectoll_key_budget_remaining_usd", &[("key", "default/alice")]);
    assert_eq!(left, Some(0.000_000_1), "the rest that no call fits into");
    assert_eq!(metrics.value("vectoll_reservations", &[]), Some(0.0));
    Ok(())
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_under_a_budget_and_counted_without_one() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut routes = route("openai", &["unheard-of", "text-embedding-3-large"], &provider.url());
    if let Some(backend) = routes[0].pointer_mut("/spec/backends/0").and_then(Value::as_object_mut) {
        backend.remove("price");
        backend.remove("tokens");
    }
    let mut all = vec![team("search", json!({}))];
    all.extend(routes);
    all.extend(api_key("rich", "search", json!({"budget": {"limit": "1", "period": "Monthly"}})));
    all.extend(api_key("free", "search", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let rich = Caller::new(&pair.base_url(), &key_value("rich"))?;
    let refused = rich.embed("unheard-of", json!("a")).await?;
    assert_eq!((refused.status, refused.code()), (400, "model_unpriced"));
    let listed = rich.embed("text-embedding-3-large", json!(NINE_TOKENS)).await?;
    assert_eq!((listed.status, listed.header("x-litellm-response-cost")), (200, Some("0.00000117")), "the list price");
    let free = rich.with_key(&key_value("free")).embed("unheard-of", json!(NINE_TOKENS)).await?;
    assert_eq!((free.status, free.header("x-litellm-response-cost")), (200, None));
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.value("vectoll_unpriced_tokens_total", &[("model", "unheard-of")]), Some(9.0));
    assert!(pair.operator_log().contains("PriceUnknown"), "the operator says so, too");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_on_top_for_a_while_is_there_for_a_while() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut routes = route("openai", &["text-embedding-3-small"], &provider.url());
    routes[0]["spec"]["backends"][0]["price"]["inputPerMillionTokens"] = json!("10000");
    let mut all = vec![team("search", json!({}))];
    all.extend(routes);
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(20);
    let budget = json!({"limit": "0.1", "period": "Total", "extra": {"amount": "0.1", "until": until.to_string()}});
    all.extend(api_key("more", "search", json!({"budget": budget})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("more"))?;
    let embed = async || caller.embed("text-embedding-3-small", json!(NINE_TOKENS)).await;
    for _ in 0..2 {
        let answer = embed().await?;
        assert_eq!(answer.status, 200, "{}", answer.message());
    }
    let over = embed().await?;
    assert!(over.status == 429 && over.message().contains("0.20 USD (Total), 0.18 spent"), "{}", over.message());
    tokio::time::sleep(Duration::try_from(until.duration_since(jiff::Timestamp::now())).unwrap_or_default()).await;
    let over = embed().await?;
    assert!(over.status == 429 && over.message().contains("0.10 USD (Total), 0.18 spent"), "{}", over.message());
    let left = pair.metrics().await?.value("vectoll_key_budget_remaining_usd", &[("key", "default/more")]);
    assert_eq!(left, Some(0.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_counts_anew_from_its_reset_and_the_ledger_forgets_nothing() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut routes = route("openai", &["text-embedding-3-small"], &provider.url());
    routes[0]["spec"]["backends"][0]["price"]["inputPerMillionTokens"] = json!("10000");
    let all = |reset: &[&str]| {
        let of = |which: &str, mut manifest: Value| {
            if reset.contains(&which) {
                let now = jiff::Timestamp::now().to_string();
                manifest["metadata"]["annotations"] = json!({"vectoll.dev/reset-budgets": now});
            }
            manifest
        };
        let budget = |limit: &str| json!({"budget": {"limit": limit, "period": "Total"}});
        let mut all = vec![of("team", team("search", budget("0.2")))];
        all.extend(routes.clone());
        all.extend(api_key("often", "search", budget("0.1")).into_iter().map(|manifest| of("key", manifest)));
        file(all)
    };
    let pair = Pair::start(&[("all.yaml", all(&[]))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("often"))?;
    let embed = async || caller.embed("text-embedding-3-small", json!(NINE_TOKENS)).await;
    // In force when the sidecar says so.
    let again = async |yaml: &str| {
        let generation = async || pair.metrics().await.map(|metrics| metrics.value("vectoll_config_generation", &[]));
        let before = generation().await?;
        pair.write_manifest("all.yaml", yaml)?;
        let applied = async || Ok((generation().await? != before).then_some(()));
        pair.wait_for("the config to be in force", Duration::from_secs(20), applied).await
    };
    let spent = async |family: &str| pair.metrics().await.map(|metrics| metrics.sum(family, &[]));
    assert_eq!(embed().await?.status, 200);
    assert_eq!(embed().await?.status, 429);
    again(&all(&["key"])).await?;
    assert_eq!(embed().await?.status, 200, "the key's budget counts anew");
    let over = embed().await?;
    assert!(over.status == 429 && over.message().contains("0.09 spent"), "{}", over.message());
    again(&all(&["key"])).await?;
    let over = embed().await?;
    assert!(over.status == 429 && over.message().contains("0.20 USD (Total), 0.18 spent"), "{}", over.message());
    again(&all(&["key", "team"])).await?;
    assert_eq!(embed().await?.status, 200, "and so does the Team's");
    assert_eq!(spent("vectoll_key_spend_usd_total").await?, 0.27);
    assert_eq!(spent("vectoll_key_budget_remaining_usd").await?, 0.01);
    Ok(())
}
