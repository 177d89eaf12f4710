//! One process for many namespaces: each call goes by its own namespace's view, and what one namespace or a stranger does is no matter to
//! the others.

#![allow(clippy::indexing_slicing, clippy::float_cmp, reason = "a test")]

mod between;
mod cluster;
mod flood;
mod passed_on;
mod pod_token;
mod route;
mod stage;
mod trouble;
mod withheld;

use anyhow::Context;
use http::Version;
use serde_json::{Value, json};
use vectoll_tests::{
    manifest::{file, key_value},
    pair::log::listening,
    wire::lines,
};

use self::stage::{DEADLINE, Stage, api_key, models, status};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_goes_by_its_own_namespaces_view() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    let (alice, bob) = (stage.caller("alice")?, stage.caller("bob")?);
    // The same model, at another provider with another credential; a limit that is full is full for its own key alone.
    let calls = [status(&alice).await?, status(&alice).await?, status(&alice).await?, status(&alice).await?];
    assert_eq!(calls, [200, 200, 200, 429]);
    assert_eq!((stage.shop.account().requests, stage.crm.account().requests), (3, 0));
    assert_eq!((status(&bob).await?, stage.crm.account().requests), (200, 1));
    for provider in [&stage.shop, &stage.crm] {
        assert!(provider.account().violations.is_empty(), "{:?}", provider.account().violations);
    }
    // By name and by address, over either HTTP; not by another name, and not without TLS.
    let http1 = stage.certificate.client(&stage.pair)?.http1_only().build()?;
    let answer = http1.get(format!("{}/v1/models", stage.url())).bearer_auth(key_value("bob")).send().await?;
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_11));
    let http = stage.certificate.client(&stage.pair)?.build()?;
    let by_address = format!("https://{}/v1/models", stage.pair.proxy_address());
    let answer = http.get(by_address).bearer_auth(key_value("bob")).send().await?;
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    let other = http1.get(format!("{}/v1/models", stage.url())).header("host", "other.example").send().await?;
    assert_eq!(other.status(), 403);
    let plain = reqwest::Client::builder().no_proxy().build()?;
    assert!(plain.get(format!("http://{}/v1/models", stage.pair.proxy_address())).send().await.is_err());

    let metrics = stage.pair.metrics().await?;
    assert_eq!(metrics.sum("vectoll_key_requests_total", &[("namespace", "shop"), ("key", "shop/alice")]), 3.0);
    assert_eq!(metrics.sum("vectoll_team_requests_total", &[("namespace", "crm")]), 1.0);
    assert_eq!(metrics.sum("vectoll_rejections_total", &[("namespace", "shop"), ("scope", "key")]), 1.0);
    assert_eq!(metrics.sum("vectoll_namespace_requests_total", &[("namespace", "shop"), ("status", "429")]), 1.0);
    assert_eq!(metrics.value("vectoll_gateway_namespaces", &[]), Some(2.0));
    assert_eq!(metrics.value("vectoll_config_stale", &[("namespace", "crm")]), Some(0.0));
    let lines = lines(&stage.pair, 5).await?;
    let of = |namespace: &str| lines.iter().filter(|line| line["namespace"] == namespace).collect::<Vec<&Value>>();
    assert_eq!((of("shop").len(), of("crm").len()), (4, 1), "{lines:?}");
    assert!(lines.iter().all(|line| line["client"] == "127.0.0.1"), "{lines:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_a_namespace_that_goes_and_one_that_comes() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    let (alice, bob) = (stage.caller("alice")?, stage.caller("bob")?);
    stage.pair.write_manifest("carol.yaml", &file(api_key("shop", "carol", json!({}))))?;
    let carol = alice.with_key(&key_value("carol"));
    stage.pair.wait_for("the new key", DEADLINE, async || Ok((status(&carol).await? == 200).then_some(()))).await?;
    stage.pair.remove_manifest("alice.yaml")?;
    let revoked = async || Ok((status(&alice).await? == 401).then_some(()));
    stage.pair.wait_for("the revoked key", DEADLINE, revoked).await?;
    // The last key of its namespace: its folder goes, with the credentials in it.
    let folder = stage.pair.config_dir().join("crm");
    assert!(folder.exists());
    stage.pair.remove_manifest("bob.yaml")?;
    stage.pair.wait_for("the revoked key", DEADLINE, async || Ok((models(&bob).await? == 401).then_some(()))).await?;
    let gone = async || Ok((!folder.exists()).then_some(()));
    stage.pair.wait_for("the namespace's folder", DEADLINE, gone).await?;
    stage.pair.write_manifest("bob.yaml", &file(api_key("crm", "bob", json!({}))))?;
    stage.pair.wait_for("the namespace", DEADLINE, async || Ok((status(&bob).await? == 200).then_some(()))).await?;
    assert_eq!(status(&carol).await?, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_reached_without_the_figures_of_all_namespaces() -> anyhow::Result<()> {
    let mut stage = Stage::start().await?;
    let probes = listening(&stage.pair.sidecar_log(), "probes").context("no listener for probes")?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let status =
        async |path: &str| anyhow::Ok(http.get(format!("http://{probes}{path}")).send().await?.status().as_u16());
    assert_eq!((status("/livez").await?, status("/readyz").await?, status("/metrics").await?), (200, 200, 404));
    // Asked to stop, it finishes what is under way, and says so to the probes.
    let slow = tokio::spawn({
        let alice = stage.caller("alice")?;
        async move { alice.embed("fault-slow-1500", json!("The quick brown fox")).await }
    });
    let under_way =
        async || Ok((stage.pair.metrics().await?.value("vectoll_reservations", &[]) == Some(1.0)).then_some(()));
    stage.pair.wait_for("the call to be under way", DEADLINE, under_way).await?;
    assert!(stage.pair.terminate_sidecar().await?.success());
    assert_eq!(slow.await??.status, 200);
    Ok(())
}
