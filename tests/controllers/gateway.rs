//! The gateway's Secrets, and a gateway that reads them as a kubelet mounts them.

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, api::ListParams};
use nix::sys::signal::Signal;
use vectoll_config::{ISSUER_FILE, read_bundle, read_v1, v1};
use vectoll_tests::{
    caller::Caller,
    cluster::{Light, Operator},
    pair::{binaries::binary, poll, process::Process, sidecar_ready},
    store::{PASSWORD, Store},
};

use crate::{
    config::pod,
    world::{api_key, entry, team_and_key, until},
};

const ARGUMENTS: [&str; 2] = ["--gateway-shards=4", "--gateway-names=gateway.example,localhost"];
/// A deleted key is to be refused within seconds.
const REVOKED: Duration = Duration::from_secs(20);

/// The gateway's Secrets.
async fn shards(client: &Client) -> anyhow::Result<Vec<Secret>> {
    let all = Api::<Secret>::namespaced(client.clone(), "default").list(&ListParams::default()).await?;
    Ok(all.into_iter().filter(|secret| secret.type_.as_deref() == Some("vectoll.dev/gateway-config")).collect())
}

/// All entries.
async fn entries(client: &Client) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let data = shards(client).await?.into_iter().filter_map(|secret| secret.data).flatten();
    Ok(data.map(|(name, content)| (name, content.0)).collect())
}

/// The keys of a namespace's entry, and its other files.
async fn of(client: &Client, namespace: &str) -> anyhow::Result<Option<(Vec<String>, BTreeMap<String, String>)>> {
    let Some(content) = entries(client).await?.remove(namespace) else { return Ok(None) };
    let mut files = read_bundle(&content)?;
    let config = files.remove(v1::FILE).context("no config")?;
    let config = read_v1(std::str::from_utf8(&config)?)?;
    ensure!(config.namespace == namespace, "{}", config.namespace);
    let keys = config.keys.iter().map(|key| key.name.name().to_owned()).collect();
    let text = files.into_iter().map(|(name, content)| (name, String::from_utf8_lossy(&content).into_owned()));
    Ok(Some((keys, text.collect())))
}

/// Puts the entries where a kubelet would, all at once.
fn mount(folder: &Path, version: &str, entries: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    let files = folder.join(version);
    std::fs::create_dir_all(&files)?;
    for (name, content) in entries {
        std::fs::write(files.join(name), content)?;
    }
    std::os::unix::fs::symlink(version, folder.join("..data_tmp"))?;
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data"))?;
    Ok(())
}

async fn versions(client: &Client) -> anyhow::Result<BTreeMap<String, String>> {
    let of = |secret: Secret| Some((secret.metadata.name?, secret.metadata.resource_version?));
    Ok(shards(client).await?.into_iter().filter_map(of).collect())
}

/// Three namespaces with a provider's credential and two routes each.
fn declare(light: &Light) -> anyhow::Result<()> {
    for namespace in ["shop", "crm", "empty"] {
        light.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}"))?;
        light.apply(&format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: provider, namespace: {namespace}}}, stringData: {{key: sk-of-{namespace}}}}}\n\
             ---\n{{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {{name: routes, namespace: {namespace}}}, spec: {{models: \
             [remote], backends: [{{name: one, openAI: {{baseURL: 'https://api.example.com/v1', apiKeySecretRef: {{name: \
             provider}}}}}}]}}}}\n---\n{{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {{name: builtin, namespace: \
             {namespace}}}, spec: {{models: [builtin], backends: [{{name: builtin, builtin: {{}}}}]}}}}"
        ))?;
    }
    Ok(())
}

