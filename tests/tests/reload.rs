//! Edits take effect at once, mistakes change nothing, and nothing that was counted is lost.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a test"
)]

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use vectoll_config::KeyHash;
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, builtin, file, key_value, resource, route, team},
    pair::Pair,
    provider::{Options, Provider},
};

/// What the issue allows is a second; a busy machine gets five.
const DEADLINE: Duration = Duration::from_secs(5);

fn manifests(limit: u64) -> String {
    let mut all = vec![team("search", json!({})), builtin("builtin", &["builtin"])];
    all.extend(api_key("alice", "search", json!({"limits": {"requestsPerMinute": limit}})));
    file(all)
}

async fn stage(limit: u64) -> anyhow::Result<(Pair, Caller)> {
    let pair = Pair::start(&[("all.yaml", manifests(limit))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, caller))
}

async fn status(caller: &Caller) -> anyhow::Result<u16> {
    Ok(caller.embed("builtin", json!("a")).await?.status)
}

#[tokio::test]
async fn an_edit_reaches_the_answers_and_keeps_what_was_counted() -> anyhow::Result<()> {
    let (pair, caller) = stage(2).await?;
    assert_eq!((status(&caller).await?, status(&caller).await?, status(&caller).await?), (200, 200, 429));
    let edited = Instant::now();
    pair.write_manifest("all.yaml", &manifests(4))?;
    pair.wait_for("the raised limit", DEADLINE, async || Ok((status(&caller).await? == 200).then_some(()))).await?;
    println!("an edit took {} ms to reach the answers", edited.elapsed().as_millis());
    // Three of four are used: the reload has reset nothing.
    assert_eq!((status(&caller).await?, status(&caller).await?), (200, 429));
    // Lowered, it holds at once as well.
    pair.write_manifest("all.yaml", &manifests(1))?;
    let lowered = async || {
        let answer = caller.embed("builtin", json!("a")).await?;
        Ok(answer.message().contains("1 requests per minute, 4 used").then_some(()))
    };
    pair.wait_for("the lowered limit", DEADLINE, lowered).await
}

#[tokio::test]
async fn a_deleted_key_is_refused_and_a_new_one_works() -> anyhow::Result<()> {
    let (pair, caller) = stage(100).await?;
    let mut more = vec![];
    more.extend(api_key("bob", "search", json!({})));
    let bob = caller.with_key(&key_value("bob"));
    assert_eq!(status(&bob).await?, 401);
    let added = Instant::now();
    pair.write_manifest("bob.yaml", &file(more))?;
    pair.wait_for("the new key", DEADLINE, async || Ok((status(&bob).await? == 200).then_some(()))).await?;
    println!("a new key took {} ms to its first answer", added.elapsed().as_millis());
    let removed = Instant::now();
    pair.remove_manifest("bob.yaml")?;
    pair.wait_for("the revoked key", DEADLINE, async || Ok((status(&bob).await? == 401).then_some(()))).await?;
    println!("a deleted key took {} ms to be refused", removed.elapsed().as_millis());
    assert_eq!(status(&caller).await?, 200);
    Ok(())
}

/// As LiteLLM keeps its keys: the value is nowhere but with whoever calls.
#[tokio::test]
async fn a_key_of_which_only_the_hash_is_known_works_with_its_value() -> anyhow::Result<()> {
    let (pair, _) = stage(100).await?;
    let value = "sk-handed-out-by-another-proxy";
    let by_hash = |value: &str| {
        let spec =
            json!({"teamRef": {"name": "search"}, "keyHash": format!("sha256:{}", KeyHash::of(value.as_bytes()))});
        file([resource("ApiKey", "moved", spec)])
    };
    let moved = Caller::new(&pair.base_url(), value)?;
    assert_eq!(status(&moved).await?, 401);
    pair.write_manifest("moved.yaml", &by_hash(value))?;
    pair.wait_for("the key", DEADLINE, async || Ok((status(&moved).await? == 200).then_some(()))).await?;
    assert_eq!(pair.metrics().await?.sum("vectoll_key_requests_total", &[("key", "default/moved")]).to_string(), "1");
    assert!(!pair.operator_state_dir().join("secrets/default.moved.yaml").exists(), "no Secret is made");
    // Its hash is no key.
    let hash = KeyHash::of(value.as_bytes()).to_string();
    assert_eq!(status(&moved.with_key(&hash)).await?, 401);
    // Another hash ends it at once.
    pair.write_manifest("moved.yaml", &by_hash("sk-another-value-0123456789"))?;
    pair.wait_for("the end of the first", DEADLINE, async || Ok((status(&moved).await? == 401).then_some(()))).await?;
    assert_eq!(status(&moved.with_key("sk-another-value-0123456789")).await?, 200);
    Ok(())
}

