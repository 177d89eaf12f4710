//! Requests and tokens: no limit is passed, and what was admitted is counted as what it was.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, file, key_value, route, team},
    pair::Pair,
    provider::{Options, Provider},
};

use crate::NINE_TOKENS;

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