/// A gateway that reads the folder's `config`, with the certificate that the operator has made; a client that trusts its CA, and where to
/// call.
async fn gateway(client: &Client, folder: &Path, name: &str) -> anyhow::Result<(Process, reqwest::Client, String)> {
    let tls = until("the certificate", async || {
        Ok(Api::<Secret>::namespaced(client.clone(), "default").get_opt("vectoll-gateway-tls").await?)
    })
    .await?;
    for name in ["tls.crt", "tls.key"] {
        std::fs::write(folder.join(name), entry(&tls, name).context("no entry")?)?;
    }
    let mut gateway = Command::new(binary("vectoll-sidecar")?);
    gateway
        .args([
            "--gateway",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--allowed-hosts",
            "gateway.example",
        ])
        .arg("--config-dir")
        .arg(folder.join("config"))
        .arg("--state-dir")
        .arg(folder.join(name))
        .env("VECTOLL_POD_NAME", name)
        .arg("--tls-cert")
        .arg(folder.join("tls.crt"))
        .arg("--tls-key")
        .arg(folder.join("tls.key"))
        .env("VECTOLL_LOG_FORMAT", "json");
    let mut gateway = Process::spawn("vectoll-sidecar", gateway, None)?;
    let (proxy, _) = sidecar_ready(&mut gateway, Duration::from_secs(30)).await?;
    let ca = reqwest::Certificate::from_pem_bundle(entry(&tls, "ca.crt").context("no CA")?.as_bytes())?;
    let http = reqwest::Client::builder().no_proxy().tls_certs_only(ca).resolve("gateway.example", proxy).build()?;
    Ok((gateway, http, format!("https://gateway.example:{}", proxy.port())))
}

/// Another operator takes over and writes nothing that is there already; what has gone meanwhile goes.
async fn takeover(light: &Light, client: &Client, mut operator: Operator, arguments: &[&str]) -> anyhow::Result<()> {
    light.apply(&api_key("shop", "dave", ""))?;
    let dave = async || Ok(of(client, "shop").await?.filter(|(keys, _)| keys == &["dave".to_owned()]));
    until("the entry", dave).await?;
    // What was made last is in force in the namespace as well.
    until("the namespace's own config", async || {
        let own = Api::<Secret>::namespaced(client.clone(), "shop").get("vectoll-sidecar").await?;
        Ok(entry(&own, v1::FILE).filter(|config| config.contains("shop/dave")))
    })
    .await?;
    let before = versions(client).await?;
    operator.end(Signal::SIGTERM).await?;
    let mut operator = Operator::start(light, "two", arguments).await?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    ensure!(versions(client).await? == before, "a new operator writes what is there");
    operator.end(Signal::SIGTERM).await?;
    light.kubectl(&["delete", "namespace", "crm"], None)?;
    let _operator = Operator::start(light, "three", &[arguments, &["--gateway-only"]].concat()).await?;
    until("the entry of a namespace that went while nobody looked to go", async || {
        Ok((!entries(client).await?.contains_key("crm")).then_some(()))
    })
    .await?;
    ensure!(entries(client).await?.contains_key("shop"), "another one went with it");
    // Where only the gateway has credentials, no pod draws them into its namespace, whatever it says of itself.
    light.apply(&pod("shop", "forged"))?;
    let bare = async || {
        let own = Api::<Secret>::namespaced(client.clone(), "shop").get("vectoll-sidecar").await?;
        let config = read_v1(&entry(&own, v1::FILE).context("no config")?)?;
        let is_bare = config.routes.iter().all(|route| route.backends.is_empty()) && config.store.is_none();
        Ok((is_bare && own.data.is_some_and(|data| data.len() == 1)).then_some(config.keys.len()))
    };
    ensure!(until("the namespace's own config without anything to call with", bare).await? == 1);
    let (_, files) = of(client, "shop").await?.context("no entry")?;
    ensure!(files.values().any(|text| text == "sk-of-shop"), "the gateway has lost the credential: {:?}", files.keys());
    ensure!(files.contains_key("store.password"), "the gateway has lost its login");
    Ok(())
}