#[tokio::test]
async fn a_mistake_is_named_with_file_and_line_and_changes_nothing() -> anyhow::Result<()> {
    let (pair, caller) = stage(100).await?;
    let good = manifests(100);
    for (text, words) in [
        // A field that does not exist.
        (good.replace("\"requestsPerMinute\"", "\"requestPerMinute\""), "unknown field `requestPerMinute`"),
        // A value that is invalid.
        (
            good.replace("\"requestsPerMinute\": 100", "\"requestsPerMinute\": 0"),
            "spec.limits.requestsPerMinute: must be at least 1",
        ),
        // Not YAML.
        (good.replace("\"requestsPerMinute\": 100", "\"requestsPerMinute\": [100"), "not a Kubernetes object"),
        // Half of a file.
        (good[..good.find("requestsPerMinute").unwrap_or_default()].to_owned(), "not a Kubernetes object"),
        // A rule over two fields.
        (good.replace("\"secretRef\"", "\"secretName\": \"x\", \"secretRef\""), "set one of them"),
    ] {
        assert_ne!(text, good, "{words}");
        let before = pair.operator_log().len();
        pair.write_manifest("all.yaml", &text)?;
        let told = async || {
            let log = pair.operator_log().get(before..).unwrap_or_default().to_owned();
            Ok(log.lines().find(|line| line.contains("manifest refused") && line.contains(words)).map(str::to_owned))
        };
        let line = pair.wait_for(words, DEADLINE, told).await?;
        assert!(line.contains("all.yaml:"), "file and line: {line}");
        assert_eq!(status(&caller).await?, 200, "the last good version is in force");
        let before = pair.operator_log().len();
        pair.write_manifest("all.yaml", &good)?;
        let mended = async || Ok(pair.operator_log()[before..].contains("in order again").then_some(()));
        pair.wait_for("the mended manifest to be told", DEADLINE, mended).await?;
    }
    assert_eq!(pair.metrics().await?.value("vectoll_config_stale", &[]), Some(0.0));
    Ok(())
}

#[tokio::test]
async fn a_bad_manifest_leaves_the_others_alone() -> anyhow::Result<()> {
    let (pair, caller) = stage(100).await?;
    pair.write_manifest("bad.yaml", "apiVersion: vectoll.dev/v1alpha1\nkind: Team\nmetadata: {name: x}\nspec: {budget: {limit: ten, period: Daily}}\n")?;
    let told = async || {
        Ok(pair.operator_log().contains("spec.budget.limit: \\\"ten\\\" is not a decimal amount").then_some(()))
    };
    pair.wait_for("the mistake to be named", DEADLINE, told).await?;
    let mut more = vec![];
    more.extend(api_key("bob", "search", json!({})));
    pair.write_manifest("bob.yaml", &file(more))?;
    let bob = caller.with_key(&key_value("bob"));
    pair.wait_for("the good one beside it", DEADLINE, async || Ok((status(&bob).await? == 200).then_some(()))).await
}

