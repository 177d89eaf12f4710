//! Limits hold to the token, budgets to the pico-USD, and refusals say when to come back.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a test"
)]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, builtin, file, key_value, resource_in, route, team},
    pair::{Pair, Setup},
    provider::{Options, Provider},
};

/// 9 tokens in cl100k, 44 bytes: far fewer tokens than the bound that needs no tokenizer.
const NINE_TOKENS: &str = "The quick brown fox jumps over the lazy dog";

/// Crosses a whole window: the only test that takes over a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_at_once_never_pass_a_limit_and_come_back_when_told() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["text-embedding-3-small"], &provider.url()));
    all.extend(api_key("crowd", "search", json!({"limits": {"tokensPerMinute": 1000}})));
    all.extend(api_key("single", "search", json!({"limits": {"requestsPerMinute": 1}})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let crowd = Caller::new(&pair.base_url(), &key_value("crowd"))?;
    let single = crowd.with_key(&key_value("single"));
    let begun = Instant::now();

    let admitted: Arc<Mutex<Vec<(Duration, u64)>>> = Arc::default();
    let until = begun + Duration::from_secs(66);
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let (crowd, admitted) = (crowd.clone(), admitted.clone());
            tokio::spawn(async move {
                while Instant::now() < until {
                    // A call counts from some moment between sending and answering: the later one is the stricter test
                    // for the end of a window, the earlier one for its beginning. Both are within milliseconds.
                    let answer = crowd.embed("text-embedding-3-small", json!(NINE_TOKENS)).await?;
                    match answer.status {
                        200 => {
                            let at = begun.elapsed();
                            admitted
                                .lock()
                                .unwrap_or_else(std::sync::PoisonError::into_inner)
                                .push((at, answer.tokens()));
                        }
                        429 => {
                            assert_eq!(answer.code(), "rate_limit_exceeded");
                            assert!(
                                answer.message().starts_with("Rate limit exceeded for key default/crowd: 1000 tokens")
                            );
                            tokio::time::sleep(Duration::from_millis(400)).await;
                        }
                        other => anyhow::bail!("{other}: {:?}", answer.json),
                    }
                }
                Ok(())
            })
        })
        .collect();

    // Meanwhile: Retry-After is right to the second, neither early nor late.
    assert_eq!(single.embed("text-embedding-3-small", json!("a")).await?.status, 200);
    let refused = single.embed("text-embedding-3-small", json!("a")).await?;
    assert_eq!(refused.status, 429);
    let told: u64 = refused.header("retry-after").unwrap_or_default().parse()?;
    let told_at = Instant::now();
    // Less than 60: clients ignore more.
    assert!((58..=59).contains(&told), "{told}");
    tokio::time::sleep_until((told_at + Duration::from_millis(told * 1000 - 1200)).into()).await;
    assert_eq!(
        single.embed("text-embedding-3-small", json!("a")).await?.status,
        429,
        "a second before it is too early"
    );
    tokio::time::sleep_until((told_at + Duration::from_secs(told)).into()).await;
    let back = single.embed("text-embedding-3-small", json!("a")).await?;
    if told == 59 && back.status == 429 {
        let rest: u64 = back.header("retry-after").unwrap_or_default().parse()?;
        assert!((1..=2).contains(&rest), "the rest of the window: {rest}");
        tokio::time::sleep(Duration::from_secs(rest)).await;
        let back = single.embed("text-embedding-3-small", json!("a")).await?;
        assert_eq!(back.status, 200, "when it was told to come back at last");
    } else {
        assert_eq!(back.status, 200, "when it was told to come back");
    }

    for client in clients {
        client.await??;
    }
    let admitted = admitted.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let sum = |from: Duration, to: Duration| -> u64 {
        admitted.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, tokens)| tokens).sum()
    };
    let minute = Duration::from_mins(1);
    for &(start, _) in &admitted {
        // Our clock is read some milliseconds after the sidecar's.
        let window = sum(start, start + minute.saturating_sub(Duration::from_millis(100)));
        assert!(window <= 1000, "{window} tokens in the minute from {start:?}");
    }
    let first = sum(Duration::ZERO, minute);
    println!("admitted in the first minute: {first} of 1000 tokens; after it: {}", sum(minute, minute * 2));
    assert!(first >= 950, "only {first} of 1000 tokens were admitted");
    assert!(sum(minute, minute * 2) >= 950, "the next window opens");
    assert_eq!(provider.account().charged_tokens, admitted.iter().map(|(_, tokens)| tokens).sum::<u64>() + 2);
    Ok(())
}

