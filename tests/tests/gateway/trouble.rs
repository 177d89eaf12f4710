//! What one namespace does to itself is no matter to the others.

use std::{os::unix::fs::symlink, path::Path};

use anyhow::Context;
use serde_json::json;
use vectoll_tests::manifest::{file, key_value};

use crate::stage::{DEADLINE, Stage, api_key, models, setup, status};

/// Swaps a config of a namespace for another one, as the operator does.
fn swap(folder: &Path, edit: impl Fn(String) -> String) -> anyhow::Result<()> {
    let link = folder.join("..data");
    let (from, to) = (folder.join(std::fs::read_link(&link)?), folder.join("..edited"));
    std::fs::create_dir(&to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    let config = to.join("config.v1.yaml");
    std::fs::write(&config, edit(std::fs::read_to_string(&config)?))?;
    symlink("..edited", folder.join("..new"))?;
    std::fs::rename(folder.join("..new"), link)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_config_leaves_its_namespace_the_last_good_one_and_the_others_alone() -> anyhow::Result<()> {
    let mut stage = Stage::start_with(1_000).await?;
    let (alice, bob) = (stage.caller("alice")?, stage.caller("bob")?);
    assert_eq!(status(&bob).await?, 200);
    stage.pair.stop_operator().await?;
    let folder = stage.pair.config_dir().to_owned();
    swap(&folder.join("crm"), |config| config.replace(r#""version":"v1""#, r#""version":"v9""#))?;
    let is_stale = async |namespace: &str| {
        stage.pair.metrics().await.map(|all| all.value("vectoll_config_stale", &[("namespace", namespace)]))
    };
    let told = async || Ok((is_stale("crm").await? == Some(1.0)).then_some(()));
    stage.pair.wait_for("the refusal", DEADLINE, told).await?;
    assert_eq!((status(&bob).await?, is_stale("shop").await?), (200, Some(0.0)), "its last good one stays");
    let log = stage.pair.sidecar_log();
    let line = log.lines().find(|line| line.contains("config refused")).context("it is not told")?;
    assert!(line.contains("\"namespace\":\"crm\""), "{line}");
    // Another namespace's edit is applied meanwhile.
    swap(&folder.join("shop"), |config| config.replace(r#""requestsPerMinute":1000"#, r#""requestsPerMinute":1"#))?;
    let lowered = async || Ok((status(&alice).await? == 429).then_some(()));
    stage.pair.wait_for("the other namespace's edit", DEADLINE, lowered).await?;
    // One that holds another namespace's config is refused as well: its keys would go by another view.
    std::fs::rename(folder.join("shop"), folder.join("other"))?;
    let gone = async || Ok((models(&alice).await? == 401).then_some(()));
    stage.pair.wait_for("the namespace to go", DEADLINE, gone).await?;
    let told = async || Ok((is_stale("other").await? == Some(1.0)).then_some(()));
    stage.pair.wait_for("the refusal", DEADLINE, told).await?;
    assert_eq!(status(&bob).await?, 200);
    // A restart has no last good one: only the namespaces that can be served are.
    std::fs::rename(folder.join("other"), folder.join("shop"))?;
    stage.pair.restart_sidecar().await?;
    let (alice, bob) = (stage.caller("alice")?, stage.caller("bob")?);
    assert_eq!((models(&alice).await?, models(&bob).await?), (200, 401));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_two_namespaces_have_is_nobodys_until_one_of_them_has_another() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    let alice = stage.caller("alice")?;
    // The same name, and so the same value.
    stage.pair.write_manifest("other.yaml", &file(api_key("crm", "alice", json!({}))))?;
    let refused = async || {
        let answer = alice.get("/v1/models").await?;
        Ok((answer.status == 401).then_some(answer))
    };
    let refused = stage.pair.wait_for("both to be refused", DEADLINE, refused).await?;
    assert!(refused.message().contains("ApiKeys of several namespaces hold this value"), "{}", refused.message());
    assert_eq!(stage.pair.metrics().await?.value("vectoll_gateway_ambiguous_keys", &[]), Some(1.0));
    assert!(stage.pair.sidecar_log().contains("two keys hold one value"));
    assert_eq!(status(&stage.caller("bob")?).await?, 200);
    stage.pair.remove_manifest("other.yaml")?;
    stage
        .pair
        .wait_for("the key to be one's", DEADLINE, async || Ok((status(&alice).await? == 200).then_some(())))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_namespace_reaches_what_is_the_gateways_own() -> anyhow::Result<()> {
    let certificate = crate::stage::Certificate::new()?;
    let provider = crate::stage::provider("shop").await?;
    let mut setup = setup(&certificate)?;
    setup.sidecar_arguments.retain(|argument| argument != "--loopback-providers");
    let entra = json!({
        "apiVersion": "vectoll.dev/v1alpha1", "kind": "ModelRoute", "metadata": {"name": "cloud", "namespace": "shop"},
        "spec": {"models": ["cloud"], "backends": [{
            "name": "cloud", "model": "text-embedding-3-small", "price": {"inputPerMillionTokens": "0.02"},
            "openAI": {"workloadIdentity": {"identityProviderID": "idp_0123456789", "serviceAccountID": "svc_0123456789"}},
        }]},
    });
    let manifests = [
        ("shop.yaml", crate::stage::namespace("shop", &provider)),
        ("cloud.yaml", file([entra])),
        ("alice.yaml", file(api_key("shop", "alice", json!({})))),
    ];
    let pair = vectoll_tests::pair::Pair::start_with(setup, &manifests).await?;
    let url = format!("https://127.0.0.1:{}", pair.proxy_address().port());
    let alice = vectoll_tests::caller::Caller::with(certificate.client(&pair)?.build()?, &url, &key_value("alice"));
    for (model, why) in
        [("text-embedding-3-small", "is a loopback address"), ("cloud", "the identity of a gateway's own pod")]
    {
        let answer = alice.embed(model, json!("a")).await?;
        assert_eq!(answer.status, 503, "{:?}", answer.json);
        assert!(pair.sidecar_log().contains(why), "{model}: {:?}", answer.json);
    }
    assert_eq!(provider.account().requests, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_that_most_namespaces_name_is_the_gateways() -> anyhow::Result<()> {
    let mut stage = Stage::start_with(1_000).await?;
    let alice = stage.caller("alice")?;
    stage.pair.stop_operator().await?;
    // Two that were left behind, which count alone, and three that have moved to a store.
    for namespace in ["x", "y", "z"] {
        let folder = stage.pair.config_dir().join(namespace);
        std::fs::create_dir(&folder)?;
        let config = format!(
            "version: v1\ngeneration: 1\nnamespace: {namespace}\nteams: []\nkeys: []\nroutes: []\nstore: {{url: 'redis://127.0.0.1:1'}}\n\
             complete: true\n"
        );
        std::fs::write(folder.join("config.v1.yaml"), config)?;
    }
    let moved = async || {
        let metrics = stage.pair.metrics().await?;
        let value = |namespace| metrics.value("vectoll_config_stale", &[("namespace", namespace)]);
        Ok(["x", "y", "z"].iter().all(|namespace| value(namespace) == Some(0.0)).then_some(()))
    };
    stage.pair.wait_for("those that have moved", DEADLINE, moved).await?;
    assert_eq!(models(&alice).await?, 200, "the keys of the others work as before");
    Ok(())
}
