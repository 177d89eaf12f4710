//! Tokens of the real API server at a real gateway: whose are taken, and what the others are told.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};
use vectoll_tests::caller::Answer;

use crate::{
    cluster::{Cluster, DEADLINE},
    gateway::{directly, platform, serves, switch_on},
    load::{Ask, Way},
    upstream::Upstream,
};

const NS: &str = "e2e-tokens";
const OTHER: &str = "e2e-tokens-other";
const PLATFORM: &str = "e2e-tokens-platform";

/// Each that is not right is refused with its message.
pub fn refused(cluster: &Cluster) -> anyhow::Result<()> {
    switch_on(cluster)?;
    let upstream = Upstream::start(cluster, "e2e-tokens-provider")?;
    platform(cluster, PLATFORM, &upstream, &[("text", "{}")])?;
    for namespace in [NS, OTHER] {
        cluster.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}\n---\n{{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, \
             metadata: {{name: alice, namespace: {namespace}}}, spec: {{teamRef: {{name: text, namespace: {PLATFORM}}}}}}}\n---\n\
             {{apiVersion: v1, kind: ServiceAccount, metadata: {{name: app, namespace: {namespace}}}}}"
        ))?;
        // Whatever runs there: a token is bound to a pod by its name and UID.
        cluster.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: app, namespace: {namespace}}}, spec: {{serviceAccountName: app, \
             terminationGracePeriodSeconds: 1, containers: [{{name: app, image: 'curlimages/curl:local', imagePullPolicy: Never, stdin: true, \
             command: [sh, -c, read line]}}]}}}}"
        ))?;
    }
    let direct = directly(cluster)?;
    for namespace in [NS, OTHER] {
        let value = cluster.until("the key", DEADLINE, || Ok(cluster.value(namespace, "alice").ok()))?;
        serves(cluster, &direct, &value)?;
    }
    let tokens = Tokens { cluster, direct };
    let right = tokens.issued(NS, &["--audience=vectoll-gateway", "--duration=10m", POD, NAME])?;
    tokens.is_taken(&right)?;

    let alice = "e2e-tokens/alice";
    let other = tokens.issued(OTHER, &["--audience=vectoll-gateway", POD, NAME])?;
    let audience = tokens.issued(NS, &["--audience=sts.amazonaws.com", POD, NAME])?;
    let api_server = tokens.issued(NS, &[POD, NAME])?;
    let years = tokens.issued(NS, &["--audience=vectoll-gateway", "--duration=87600h", POD, NAME])?;
    let podless = tokens.issued(NS, &["--audience=vectoll-gateway", "--duration=10m"])?;
    let signer = Signer::of_the_cluster(&right)?;
    let expired = signer.sign(&with(&right, |claims| {
        for time in ["exp", "iat", "nbf"] {
            claims[time] = json!(claims[time].as_i64().unwrap_or_default() - 3_600);
        }
    })?)?;
    let forged = Signer::stranger(&right)?.sign(&claims(&right)?)?;
    let (head, signature) = right.rsplit_once('.').context("no token")?;
    let (header, _) = head.split_once('.').context("no token")?;
    let renamed = with(&right, |claims| claims["kubernetes.io"]["namespace"] = json!(OTHER))?;
    let altered = format!("{header}.{}.{signature}", encoded(renamed.to_string()));
    let unsigned = format!("{}.{}.", encoded(json!({"alg": "none"}).to_string()), encoded(claims(&right)?.to_string()));
    let elsewhere = signer.sign(&with(&right, |claims| claims["iss"] = json!("https://other.example"))?)?;
    for (what, token, key, words) in [
        ("expired", &expired, alice, "the pod's token has expired at "),
        ("for another audience", &audience, alice, "the pod's token is for another audience than vectoll-gateway"),
        ("for the API server", &api_server, alice, "the pod's token is for another audience than vectoll-gateway"),
        ("of another namespace", &other, alice, "is of the namespace e2e-tokens-other"),
        ("for another namespace's key", &right, "e2e-tokens-other/alice", "is of the namespace e2e-tokens"),
        ("good for years", &years, alice, "the pod's token is good for more than an hour"),
        ("of no pod", &podless, alice, "the pod's token is not bound to a pod"),
        ("signed by a stranger", &forged, alice, "the pod's token is not signed by a key of this cluster's"),
        ("altered", &altered, "e2e-tokens-other/alice", "the pod's token is not signed by a key of this cluster's"),
        ("unsigned", &unsigned, alice, "the pod's token is not signed by a key of this cluster's"),
        ("of another cluster", &elsewhere, alice, "which is not this gateway's cluster"),
        ("none at all", &"a.b.c".to_owned(), alice, "the pod's token is none that a cluster issues for a pod"),
        ("right, for a key that is not there", &right, "e2e-tokens/nobody", "ApiKey e2e-tokens/nobody"),
    ] {
        let answer = tokens.call(token, key)?;
        ensure!((answer.status, answer.code()) == (401, "invalid_api_key"), "a token that is {what}: {answer:?}");
        ensure!(answer.message().contains(words), "a token that is {what}: {}", answer.message());
        ensure!(answer.header("retry-after").is_none(), "a token that is {what}: {answer:?}");
    }
    ensure!(upstream.account().requests == 1, "{:?}", upstream.account());
    // What is not right about those is the one thing that was changed: put right, they are taken.
    tokens.is_taken(&signer.sign(&claims(&right)?)?)?;

    // A pod that is gone: its token goes on to its end, as the page says, and so does nobody's that asks for one now.
    cluster.kubectl(&["delete", "pod", "app", "-n", NS, "--now"])?;
    let gone = tokens.issued(NS, &["--audience=vectoll-gateway", POD, NAME]);
    ensure!(gone.is_err(), "the API server issues tokens for a pod that is gone");
    tokens.is_taken(&right)?;
    // And the key's own end is the end for every token.
    cluster.kubectl(&[
        "patch",
        "apikey",
        "alice",
        "-n",
        NS,
        "--type=merge",
        "-p",
        "{\"spec\": {\"suspended\": true}}",
    ])?;
    cluster.until("the suspension", DEADLINE, || {
        let answer = tokens.call(&right, alice)?;
        Ok((answer.status == 401 && answer.message().contains("suspended")).then_some(()))
    })
}

