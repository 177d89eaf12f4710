//! Whatever happens to calls, the books add up.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a test"
)]

use std::time::Duration;

use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, file, key_value, route, team},
    pair::{Pair, metrics::Metrics},
    provider::{Options, Provider},
};

/// Pico-USD of a family: floats on the page, integers after rounding.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sums of cents")]
fn pico(metrics: &Metrics, name: &str) -> u64 {
    metrics.samples(name, &[]).map(|sample| (sample.value * 1e12).round() as u64).sum()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn count(metrics: &Metrics, name: &str) -> u64 {
    metrics.sum(name, &[]) as u64
}

const FAMILIES: [&str; 4] = ["key", "team", "user", "model"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_equal_the_providers_account_and_what_is_marked_unsettled() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all =
        vec![team("search", json!({})), team("research", json!({"budget": {"limit": "100", "period": "Total"}}))];
    let mut routes = route("openai", &["text-embedding-3-small", "fault-*"], &provider.url());
    // The calls that hang for ever end here.
    routes[0]["spec"]["backends"][0]["timeoutSeconds"] = json!(2);
    all.extend(routes);
    let limits = json!({"limits": {"tokensPerMinute": 10_000_000, "parallelRequests": 500}, "budget": {"limit": "50", "period": "Daily"}});
    all.extend(api_key("alice", "search", limits));
    all.extend(api_key("bob", "research", json!({})));
    all.extend(api_key("carol", "research", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let base = Caller::new(&pair.base_url(), "")?;

    let workers = (0..12).map(|worker: usize| {
        let caller = base.with_key(&key_value(["alice", "bob", "carol"][worker % 3]));
        tokio::spawn(async move {
            for call in 0..40 {
                let model = [
                    "fault-mix",
                    "text-embedding-3-small",
                    "fault-no-usage",
                    "fault-overrun",
                    "fault-slow-body-40",
                    "fault-usage-first",
                ][(worker + call) % 6];
                let input = json!(["word ".repeat(call + 1), format!("text {worker} {call}")]);
                match (worker + call) % 5 {
                    // Callers that leave before the answer, some before it has even begun.
                    0 => caller.hang_up(model, input, Duration::from_millis(u64::try_from(call % 7)? * 7)).await,
                    1 => {
                        let body = json!({"model": model, "input": input, "user": format!("user-{}", call % 9)});
                        // Some answers are cut by design.
                        let _ = caller.post("/v1/embeddings", &body, &[]).await;
                    }
                    _ => {
                        let _ = caller.embed(model, input).await;
                    }
                }
            }
            anyhow::Ok(())
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await??;
    }
    let at_rest = async || {
        let metrics = pair.metrics().await?;
        let open = metrics.value("vectoll_reservations", &[]) == Some(0.0)
            && metrics.value("vectoll_requests_in_flight", &[]) == Some(0.0);
        Ok(open.then_some(metrics))
    };
    let metrics = pair.wait_for("all reservations to end", Duration::from_secs(30), at_rest).await?;

    assert_eq!(metrics.value("vectoll_reserved_tokens", &[]), Some(0.0));
    assert_eq!(metrics.value("vectoll_reserved_spend_usd", &[]), Some(0.0));
    let account = provider.account();
    assert_eq!(account.violations, Vec::<String>::new());
    let unsettled = count(&metrics, "vectoll_unsettled_tokens_total");
    println!(
        "{} calls charged with {} tokens, {unsettled} tokens unsettled, by behaviour: {:?}",
        account.charged_requests, account.charged_tokens, account.behaviours
    );
    assert!(unsettled > 0 && account.charged_tokens > 1_000, "the mix has both");
    for family in FAMILIES {
        let tokens = count(&metrics, &format!("vectoll_{family}_tokens_total"));
        assert_eq!(tokens, account.charged_tokens + unsettled, "tokens of all {family}s");
        let money = pico(&metrics, &format!("vectoll_{family}_spend_usd_total"));
        assert_eq!(money, tokens * 20_000, "pico-USD of all {family}s");
        let requests = count(&metrics, &format!("vectoll_{family}_requests_total"));
        assert_eq!(requests, count(&metrics, "vectoll_key_requests_total"), "requests of all {family}s");
    }
    assert!(
        count(&metrics, "vectoll_reservation_overrun_tokens_total") > 0,
        "what was charged beyond the bound is told"
    );
    Ok(())
}

#[tokio::test]
async fn a_caller_that_leaves_is_charged_what_the_provider_charges() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["fault-slow-400", "fault-slow-body-400"], &provider.url()));
    all.extend(api_key("alice", "search", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    for model in ["fault-slow-400", "fault-slow-body-400"] {
        caller.hang_up(model, json!("The quick brown fox"), Duration::from_millis(120)).await;
    }
    let settled = async || Ok((count(&pair.metrics().await?, "vectoll_key_tokens_total") == 8).then_some(()));
    pair.wait_for("both calls to be settled to 4 tokens each", Duration::from_secs(10), settled).await?;
    let metrics = pair.metrics().await?;
    assert_eq!(provider.account().charged_tokens, 8);
    assert_eq!(metrics.value("vectoll_unsettled_requests_total", &[]), Some(0.0));
    assert_eq!(metrics.value("vectoll_reservations", &[]), Some(0.0));
    Ok(())
}

#[tokio::test]
async fn spend_and_used_budgets_outlive_a_restart() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["text-embedding-3-small"], &provider.url()));
    all.extend(api_key("alice", "search", json!({"budget": {"limit": "0.0000001", "period": "Total"}})));
    let mut pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    assert_eq!(caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?.status, 200);
    assert!(pair.terminate_sidecar().await?.success());
    pair.start_sidecar().await?;
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.value("vectoll_key_tokens_total", &[("key", "default/alice")]), Some(4.0));
    assert_eq!(metrics.value("vectoll_key_budget_remaining_usd", &[("key", "default/alice")]), Some(0.000_000_02));
    let again = caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?;
    assert_eq!(again.code(), "budget_exceeded", "one token is left of five");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_stops_reading_holds_nothing_beyond_the_timeout() -> anyhow::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({}))];
    let mut routes = route("openai", &["text-embedding-3-small"], &provider.url());
    routes[0]["spec"]["backends"][0]["timeoutSeconds"] = json!(3);
    all.extend(routes);
    all.extend(api_key("alice", "search", json!({"limits": {"parallelRequests": 1}})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let body = json!({"model": "text-embedding-3-small", "input": vec!["a"; 1000]}).to_string();
    let socket = tokio::net::TcpSocket::new_v4()?;
    // Or the kernel would take the whole answer in its place.
    socket.set_recv_buffer_size(64 * 1024)?;
    let mut stalled = socket.connect(pair.proxy_address()).await?;
    let head = format!(
        "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        key_value("alice"),
        body.len()
    );
    stalled.write_all(head.as_bytes()).await?;
    stalled.write_all(body.as_bytes()).await?;
    let mut first = [0; 1024];
    stalled.read_exact(&mut first).await?;
    assert!(first.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&first));
    // It reads no further, and keeps the connection.
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let refused = caller.embed("text-embedding-3-small", json!("a")).await?;
    assert_eq!(refused.status, 429, "its place is taken");
    let free = async || Ok((pair.metrics().await?.value("vectoll_reservations", &[]) == Some(0.0)).then_some(()));
    pair.wait_for("the stalled call to end", Duration::from_secs(40), free).await?;
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.value("vectoll_unsettled_tokens_total", &[]), Some(0.0), "the answer was read on to its usage");
    assert_eq!(count(&metrics, "vectoll_key_tokens_total"), provider.account().charged_tokens);
    assert_eq!(caller.embed("text-embedding-3-small", json!("a")).await?.status, 200);
    drop(stalled);
    Ok(())
}
