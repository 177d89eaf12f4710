//! Pods that call the gateway through their sidecars, without a key in hand: by the token that the cluster issues for each of them.

use serde_json::{Value, json};
use tempfile::TempDir;
use vectoll_tests::{
    caller::{Answer, Caller},
    manifest::{file, key_value},
    pair::Pair,
};

use crate::{
    cluster::{Cluster, claims},
    passed_on::{MODEL, sidecar},
    stage::{DEADLINE, Stage, api_key},
};

/// A gateway that knows the cluster's keys, and a pod of `shop` whose own key is alice's.
struct Pods {
    stage: Stage,
    cluster: Cluster,
    sidecar: Pair,
    tokens: TempDir,
    /// Of the gateway.
    caller: Caller,
}

impl Pods {
    async fn start() -> anyhow::Result<Self> {
        let (stage, cluster, tokens) = (Stage::start_with(1_000).await?, Cluster::new()?, tempfile::tempdir()?);
        std::fs::write(stage.pair.config_dir().join("_issuer"), cluster.issuer().to_string())?;
        let known = async || Ok(stage.pair.sidecar_log().contains("signs the tokens of pods were read").then_some(()));
        stage.pair.wait_for("the issuer", DEADLINE, known).await?;
        let folder = tokens.path().display().to_string();
        let arguments = ["--pod-api-key", "shop/alice", "--keyless", "--identity-dir", &folder];
        let sidecar = sidecar(&stage, &stage.certificate, &arguments).await?;
        let caller = stage.caller("alice")?;
        Ok(Self { stage, cluster, sidecar, tokens, caller })
    }

    /// What the kubelet puts there.
    fn token(&self, claims: &Value) -> anyhow::Result<()> {
        Ok(std::fs::write(self.tokens.path().join("gateway"), self.cluster.sign(claims)?)?)
    }

    /// A call of the pod's, with the placeholder.
    async fn call(&self) -> anyhow::Result<Answer> {
        Caller::new(&self.sidecar.base_url(), "vectoll-pod-key")?.embed(MODEL, json!("a")).await
    }