#[tokio::test]
async fn a_folder_that_vanishes_takes_nothing_with_it() -> anyhow::Result<()> {
    let (pair, caller) = stage(100).await?;
    let aside = pair.manifests_dir().with_extension("aside");
    fs::rename(pair.manifests_dir(), &aside)?;
    let told = async || Ok(pair.operator_log().contains("failed to read the folder").then_some(()));
    pair.wait_for("the vanished folder to be told", DEADLINE, told).await?;
    assert_eq!(status(&caller).await?, 200);
    fs::rename(&aside, pair.manifests_dir())?;
    let mut more = vec![];
    more.extend(api_key("bob", "search", json!({})));
    pair.write_manifest("bob.yaml", &file(more))?;
    let bob = caller.with_key(&key_value("bob"));
    pair.wait_for("edits to count again", DEADLINE, async || Ok((status(&bob).await? == 200).then_some(()))).await?;

    // The sidecar's folder likewise: the operator writes it anew.
    fs::remove_dir_all(pair.config_dir())?;
    let stale = async || {
        Ok((pair.metrics().await?.value("vectoll_config_reloads_total", &[("result", "refused")]) >= Some(1.0))
            .then_some(()))
    };
    pair.wait_for("the sidecar to miss its folder", DEADLINE, stale).await?;
    assert_eq!(status(&caller).await?, 200);
    let fresh = async || Ok((pair.metrics().await?.value("vectoll_config_stale", &[]) == Some(0.0)).then_some(()));
    pair.wait_for("the config to be back", DEADLINE, fresh).await?;
    assert_eq!(status(&caller).await?, 200);
    Ok(())
}