const POD: &str = "--bound-object-kind=Pod";
const NAME: &str = "--bound-object-name=app";

struct Tokens<'a> {
    cluster: &'a Cluster,
    direct: Way,
}

impl Tokens<'_> {
    /// A token of the service account `app`, by the API server (`TokenRequest`).
    fn issued(&self, namespace: &str, more: &[&str]) -> anyhow::Result<String> {
        let token = self.cluster.kubectl(&[&["create", "token", "app", "-n", namespace], more].concat())?;
        Ok(token.trim().to_owned())
    }

    fn call(&self, token: &str, key: &str) -> anyhow::Result<Answer> {
        self.direct.ask(&Ask::with_token("text", token, key))
    }

    fn is_taken(&self, token: &str) -> anyhow::Result<()> {
        let answer = self.call(token, "e2e-tokens/alice")?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.message());
        Ok(())
    }
}

/// Whoever signs tokens with a key of theirs, under the name of the cluster's.
struct Signer {
    header: String,
    pair: EcdsaKeyPair,
}

impl Signer {
    /// The cluster itself, for tokens that its API server would not issue: it lets none be shorter than ten minutes.
    fn of_the_cluster(token: &str) -> anyhow::Result<Self> {
        let state = std::env::var("VECTOLL_CLUSTER_DIR").unwrap_or_else(|_| "/var/lib/vectoll-cluster".to_owned());
        let file = PathBuf::from(state).join("pki/sa.key");
        let key = Command::new("openssl")
            .args(["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in"])
            .arg(&file)
            .output()?;
        ensure!(key.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&key.stderr));
        Self::with(token, &key.stdout)
    }

    fn stranger(token: &str) -> anyhow::Result<Self> {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Self::with(token, made.ok().context("no key")?.as_ref())
    }

    fn with(token: &str, key: &[u8]) -> anyhow::Result<Self> {
        let header = token.split('.').next().context("no token")?.to_owned();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key, &SystemRandom::new());
        Ok(Self { header, pair: pair.ok().context("the key cannot be read")? })
    }

    fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        let head = format!("{}.{}", self.header, encoded(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), head.as_bytes()).ok().context("it is not signed")?;
        Ok(format!("{head}.{}", encoded(signature)))
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// What a token says.
fn claims(token: &str) -> anyhow::Result<Value> {
    let claims = token.split('.').nth(1).context("no token")?;
    Ok(serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims)?)?)
}

/// The same, with an edit.
fn with(token: &str, edit: impl FnOnce(&mut Value)) -> anyhow::Result<Value> {
    let mut claims = claims(token)?;
    edit(&mut claims);
    Ok(claims)
}
