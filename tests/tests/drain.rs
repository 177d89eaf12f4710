//! Asked to stop, the sidecar finishes what is under way, and no more.

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
    pair::{Pair, Setup},
    provider::{Options, Provider},
};

async fn stage(setup: Setup) -> anyhow::Result<(Pair, Provider, Caller)> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["fault-slow-*", "fault-hang"], &provider.url()));
    all.extend(api_key("alice", "search", json!({})));
    let pair = Pair::start_with(setup, &[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, provider, caller))
}

async fn under_way(pair: &Pair) -> anyhow::Result<()> {
    let gauge = async || Ok((pair.metrics().await?.value("vectoll_reservations", &[]) == Some(1.0)).then_some(()));
    pair.wait_for("the call to be under way", Duration::from_secs(30), gauge).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_way_finish_and_new_ones_are_not_taken() -> anyhow::Result<()> {
    let (mut pair, _provider, caller) = stage(Setup::built()?).await?;
    let slow = tokio::spawn({
        let caller = caller.clone();
        async move { caller.embed("fault-slow-1500", json!("The quick brown fox")).await }
    });
    under_way(&pair).await?;
    let admin = pair.admin_url();
    let watcher = tokio::spawn(async move {
        // While it drains, the admin listener says that it is not ready.
        let http = reqwest::Client::builder().no_proxy().build()?;
        for _ in 0..100 {
            if let Ok(answer) = http.get(format!("{admin}/readyz")).send().await
                && answer.status() == 503
            {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(false)
    });
    let ended = pair.terminate_sidecar().await?;
    assert!(ended.success(), "{ended}");
    let answer = slow.await??;
    assert_eq!((answer.status, answer.tokens()), (200, 4), "{:?}", answer.json);
    assert!(watcher.await??, "readiness fails first");
    assert!(caller.embed("fault-slow-1", json!("a")).await.is_err(), "nobody listens any more");
    pair.start_sidecar().await?;
    assert_eq!(pair.metrics().await?.value("vectoll_key_tokens_total", &[]), Some(4.0), "the last call was booked");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_finish_in_time_is_booked_as_unsettled() -> anyhow::Result<()> {
    let mut setup = Setup::built()?;
    setup.sidecar_arguments = vec!["--drain-timeout-seconds".to_owned(), "1".to_owned()];
    let (mut pair, provider, caller) = stage(setup).await?;
    let hanging = tokio::spawn({
        let caller = caller.clone();
        async move { caller.embed("fault-hang", json!("The quick brown fox")).await }
    });
    under_way(&pair).await?;
    assert!(pair.terminate_sidecar().await?.success());
    assert!(hanging.await?.is_err());
    pair.start_sidecar().await?;
    let metrics = pair.metrics().await?;
    assert_eq!(
        metrics.value("vectoll_unsettled_tokens_total", &[]),
        Some(4.0),
        "what it may have cost: its tokens are known"
    );
    assert_eq!(metrics.value("vectoll_key_tokens_total", &[]), Some(4.0));
    assert_eq!(provider.account().charged_tokens, 0);
    Ok(())
}