#[tokio::test]
async fn a_config_that_cannot_be_served_is_refused_whole() -> anyhow::Result<()> {
    let (mut pair, caller) = stage(100).await?;
    pair.stop_operator().await?;
    let path = pair.config_dir().join("config.v1.yaml");
    let good = fs::read_to_string(&path)?;
    for (text, words) in [
        (good.replace(r#""weight":1"#, r#""weight":"heavy""#), "routes[0].backends[0].weight"),
        (good.replace(r#""version":"v1""#, r#""version":"v9""#), "version"),
        (good[..good.len() - 20].to_owned(), "line"),
    ] {
        let before = pair.sidecar_log().len();
        fs::write(&path, &text)?;
        let told = async || {
            Ok(pair.sidecar_log()[before..].lines().find(|line| line.contains("config refused")).map(str::to_owned))
        };
        let line = pair.wait_for("the refusal", DEADLINE, told).await?;
        assert!(line.contains(words), "{line}");
        assert_eq!(pair.metrics().await?.value("vectoll_config_stale", &[]), Some(1.0));
        assert_eq!(status(&caller).await?, 200);
        assert_eq!(pair.admin_status("/readyz").await?, 200);
    }
    Ok(())
}

#[tokio::test]
async fn a_changed_credential_is_used_from_the_next_call_on() -> anyhow::Result<()> {
    use vectoll_tests::{
        manifest::{PROVIDER_KEY, route},
        provider::{Options, Provider},
    };
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["text-embedding-3-small"], &provider.url()));
    all.extend(api_key("alice", "search", json!({})));
    let good = file(all);
    let pair = Pair::start(&[("all.yaml", good.replace(PROVIDER_KEY, "sk-an-old-one"))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    assert_eq!(caller.embed("text-embedding-3-small", json!("a")).await?.status, 502);
    pair.write_manifest("all.yaml", &good)?;
    let works = async || Ok((caller.embed("text-embedding-3-small", json!("a")).await?.status == 200).then_some(()));
    pair.wait_for("the new credential", DEADLINE, works).await?;
    // Emptied, it is a condition, and the route's callers get 503, not somebody else's backend.
    pair.write_manifest("zz.yaml", &file([builtin("catch-all", &["*"])]))?;
    pair.write_manifest("all.yaml", &good.replace(PROVIDER_KEY, ""))?;
    let held = async || Ok((caller.embed("text-embedding-3-small", json!("a")).await?.status == 503).then_some(()));
    pair.wait_for("the route to keep its name", DEADLINE, held).await?;
    assert!(pair.operator_log().contains("SecretKeyMissing"));
    Ok(())
}

#[tokio::test]
async fn a_generated_key_goes_with_its_apikey_and_is_put_aside() -> anyhow::Result<()> {
    let (pair, _caller) = stage(100).await?;
    let manifest = file([resource("ApiKey", "made", json!({"teamRef": {"name": "search"}}))]);
    let secret = pair.operator_state_dir().join("secrets/default.made.yaml");
    let read = async || Ok(fs::read_to_string(&secret).ok());
    pair.write_manifest("made.yaml", &manifest)?;
    let first = pair.wait_for("the key to be made", DEADLINE, read).await?;
    // Taken away and put back at once, as editors do: nothing is lost.
    pair.remove_manifest("made.yaml")?;
    let gone = async || {
        Ok(pair
            .operator_log()
            .lines()
            .any(|line| line.contains("gone") && line.contains("ApiKey default/made"))
            .then_some(()))
    };
    pair.wait_for("the key to be gone", DEADLINE, gone).await?;
    pair.write_manifest("made.yaml", &manifest)?;
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(fs::read_to_string(&secret)?, first);
    // Gone for good: put aside, and a new one is made for a new ApiKey.
    pair.remove_manifest("made.yaml")?;
    let aside = async || Ok((!secret.exists()).then_some(()));
    pair.wait_for("the key to be put aside", Duration::from_secs(30), aside).await?;
    let removed = pair.operator_state_dir().join("secrets/removed");
    let kept = fs::read_dir(removed)?.next().transpose()?.map(|entry| fs::read_to_string(entry.path())).transpose()?;
    assert_eq!(kept.as_ref(), Some(&first));
    pair.write_manifest("made.yaml", &manifest)?;
    let second = pair.wait_for("the new key", DEADLINE, read).await?;
    assert_ne!(second, first);
    Ok(())
}

/// A route with two backends, or the second alone, at a provider that serves nobody; and a cache.
fn two_backends(provider: &Provider, first: bool, limit: u64) -> String {
    let mut all = vec![team("search", json!({}))];
    let mut routes = route("openai", &["fault-503"], &provider.url());
    let spec = &mut routes[0]["spec"];
    let mut second = spec["backends"][0].clone();
    second["name"] = json!("second");
    spec["backends"] = Value::Array(if first { vec![spec["backends"][0].clone(), second] } else { vec![second] });
    spec["retry"] = json!({"attempts": 1, "budgetPercent": 1});
    spec["cooldown"] = json!({"failures": 1, "seconds": 3600});
    spec["cache"] = json!({});
    all.extend(routes);
    all.extend(api_key("alice", "search", json!({"limits": {"requestsPerMinute": limit}})));
    file(all)
}

#[tokio::test]
async fn retries_are_not_filled_up_and_what_is_gone_has_no_cooldown() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let pair = Pair::start(&[("all.yaml", two_backends(&provider, true, 1_000))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let retries = async || anyhow::Ok(pair.metrics().await?.sum("vectoll_retries_total", &[]));
    for _ in 0..20 {
        assert_eq!(caller.embed("fault-503", json!("text")).await?.status, 502);
    }
    assert_eq!(retries().await?, 10.0, "all that there are");
    let cooling = async || {
        let metrics = pair.metrics().await?;
        let gauges = metrics.samples("vectoll_backend_cooldown", &[]);
        anyhow::Ok(gauges.map(|gauge| (gauge.labels["backend"].clone(), gauge.value)).collect::<Vec<_>>())
    };
    let told = |backend: &str| (format!("default/openai/{backend}"), 1.0);
    assert_eq!(cooling().await?, [told("second"), told("test")], "and nothing of the cache, which is no backend");
    let edited = async |text: String| {
        let generation = async || anyhow::Ok(pair.metrics().await?.value("vectoll_config_generation", &[]));
        let before = generation().await?;
        pair.write_manifest("all.yaml", &text)?;
        pair.wait_for("the edit", DEADLINE, async || Ok((generation().await? != before).then_some(()))).await
    };
    edited(two_backends(&provider, true, 1_001)).await?;
    for _ in 0..20 {
        assert_eq!(caller.embed("fault-503", json!("text")).await?.status, 502);
    }
    assert_eq!(retries().await?, 10.0, "the edit of a key has brought none");
    assert_eq!(cooling().await?, [told("second"), told("test")]);
    edited(two_backends(&provider, false, 1_001)).await?;
    assert_eq!(cooling().await?, [told("second")]);
    let attempts = pair.metrics().await?.sum("vectoll_backend_attempts_total", &[]);
    assert_eq!(attempts, 50.0, "counters stay");
    Ok(())
}