    /// A call to the gateway, past the sidecar, as somebody who has read the token.
    async fn direct(&self, token: &str, key: &str) -> anyhow::Result<Answer> {
        let body = json!({"model": MODEL, "input": "a"});
        self.caller
            .raw(|http, url| {
                let request = http.post(format!("{url}/v1/embeddings")).json(&body);
                request.header("x-vectoll-pod-token", token).header("x-vectoll-pod-key", key)
            })
            .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pods_calls_are_its_own_keys_by_its_token() -> anyhow::Result<()> {
    let pods = Pods::start().await?;
    assert_eq!(pods.call().await?.status, 401, "there is no token yet");
    pods.token(&claims("shop"))?;
    let answer = pods.call().await?;
    assert_eq!(answer.status, 200, "{}", answer.message());
    let body = json!({"model": MODEL, "input": "a"});
    let keyless = Caller::new(&pods.sidecar.base_url(), "")?
        .raw(|http, url| http.post(format!("{url}/v1/embeddings")).json(&body))
        .await?;
    assert_eq!(keyless.status, 200, "{}", keyless.message());
    // Who sends a key means it, and nobody sends a token through a sidecar but the sidecar.
    let with_key = Caller::new(&pods.sidecar.base_url(), &key_value("alice"))?;
    let smuggled = [("x-vectoll-pod-token", "a.b.c"), ("x-vectoll-pod-key", "crm/bob")];
    assert_eq!(with_key.post("/v1/embeddings", &body, &smuggled).await?.status, 200);
    let metrics = pods.stage.pair.at_rest().await?;
    assert_eq!(metrics.sum("vectoll_key_requests_total", &[("key", "shop/alice")]), 3.0);
    // A token that is renewed is read anew.
    pods.token(&json!({"exp": 1}))?;
    let expired = async || Ok((pods.call().await?.status == 401).then_some(()));
    pods.stage.pair.wait_for("the token of now", DEADLINE, expired).await?;
    pods.token(&claims("shop"))?;
    assert_eq!(pods.call().await?.status, 200, "one that was refused is not taken again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_token_that_is_not_right_is_refused_with_its_reason() -> anyhow::Result<()> {
    let pods = Pods::start().await?;
    let other = Cluster::new()?;
    let with = |field: &str, value: Value| {
        let mut claims = claims("shop");
        claims[field] = value;
        claims
    };
    let sign = |claims: &Value| pods.cluster.sign(claims);
    let right = sign(&claims("shop"))?;
    assert_eq!(pods.direct(&right, "shop/alice").await?.status, 200);
    for (token, key, reason, words) in [
        (sign(&with("exp", json!(1_000)))?, "shop/alice", "pod_token_expired", "the pod's token has expired at"),
        (
            sign(&with("aud", json!(["sts.amazonaws.com"])))?,
            "shop/alice",
            "pod_token_audience",
            "is for another audience",
        ),
        (sign(&claims("crm"))?, "shop/alice", "pod_token_namespace", "is of the namespace crm"),
        (right.clone(), "crm/bob", "pod_token_namespace", "is of the namespace shop"),
        (other.sign(&claims("shop"))?, "shop/alice", "pod_token_forged", "is not signed by a key of this cluster's"),
        (
            sign(&with("iss", json!("https://other.example")))?,
            "shop/alice",
            "pod_token_issuer",
            "which is not this gateway's cluster",
        ),
        ("no.token.atall".to_owned(), "shop/alice", "pod_token_malformed", "is none that a cluster issues"),
        (right.clone(), "shop/carol", "unknown", "ApiKey shop/carol"),
    ] {
        let answer = pods.direct(&token, key).await?;
        assert_eq!((answer.status, answer.code()), (401, "invalid_api_key"), "{reason}");
        assert!(answer.message().contains(words), "{words}: {}", answer.message());
        let metrics = pods.stage.pair.metrics().await?;
        assert!(metrics.sum("vectoll_rejections_total", &[("scope", "key"), ("reason", reason)]) >= 1.0, "{reason}");
    }
    // Each counts as a wrong key of its address.
    let mut told = 0;
    while pods.direct("no.token.atall", "shop/alice").await?.status == 401 {
        told += 1;
        assert!(told < 150, "nobody is told what is wrong for ever");
    }
    let served = async || Ok((pods.direct(&right, "shop/alice").await?.status == 200).then_some(()));
    pods.stage.pair.wait_for("one that is right to be served all the same", DEADLINE, served).await?;
    // A key that is suspended is, whoever calls.
    let suspended = file(api_key("shop", "alice", json!({"suspended": true})));
    pods.stage.pair.write_manifest("alice.yaml", &suspended)?;
    let refused = async || {
        let answer = pods.direct(&right, "shop/alice").await?;
        Ok((answer.status == 401 || answer.status == 429).then_some(answer))
    };
    pods.stage.pair.wait_for("the suspension", DEADLINE, refused).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_the_cluster_signs_by_rotate() -> anyhow::Result<()> {
    let pods = Pods::start().await?;
    let next = Cluster::new()?;
    pods.token(&claims("shop"))?;
    assert_eq!(pods.call().await?.status, 200);
    let file = pods.stage.pair.config_dir().join("_issuer");
    std::fs::write(&file, "{")?;
    let told = async || Ok(pods.stage.pair.sidecar_log().contains("the last one stays").then_some(()));
    pods.stage.pair.wait_for("the refusal", DEADLINE, told).await?;
    assert_eq!(pods.call().await?.status, 200, "what cannot be read changes nothing");
    std::fs::write(&file, next.issuer().to_string())?;
    let rotated = async || Ok((pods.call().await?.status == 401).then_some(()));
    pods.stage.pair.wait_for("the new key", DEADLINE, rotated).await?;
    std::fs::write(pods.tokens.path().join("gateway"), next.sign(&claims("shop"))?)?;
    let answer = pods.call().await?;
    assert_eq!(answer.status, 200, "{}", answer.message());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_the_gateway_does_not_know_yet_is_waited_for() -> anyhow::Result<()> {
    let pods = Pods::start().await?;
    let next = Cluster::with_key("two")?;
    std::fs::write(pods.tokens.path().join("gateway"), next.sign(&claims("shop"))?)?;
    let answer = pods.call().await?;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{}", answer.message());
    assert!(answer.message().contains("signed by a key that this gateway does not know yet"), "{}", answer.message());
    std::fs::write(pods.stage.pair.config_dir().join("_issuer"), next.issuer().to_string())?;
    let known = async || Ok((pods.call().await?.status == 200).then_some(()));
    pods.stage.pair.wait_for("the new key", DEADLINE, known).await?;
    // A token that nobody has issued lately is somebody's who makes keys up.
    let mut old = claims("shop");
    let now = jiff::Timestamp::now().as_second();
    (old["iat"], old["nbf"], old["exp"]) = (json!(now - 1_000), json!(now - 1_000), json!(now + 600));
    let other = Cluster::with_key("three")?;
    let answer = pods.direct(&other.sign(&old)?, "shop/alice").await?;
    assert_eq!(answer.status, 401, "{}", answer.message());
    // Nor does anybody learn for nothing that it is waited for.
    limited(&pods.caller, &other.sign(&claims("shop"))?, 503).await
}

/// A token that is not right is told so for a while, and then its address is limited.
async fn limited(caller: &Caller, token: &str, status: u16) -> anyhow::Result<()> {
    let body = json!({"model": MODEL, "input": "a"});
    for _ in 0..200 {
        let answer = caller
            .raw(|http, url| {
                let request = http.post(format!("{url}/v1/embeddings")).json(&body);
                request.header("x-vectoll-pod-token", token).header("x-vectoll-pod-key", "shop/alice")
            })
            .await?;
        if answer.status == 429 {
            assert!(answer.message().starts_with("Rate limit exceeded for address"), "{}", answer.message());
            return Ok(());
        }
        assert_eq!(answer.status, status, "{}", answer.message());
    }
    anyhow::bail!("nobody is told {status} for ever")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_a_cluster_takes_no_tokens_and_says_so_a_hundred_times() -> anyhow::Result<()> {
    let stage = Stage::start_with(1_000).await?;
    let token = Cluster::new()?.sign(&claims("shop"))?;
    let caller = stage.caller("alice")?;
    let models =
        caller.raw(|http, url| http.get(format!("{url}/v1/models")).header("x-vectoll-pod-token", &token)).await?;
    assert_eq!((models.status, models.code()), (401, "invalid_api_key"), "{}", models.message());
    assert!(models.message().contains("for it serves no cluster"), "{}", models.message());
    limited(&caller, &token, 401).await?;
    limited(&stage.caller("alice")?, &"a.".repeat(5_000), 401).await
}