/// As it was reported: 100 texts of 47,690 bytes, which are 9,700 tokens.
fn reported() -> Vec<String> {
    // 97 tokens each.
    let text = |short: usize| format!("word{}{}", " word".repeat(96 - short), " of".repeat(short));
    (0..100).map(|at| text(if at < 45 { 3 } else { 4 })).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_admitted_is_never_said_to_fit_never() -> anyhow::Result<()> {
    let texts = reported();
    assert_eq!((texts.len(), texts.iter().map(String::len).sum::<usize>()), (100, 47_690));
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut routes = route("openai", &["text-embedding-3-small"], &provider.url());
    // The same model, of whose tokens nothing is known.
    let mut unknown = route("unknown", &["unknown"], &provider.url()).swap_remove(0);
    unknown["spec"]["backends"][0]["model"] = json!("text-embedding-3-small");
    unknown["spec"]["backends"][0]["tokens"] = json!({"maxPerByte": 1});
    routes.push(unknown);
    let mut all = vec![
        team("limited", json!({"limits": {"tokensPerMinute": 10_000}})),
        team("daily", json!({"budget": {"limit": "0.0002", "period": "Daily"}})),
        team("poor", json!({"budget": {"limit": "0.0001", "period": "Daily"}})),
        team("spent", json!({"budget": {"limit": "0.0002", "period": "Total"}})),
    ];
    all.extend(routes);
    for name in ["limited", "daily", "poor", "spent"] {
        all.extend(api_key(name, name, json!({})));
    }
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let base = Caller::new(&pair.base_url(), "")?;
    let ask = async |key: &str, model: &str| base.with_key(&key_value(key)).embed(model, json!(texts)).await;
    let model = "text-embedding-3-small";
    let first = ask("limited", model).await?;
    assert_eq!((first.status, first.tokens()), (200, 9_700), "{}", first.message());
    let second = ask("limited", model).await?;
    assert_eq!((second.status, second.header("x-should-retry")), (429, None), "{}", second.message());
    let wait: u64 = second.header("retry-after").unwrap_or_default().parse()?;
    assert!((50..=59).contains(&wait), "when the first has left the window: {wait}");
    let words = "10000 tokens per minute, 9700 used or reserved, this call needs 9700; try again in";
    assert!(second.message().contains(words), "{}", second.message());
    // By its bytes it is more than the limit: it is not admitted, and nobody says that it could never be.
    let unknown = ask("limited", "unknown").await?;
    assert_eq!((unknown.status, unknown.header("retry-after")), (429, None));
    assert_eq!(unknown.header("x-should-retry"), Some("false"));
    let words = "this call alone needs up to 48490: that is a bound by its bytes";
    assert!(unknown.message().contains(words) && !unknown.message().contains("never"), "{}", unknown.message());

    // 9,700 tokens are 0.000194 USD; 47,690 would be 0.0009538.
    assert_eq!(ask("daily", model).await?.status, 200);
    let second = ask("daily", model).await?;
    assert_eq!((second.status, second.code()), (429, "budget_exceeded"));
    let wait: u64 = second.header("retry-after").unwrap_or_default().parse()?;
    assert!((1..=86_400).contains(&wait), "until midnight: {wait}");
    let words = "0.0002 USD (Daily), 0.000194 spent or reserved, this call costs 0.000194; try again in";
    assert!(second.message().contains(words), "{}", second.message());
    // What is more than the whole budget, and what is spent for good: no wait helps.
    let never = ask("poor", model).await?;
    assert_eq!((never.status, never.header("retry-after")), (429, None));
    assert!(never.message().contains("this call costs 0.000194; it can never fit"), "{}", never.message());
    assert_eq!(ask("spent", model).await?.status, 200);
    let spent = ask("spent", model).await?;
    assert_eq!((spent.status, spent.header("retry-after")), (429, None));
    assert!(spent.message().ends_with("this call costs 0.000194; waiting does not help"), "{}", spent.message());
    Ok(())
}

#[tokio::test]
async fn a_provider_that_lets_itself_be_asked_for_so_much_is_asked() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut routes = route("openai", &["text-embedding-3-small"], &provider.url());
    routes[0]["spec"]["backends"][0]["limits"] = json!({"tokensPerMinute": 10_000});
    let mut all = vec![team("search", json!({}))];
    all.extend(routes);
    all.extend(api_key("alice", "search", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let answer = caller.embed("text-embedding-3-small", json!(reported())).await?;
    assert_eq!((answer.status, answer.tokens()), (200, 9_700), "{}", answer.message());
    let full = caller.embed("text-embedding-3-small", json!(reported())).await?;
    let wait: u64 = full.header("retry-after").unwrap_or_default().parse()?;
    assert!(full.status == 429 && (50..=59).contains(&wait), "{} {wait}: {}", full.status, full.message());
    Ok(())
}

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

/// A call whose status and message these are was refused for this reason.
#[track_caller]
fn refused((status, message): (u16, String), begin: &str) {
    assert_eq!(status, 429, "{message}");
    assert!(message.starts_with(begin), "{message}");
}

#[tokio::test]
async fn each_scope_has_its_own_limit_and_says_so() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let rpm = |limit: u64| json!({"requestsPerMinute": limit});
    let mut all = vec![builtin("builtin", &["builtin", "special"])];
    all.extend(route("openai", &["fault-slow-1500", "unknown-model"], &provider.url()));
    all.push(team("by-team", json!({"limits": rpm(2)})));
    all.push(team("by-user", json!({"userLimits": rpm(1)})));
    all.push(team("by-model", json!({"modelLimits": [{"model": "spec*", "limits": rpm(1)}]})));
    all.push(team("folded", json!({"userLimits": rpm(2), "maxUsers": 1})));
    all.push(team("plain", json!({})));
    all.push(team("broke", json!({"userBudget": {"limit": "0.00000002", "period": "Total"}})));
    all.extend(api_key("t", "by-team", json!({})));
    all.extend(api_key("t2", "by-team", json!({})));
    all.extend(api_key("u", "by-user", json!({})));
    all.extend(api_key("owner", "by-user", json!({"userPolicy": "Owner"})));
    all.extend(api_key("m", "by-model", json!({})));
    all.extend(api_key("f", "folded", json!({})));
    all.extend(api_key("b", "broke", json!({})));
    all.extend(api_key("ku", "plain", json!({"userLimits": rpm(1)})));
    all.extend(api_key("km", "plain", json!({"modelLimits": [{"model": "special", "limits": rpm(1)}]})));
    all.extend(api_key("never", "plain", json!({"limits": {"tokensPerMinute": 3}})));
    all.extend(api_key("parallel", "plain", json!({"limits": {"parallelRequests": 1}})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let base = Caller::new(&pair.base_url(), "")?;
    let ask = async |key: &str, model: &str, user: &str| -> anyhow::Result<(u16, String)> {
        let body = json!({"model": model, "input": "a", "user": user});
        let answer = base.with_key(&key_value(key)).post("/v1/embeddings", &body, &[]).await?;
        Ok((answer.status, answer.message().to_owned()))
    };
    // A team's limit is shared by its keys.
    assert_eq!(ask("t", "builtin", "x").await?.0, 200);
    assert_eq!(ask("t2", "builtin", "x").await?.0, 200);
    refused(ask("t", "builtin", "x").await?, "Rate limit exceeded for team default/by-team: 2 requests per minute");
    // Each user has a limit of its own, unless the key's owner is every call's user.
    assert_eq!(ask("u", "builtin", "x").await?.0, 200);
    assert_eq!(ask("u", "builtin", "y").await?.0, 200);
    refused(ask("u", "builtin", "x").await?, "Rate limit exceeded for user x: 1 requests per minute");
    assert_eq!(ask("owner", "builtin", "p").await?.0, 200);
    refused(ask("owner", "builtin", "q").await?, "Rate limit exceeded for user owner");
    // Models of a pattern share one count.
    assert_eq!(ask("m", "special", "x").await?.0, 200);
    assert_eq!(ask("m", "builtin", "x").await?.0, 200);
    refused(ask("m", "special", "x").await?, "Rate limit exceeded for model spec* of team default/by-model");
    assert_eq!(ask("km", "special", "x").await?.0, 200);
    refused(ask("km", "special", "x").await?, "Rate limit exceeded for model special of key default/km");
    assert_eq!(ask("ku", "builtin", "x").await?.0, 200);
    refused(ask("ku", "builtin", "x").await?, "Rate limit exceeded for user x");
    // Users beyond maxUsers share one count.
    assert_eq!(ask("f", "builtin", "first").await?.0, 200);
    assert_eq!(ask("f", "builtin", "second").await?.0, 200);
    assert_eq!(ask("f", "builtin", "third").await?.0, 200);
    refused(ask("f", "builtin", "fourth").await?, "Rate limit exceeded for user _other");
    // Each user has a budget of its own: one token's worth.
    assert_eq!(ask("b", "builtin", "x").await?.0, 200);
    refused(ask("b", "builtin", "x").await?, "Budget exceeded for user x: 0.00000002 USD (Total)");
    assert_eq!(ask("b", "builtin", "y").await?.0, 200);
    // What can never fit says so, and not when to come back.
    let never = base.with_key(&key_value("never"));
    let answer = never.embed("builtin", json!("one two three four five")).await?;
    assert_eq!((answer.status, answer.header("retry-after")), (429, None));
    assert!(answer.message().contains("it can never fit"), "{}", answer.message());
    assert_eq!(never.embed("builtin", json!("one two three")).await?.status, 200, "counted exactly, it fits");
    // One at a time.
    let parallel = base.with_key(&key_value("parallel"));
    let slow = tokio::spawn({
        let parallel = parallel.clone();
        async move { parallel.embed("fault-slow-1500", json!("a")).await }
    });
    let gauge = async || Ok((pair.metrics().await?.value("vectoll_reservations", &[]) == Some(1.0)).then_some(()));
    pair.wait_for("the slow call to be under way", Duration::from_secs(30), gauge).await?;
    let second = parallel.embed("builtin", json!("a")).await?;
    assert_eq!((second.status, second.header("retry-after")), (429, Some("1")));
    assert!(second.message().starts_with("Rate limit exceeded for key default/parallel: 1 requests at the same time"));
    assert_eq!(slow.await??.status, 200);
    assert_eq!(parallel.embed("builtin", json!("a")).await?.status, 200);
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

#[tokio::test]
async fn a_namespace_that_uses_anothers_team_is_held_to_its_part_and_cannot_price_the_teams_money() -> anyhow::Result<()>
{
    let shared = |name: &str, spec: Value| {
        let mut whole = json!({"allowedNamespaces": {"from": "All"}});
        if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
            whole.extend(spec);
        }
        resource_in("platform", "Team", name, whole)
    };
    let of = |team: &str| json!({"teamRef": {"name": team, "namespace": "platform"}});
    let priced = |namespace: &str, model: &str, price: &str| {
        let backend = json!({"name": "builtin", "builtin": {}, "price": {"inputPerMillionTokens": price}});
        let spec = json!({"models": [model], "allowedNamespaces": {"from": "All"}, "backends": [backend]});
        resource_in(namespace, "ModelRoute", model, spec)
    };
    let dollar = json!({"limit": "1", "period": "Total"});
    // A token at the platform's price is 0.00000002 USD; at the namespace's own it is a dollar.
    let mut all = vec![
        priced("platform", "shared", "0.02"),
        priced("default", "invented", "1000000"),
        shared("limited", json!({"namespaceLimits": {"requestsPerMinute": 2}})),
        shared("bounded", json!({"budget": dollar, "namespaceBudget": {"limit": "0.00000002", "period": "Total"}})),
        shared("spent", json!({"budget": dollar, "userBudget": dollar, "namespaceBudget": dollar})),
        shared("trusting", json!({"budget": dollar, "routeNamespaces": ["default"]})),
    ];
    for team in ["limited", "bounded", "spent", "trusting"] {
        all.extend(api_key(team, team, of(team)));
    }
    let mut own_budget = of("spent");
    own_budget["budget"] = dollar.clone();
    all.extend(api_key("careful", "spent", own_budget));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let base = Caller::new(&pair.base_url(), "")?;
    let ask = async |key: &str, model: &str, input: &str| -> anyhow::Result<(u16, String)> {
        let answer = base.with_key(&key_value(key)).embed(model, json!(input)).await?;
        Ok((answer.status, answer.message().to_owned()))
    };
    assert_eq!(ask("limited", "shared", "a").await?.0, 200);
    assert_eq!(ask("limited", "shared", "a").await?.0, 200);
    let limit = "Rate limit exceeded for namespace default of team platform/limited: 2 requests per minute";
    refused(ask("limited", "shared", "a").await?, limit);
    // One token's worth, of a Team that has much more.
    assert_eq!(ask("bounded", "shared", "a").await?.0, 200);
    let budget = "Budget exceeded for namespace default of team platform/bounded: 0.00000002 USD (Total)";
    refused(ask("bounded", "shared", "a").await?, budget);
    // Two dollars by its own price: nobody's but the key's.
    assert_eq!(ask("spent", "invented", "one two").await?.0, 200);
    assert_eq!(ask("spent", "shared", "a").await?.0, 200);
    refused(ask("careful", "invented", "one two").await?, "Budget exceeded for key default/careful: 1.00 USD (Total)");
    // Where the Team's owner names the namespace, its prices are the Team's.
    refused(
        ask("trusting", "invented", "one two").await?,
        "Budget exceeded for team platform/trusting: 1.00 USD (Total)",
    );
    let metrics = pair.metrics().await?;
    let team = [("team", "platform/spent")];
    assert_eq!(metrics.value("vectoll_foreign_route_tokens_total", &team), Some(2.0));
    assert_eq!(metrics.value("vectoll_foreign_route_spend_usd_total", &team), Some(2.0));
    assert_eq!(metrics.value("vectoll_team_spend_usd_total", &team), Some(2.000_000_02), "all that its keys caused");
    assert_eq!(metrics.value("vectoll_team_budget_remaining_usd", &team), Some(0.999_999_98), "its own money");
    assert_eq!(metrics.value("vectoll_namespace_budget_remaining_usd", &team), Some(0.999_999_98));
    assert_eq!(metrics.value("vectoll_namespace_budget_limit_usd", &team), Some(1.0));
    assert_eq!(metrics.value("vectoll_rejections_total", &[("scope", "namespace"), ("reason", "requests")]), Some(1.0));
    Ok(())
}

#[tokio::test]
async fn no_text_is_tokenized_twice_nor_where_nobody_needs_its_tokens() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["text-embedding-3-small", "fault-no-usage"], &provider.url()));
    all.extend(api_key("free", "search", json!({})));
    all.extend(api_key("tight", "search", json!({"limits": {"tokensPerMinute": 20}})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let free = Caller::new(&pair.base_url(), &key_value("free"))?;
    let counted = async || anyhow::Ok(pair.metrics().await?.value("vectoll_counted_text_bytes_total", &[]));
    assert_eq!(free.embed("text-embedding-3-small", json!(NINE_TOKENS)).await?.status, 200);
    assert_eq!(counted().await?, Some(0.0), "the provider says it, and there is no limit near");
    // Admission asks, and so does the settlement: the provider does not say.
    let tight = free.with_key(&key_value("tight"));
    let answer = tight.embed("fault-no-usage", json!(NINE_TOKENS)).await?;
    assert_eq!((answer.status, answer.json["usage"].is_null()), (200, true), "{:?}", answer.json);
    let length = f64::from(u32::try_from(NINE_TOKENS.len())?);
    assert_eq!(counted().await?, Some(length));
    assert_eq!(pair.metrics().await?.sum("vectoll_key_tokens_total", &[]), 18.0);
    Ok(())
}

#[tokio::test]
async fn what_users_have_left_and_when_periods_and_keys_end_is_told() -> anyhow::Result<()> {
    use jiff::{ToSpan, Zoned, tz::TimeZone};

    let stage = async |arguments: &[&str]| {
        let budget = |limit: &str, period: &str| json!({"limit": limit, "period": period, "timeZone": "Europe/Berlin"});
        let spec = json!({"budget": budget("1", "Monthly"), "userBudget": budget("0.5", "Daily")});
        let mut all = vec![team("search", spec), team("other", json!({})), builtin("builtin", &["builtin"])];
        let spec = json!({"budget": {"limit": "2", "period": "Total"}, "expiresAt": "2099-01-02T03:04:05Z"});
        all.extend(api_key("alice", "search", spec));
        all.extend(api_key("other", "other", json!({})));
        let mut setup = Setup::built()?;
        setup.sidecar_arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let pair = Pair::start_with(setup, &[("all.yaml", file(all))]).await?;
        let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
        let body = json!({"model": "builtin", "input": "a", "user": "bob"});
        assert_eq!(caller.post("/v1/embeddings", &body, &[]).await?.status, 200);
        assert_eq!(caller.with_key(&key_value("other")).embed("builtin", json!("a")).await?.status, 200);
        anyhow::Ok(pair)
    };
    // Midnight may pass between the call and the look.
    let ends = || -> anyhow::Result<[Option<f64>; 2]> {
        let today = Zoned::now().with_time_zone(TimeZone::get("Europe/Berlin")?).start_of_day()?;
        let month = today.first_of_month()?.checked_add(1.month())?;
        Ok([month, today.checked_add(1.day())?].map(|end| Some(end.timestamp().as_second() as f64)))
    };
    let before = ends()?;
    let pair = stage(&[]).await?;
    let metrics = pair.metrics().await?;
    let (team, bob) = ([("team", "default/search")], [("team", "default/search"), ("user", "bob")]);
    let key = [("team", "default/search"), ("key", "default/alice")];
    assert_eq!(metrics.value("vectoll_user_budget_limit_usd", &bob), Some(0.5));
    assert_eq!(metrics.value("vectoll_user_budget_remaining_usd", &bob), Some(0.499_999_98));
    assert_eq!(metrics.samples("vectoll_user_budget_limit_usd", &[]).count(), 1, "who has called, and has a budget");
    let found = [("team", &team[..]), ("user", &bob[..])]
        .map(|(word, labels)| metrics.value(&format!("vectoll_{word}_budget_period_end_timestamp_seconds"), labels));
    assert!(found == before || found == ends()?, "{found:?}, {before:?}");
    assert_eq!(metrics.value("vectoll_key_budget_remaining_usd", &key), Some(1.999_999_98));
    assert_eq!(metrics.value("vectoll_key_budget_period_end_timestamp_seconds", &key), None, "a total has no end");
    assert_eq!(metrics.value("vectoll_key_expiry_timestamp_seconds", &key), Some(4_071_006_245.0));
    assert_eq!(metrics.samples("vectoll_key_expiry_timestamp_seconds", &[]).count(), 1, "keys with an end");
    assert_eq!(metrics.value("vectoll_journal_max_bytes", &[]), Some(67_108_864.0));

    let metrics = stage(&["--user-metrics=off"]).await?.metrics().await?;
    assert_eq!(metrics.samples("vectoll_user_budget_limit_usd", &[]).count(), 0, "users are not told apart");
    assert_eq!(metrics.value("vectoll_team_budget_limit_usd", &team), Some(1.0));
    Ok(())
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_to_queries_documents_cannot_take() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["text-embedding-3-small"], &provider.url()));
    all.extend(api_key(
        "both",
        "search",
        json!({"limits": {"requestsPerMinute": 10, "reservedForQueriesPercent": 30}}),
    ));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("both"))?;
    let ask = async |input_type: Option<&str>| {
        let mut body = json!({"model": "text-embedding-3-small", "input": NINE_TOKENS});
        if let Some(input_type) = input_type {
            body["input_type"] = json!(input_type);
        }
        caller.post("/v1/embeddings", &body, &[]).await
    };
    assert_eq!(ask(Some("query")).await?.status, 200);
    for n in 0..7 {
        let answer = ask(Some("document").filter(|_| n % 2 == 0)).await?;
        assert_eq!(answer.status, 200, "{n}: {}", answer.message());
    }
    let refused = ask(None).await?;
    let words = "key default/both, of which a part is left to queries: 7 requests per minute, 7 used";
    assert_eq!(refused.status, 429);
    assert!(refused.message().contains(words), "{}", refused.message());
    for n in 0..2 {
        assert_eq!(ask(Some("query")).await?.status, 200, "{n}");
    }
    let full = ask(Some("query")).await?;
    assert!(full.status == 429 && full.message().contains("key default/both: 10 requests"), "{}", full.message());
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_wait_for_room_in_the_order_in_which_they_came_and_none_waits_in_vain() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["fault-slow-300", "text-embedding-3-small"], &provider.url()));
    let mut narrow = route("narrow", &["narrow"], &provider.url()).swap_remove(0);
    narrow["spec"]["backends"][0]["model"] = json!("fault-slow-300");
    narrow["spec"]["backends"][0]["limits"] = json!({"parallelRequests": 1});
    all.push(narrow);
    all.extend(api_key("waits", "search", json!({"limits": {"parallelRequests": 1}, "maxWaitSeconds": 20})));
    all.extend(api_key("refused", "search", json!({"limits": {"parallelRequests": 1}})));
    all.extend(api_key("minute", "search", json!({"limits": {"requestsPerMinute": 1}, "maxWaitSeconds": 5})));
    all.extend(api_key("backend", "search", json!({"maxWaitSeconds": 20})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let base = Caller::new(&pair.base_url(), "")?;
    // Five at once, one after the other: each is sent when it stands in line.
    let storm = async |key: &'static str, model: &'static str| {
        let order: Arc<Mutex<Vec<usize>>> = Arc::default();
        let mut calls = Vec::new();
        for n in 0..5 {
            let (caller, order) = (base.with_key(&key_value(key)), order.clone());
            calls.push(tokio::spawn(async move {
                let answer = caller.embed(model, json!("a")).await?;
                order.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(n);
                anyhow::Ok((answer.status, answer.header("x-vectoll-waited-ms").map(str::to_owned)))
            }));
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await??);
        }
        let order = order.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        anyhow::Ok((answers, order))
    };
    let (answers, order) = storm("waits", "fault-slow-300").await?;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert_eq!(order, [0, 1, 2, 3, 4]);
    assert!(answers[0].1.is_none() && answers[4].1.is_some(), "{answers:?}");
    let (answers, _) = storm("refused", "fault-slow-300").await?;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 429).count(), 4, "{answers:?}");
    let (answers, _) = storm("backend", "narrow").await?;
    assert!(answers.iter().all(|(status, _)| *status == 200), "a provider's limit is waited for: {answers:?}");

    // What cannot succeed is refused at once: the minute is longer than the five seconds.
    let minute = base.with_key(&key_value("minute"));
    assert_eq!(minute.embed("text-embedding-3-small", json!("a")).await?.status, 200);
    let begun = Instant::now();
    let refused = minute.embed("text-embedding-3-small", json!("a")).await?;
    assert_eq!((refused.status, refused.code()), (429, "rate_limit_exceeded"));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // A call may ask for less, and must ask for a number.
    let waits = base.with_key(&key_value("waits"));
    let first = {
        let caller = waits.clone();
        tokio::spawn(async move { caller.embed("fault-slow-300", json!("a")).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    let body = json!({"model": "text-embedding-3-small", "input": "a"});
    let impatient = waits.post("/v1/embeddings", &body, &[("x-vectoll-max-wait", "0")]).await?;
    assert_eq!(impatient.status, 429, "{}", impatient.message());
    let mistyped = waits.post("/v1/embeddings", &body, &[("x-vectoll-max-wait", "soon")]).await?;
    assert_eq!(mistyped.status, 400);
    assert!(
        mistyped.message().contains("x-vectoll-max-wait must be a whole number of seconds"),
        "{}",
        mistyped.message()
    );
    assert_eq!(first.await??.status, 200);
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.value("vectoll_waiting_calls", &[]), Some(0.0));
    assert!(metrics.value("vectoll_limit_wait_seconds_count", &[]).is_some_and(|count| count >= 4.0));
    Ok(())
}
