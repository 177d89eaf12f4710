//! The key of an injected pod: its containers hold a placeholder that only their own sidecar understands, or nothing.

#![allow(clippy::indexing_slicing, reason = "a test")]

use std::time::Duration;

use serde_json::{Value, json};
use vectoll_tests::{
    caller::{Answer, Caller},
    manifest::{api_key, builtin, file, key_value, team},
    pair::{Pair, Setup},
};

/// What the operator sets as `OPENAI_API_KEY`.
const PLACEHOLDER: &str = "vectoll-pod-key";
/// How long an edit may take to be in force.
const EDIT: Duration = Duration::from_secs(10);

fn world(alice: Vec<Value>) -> String {
    let mut all = vec![team("search", json!({})), builtin("builtin", &["builtin"])];
    all.extend(api_key("bob", "search", json!({})));
    all.extend(alice);
    file(all)
}

async fn started(alice: Vec<Value>, arguments: &[&str]) -> anyhow::Result<Pair> {
    let mut setup = Setup::built()?;
    setup.sidecar_arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    Pair::start_with(setup, &[("world.yaml", world(alice))]).await
}

async fn without_a_key(caller: &Caller) -> anyhow::Result<Answer> {
    let body = json!({"model": "builtin", "input": "a"});
    caller.raw(|http, url| http.post(format!("{url}/v1/embeddings")).json(&body)).await
}

#[tokio::test]
async fn a_pods_calls_are_its_own_keys_through_rotation_suspension_and_deletion() -> anyhow::Result<()> {
    let alice = |spec| api_key("alice", "search", spec);
    let pair = started(alice(json!({})), &["--pod-api-key", "default/alice", "--keyless"]).await?;
    let caller = Caller::new(&pair.base_url(), PLACEHOLDER)?;
    let embed = async || caller.embed("builtin", json!("a")).await;
    let requests = async |key: &str| {
        anyhow::Ok(pair.metrics().await?.sum("vectoll_key_requests_total", &[("key", key)]).to_string())
    };

    assert_eq!(embed().await?.status, 200);
    assert_eq!(without_a_key(&caller).await?.status, 200, "keyless");
    assert_eq!(caller.with_key(&key_value("alice")).embed("builtin", json!("a")).await?.status, 200);
    assert_eq!(requests("default/alice").await?, "3", "all three are the same key's");
    assert_eq!(caller.with_key(&key_value("bob")).embed("builtin", json!("a")).await?.status, 200);
    assert_eq!((requests("default/alice").await?, requests("default/bob").await?), ("3".into(), "1".into()));

    // Rotated: the value that nobody in the pod holds is another one, and the pod does not notice.
    let mut rotated = alice(json!({}));
    rotated[1]["stringData"]["key"] = json!("sk-test-rotated-0123456789abcdef");
    pair.write_manifest("world.yaml", &world(rotated))?;
    let old = caller.with_key(&key_value("alice"));
    pair.wait_for("the old value to be refused", EDIT, async || {
        Ok((old.embed("builtin", json!("a")).await?.status == 401).then_some(()))
    })
    .await?;
    assert_eq!(embed().await?.status, 200);
    assert_eq!(without_a_key(&caller).await?.status, 200);

    for (changed, words) in [
        (alice(json!({"suspended": true})), "is suspended"),
        (alice(json!({"expiresAt": "2020-01-01T00:00:00Z"})), "has expired"),
        (Vec::new(), "is unknown here or was deleted"),
    ] {
        pair.write_manifest("world.yaml", &world(changed))?;
        let words = format!("ApiKey default/alice, which this pod's annotation vectoll.dev/api-key names, {words}");
        pair.wait_for(&words, EDIT, async || {
            let (answer, keyless) = (embed().await?, without_a_key(&caller).await?);
            Ok((answer.status == 401 && answer.message().contains(&words) && keyless.message().contains(&words))
                .then_some(()))
        })
        .await?;
    }
    assert_eq!(caller.with_key(&key_value("bob")).embed("builtin", json!("a")).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn without_keyless_a_key_must_be_sent() -> anyhow::Result<()> {
    let pair = started(api_key("alice", "search", json!({})), &["--pod-api-key", "default/alice"]).await?;
    let caller = Caller::new(&pair.base_url(), PLACEHOLDER)?;
    assert_eq!(caller.embed("builtin", json!("a")).await?.status, 200);
    assert_eq!(without_a_key(&caller).await?.status, 401);
    Ok(())
}

#[tokio::test]
async fn elsewhere_the_placeholder_is_no_key_and_says_so() -> anyhow::Result<()> {
    let pair = started(api_key("alice", "search", json!({})), &[]).await?;
    let answer = Caller::new(&pair.base_url(), PLACEHOLDER)?.embed("builtin", json!("a")).await?;
    assert_eq!((answer.status, answer.code()), (401, "invalid_api_key"));
    assert!(answer.message().contains("only stands in for a key in a pod"), "{}", answer.message());
    assert_eq!(without_a_key(&Caller::new(&pair.base_url(), PLACEHOLDER)?).await?.status, 401);
    Ok(())
}