pub async fn served() -> anyhow::Result<()> {
    let light = Light::start().await?;
    // While the store is away no call is admitted: whoever is served has logged in.
    let store = Store::start().await?;
    let folder = tempfile::tempdir()?;
    let password = folder.path().join("password");
    std::fs::write(&password, format!("{PASSWORD}\n"))?;
    let url = format!("--store-url={}", store.url());
    let password = format!("--store-password-file={}", password.display());
    let arguments = [&ARGUMENTS[..], &[&url, &password, "--on-store-failure=Closed"]].concat();
    let operator = Operator::start(&light, "one", &arguments).await?;
    let client = light.client().await?;
    declare(&light)?;
    light.apply(&team_and_key("shop", "alice", ""))?;
    light.apply(&team_and_key("crm", "bob", ", limits: {requestsPerMinute: 6}"))?;
    // The gateway has the credentials, and the namespace's own Secret has none: nothing is injected there.
    for (namespace, key) in [("shop", "alice"), ("crm", "bob")] {
        let is_there = async || Ok(of(&client, namespace).await?.filter(|(keys, _)| keys == &[key.to_owned()]));
        let (_, files) = until(&format!("the entry of {namespace}"), is_there).await?;
        ensure!(files.values().any(|text| *text == format!("sk-of-{namespace}")), "{:?}", files.keys());
        let own = Api::<Secret>::namespaced(client.clone(), namespace).get("vectoll-sidecar").await?;
        ensure!(own.data.unwrap_or_default().len() == 1, "the credential is in the namespace");
    }
    let issuer =
        until("who issues the tokens of pods", async || Ok(entries(&client).await?.remove(ISSUER_FILE))).await?;
    let issuer: serde_json::Value = serde_json::from_slice(&issuer)?;
    let keys = issuer["jwks"]["keys"].as_array().map_or(0, Vec::len);
    ensure!(issuer["issuer"].is_string() && keys > 0, "{issuer}");
    let of_namespaces = entries(&client).await?.into_keys().filter(|name| name != ISSUER_FILE).count();
    ensure!(of_namespaces == 2, "a namespace without keys has an entry");

    // A gateway that mounts them, with the certificate that the operator has made.
    let config = folder.path().join("config");
    mount(&config, "..1", &entries(&client).await?)?;
    let (gateway, http, url) = gateway(&client, folder.path(), "one").await?;
    let value = async |namespace: &str, secret: &str| {
        let secret = Api::<Secret>::namespaced(client.clone(), namespace).get(secret).await?;
        entry(&secret, "key").context("no key")
    };
    let alice = Caller::with(http, &url, &value("shop", "alice").await?);
    let bob = alice.with_key(&value("crm", "bob").await?);
    for caller in [&alice, &bob] {
        let served =
            async || Ok((caller.embed("builtin", "The quick brown fox".into()).await?.status == 200).then_some(()));
        poll::until("a call", REVOKED, served).await.with_context(|| gateway.log().end())?;
    }
    // Two replicas hold one limit.
    let (_second, http, url) = self::gateway(&client, folder.path(), "two").await?;
    let beside = Caller::with(http, &url, &value("crm", "bob").await?);
    let mut admitted = 1;
    for call in 0..20 {
        let caller = if call % 2 == 0 { &bob } else { &beside };
        admitted += u32::from(caller.embed("builtin", "a".into()).await?.status == 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!((2..=6).contains(&admitted), "{admitted} of 6 were admitted");

    // Only what changed is written; a key that is deleted goes at once.
    let before = versions(&client).await?;
    light.apply(&api_key("shop", "carol", ""))?;
    let both = async || Ok(of(&client, "shop").await?.filter(|(keys, _)| keys.len() == 2));
    until("the new key", both).await?;
    let after = versions(&client).await?;
    let written: Vec<&String> =
        after.iter().filter(|(name, version)| before.get(*name) != Some(version)).map(|(name, _)| name).collect();
    ensure!(written.len() == 1, "{written:?}");
    light.kubectl(&["delete", "apikey", "alice", "-n", "shop"], None)?;
    let gone = async || Ok(of(&client, "shop").await?.filter(|(keys, _)| keys == &["carol".to_owned()]));
    poll::until("the deleted key to go", REVOKED, gone).await?;
    mount(&config, "..2", &entries(&client).await?)?;
    let refused = async || Ok((alice.embed("builtin", "a".into()).await?.status == 401).then_some(()));
    poll::until("the deleted key to be refused", REVOKED, refused).await?;
    light.kubectl(&["delete", "apikey", "carol", "-n", "shop"], None)?;
    let no_entry = async || Ok((!entries(&client).await?.contains_key("shop")).then_some(()));
    until("the entry of a namespace without keys to go", no_entry).await?;
    ensure!(bob.get("/v1/models").await?.status == 200, "{}", gateway.log().end());

    takeover(&light, &client, operator, &arguments).await
}
