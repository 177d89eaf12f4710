//! A gateway with two namespaces, started by the programs that users start.

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use vectoll_tests::{
    caller::Caller,
    manifest::{file, key_value, resource_in, secret},
    pair::{Pair, Setup},
    provider::{Options, Provider},
};

/// What the issue allows is a second; a busy machine gets more.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// The name that its certificate is for.
pub const NAME: &str = "gateway.example";

/// A certificate in files.
pub struct Certificate {
    folder: TempDir,
    pub pem: String,
}

impl Certificate {
    pub fn new() -> anyhow::Result<Self> {
        let mut certificate = Self { folder: tempfile::tempdir()?, pem: String::new() };
        certificate.renew()?;
        Ok(certificate)
    }

    /// Writes another one in its place.
    pub fn renew(&mut self) -> anyhow::Result<()> {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec![NAME.to_owned(), "127.0.0.1".to_owned()])?;
        std::fs::write(self.file("tls.crt"), cert.pem())?;
        std::fs::write(self.file("tls.key"), signing_key.serialize_pem())?;
        self.pem = cert.pem();
        Ok(())
    }

    /// One of the two files: `tls.crt`, `tls.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client that trusts it and nobody else.
    pub fn client(&self, pair: &Pair) -> anyhow::Result<reqwest::ClientBuilder> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let trusted = reqwest::Certificate::from_pem(self.pem.as_bytes())?;
        Ok(reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).resolve(NAME, pair.proxy_address()))
    }
}

/// Both programs as a gateway: `vectoll-operator standalone --gateway` and `vectoll-sidecar --gateway`.
pub fn setup(certificate: &Certificate) -> anyhow::Result<Setup> {
    let mut setup = Setup::built()?;
    setup.operator_arguments.push("--gateway".to_owned());
    let files = [certificate.file("tls.crt"), certificate.file("tls.key")].map(|file| file.display().to_string());
    let [certificate, key] = files;
    setup.sidecar_arguments = ["--gateway", "--tls-cert", &certificate, "--tls-key", &key, "--allowed-hosts", NAME]
        .map(str::to_owned)
        .to_vec();
    setup.sidecar_arguments.extend(["--probe-listen", "127.0.0.1:0", "--loopback-providers"].map(str::to_owned));
    Ok(setup)
}

/// The same with further arguments.
pub fn setup_with(certificate: &Certificate, arguments: &[&str]) -> anyhow::Result<Setup> {
    let mut setup = setup(certificate)?;
    setup.sidecar_arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
    Ok(setup)
}

/// What a namespace's provider asks for.
pub fn provider_key(namespace: &str) -> String {
    format!("sk-provider-of-{namespace}-0123456789")
}

pub async fn provider(namespace: &str) -> anyhow::Result<Provider> {
    Provider::start(Options::new(provider_key(namespace))).await
}

/// A key of a namespace, with its Secret.
pub fn api_key(namespace: &str, name: &str, spec: Value) -> Vec<Value> {
    let mut whole = json!({"teamRef": {"name": "team"}, "user": name, "secretRef": {"name": format!("{name}-key")}});
    if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
        whole.extend(spec);
    }
    let value = json!({"key": key_value(name)});
    vec![resource_in(namespace, "ApiKey", name, whole), secret(namespace, &format!("{name}-key"), value)]
}

/// A Team and a route of the same model in each namespace, to a provider of its own, with a credential of its own.
pub fn namespace(namespace: &str, provider: &Provider) -> String {
    let backend = json!({
        "name": "test",
        "openAI": {"baseURL": provider.url(), "apiKeySecretRef": {"name": "provider", "key": "api-key"}},
        "price": {"inputPerMillionTokens": "0.02"},
        "tokens": {"encoding": "cl100k_base"},
    });
    let models = ["text-embedding-3-small", "fault-slow-*"];
    file([
        resource_in(namespace, "Team", "team", json!({})),
        resource_in(namespace, "ModelRoute", "openai", json!({"models": models, "backends": [backend]})),
        secret(namespace, "provider", json!({"api-key": provider_key(namespace)})),
    ])
}

/// A gateway with the namespaces `shop`, whose key is alice's, and `crm`, whose key is bob's: three calls a minute each.
pub struct Stage {
    pub pair: Pair,
    pub certificate: Certificate,
    pub shop: Provider,
    pub crm: Provider,
}

impl Stage {
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(3).await
    }

    pub async fn start_with(calls_a_minute: u32) -> anyhow::Result<Self> {
        let certificate = Certificate::new()?;
        Self::start_as(setup(&certificate)?, certificate, calls_a_minute).await
    }

    pub async fn start_as(setup: Setup, certificate: Certificate, calls_a_minute: u32) -> anyhow::Result<Self> {
        let (shop, crm) = (provider("shop").await?, provider("crm").await?);
        let limits = json!({"limits": {"requestsPerMinute": calls_a_minute}});
        let manifests = [
            ("shop.yaml", namespace("shop", &shop)),
            ("crm.yaml", namespace("crm", &crm)),
            ("alice.yaml", file(api_key("shop", "alice", limits.clone()))),
            ("bob.yaml", file(api_key("crm", "bob", limits))),
        ];
        let pair = Pair::start_with(setup, &manifests).await?;
        let stage = Self { pair, certificate, shop, crm };
        let bob = stage.caller("bob")?;
        let both = async || {
            Ok((models(&bob).await? == 200 && models(&bob.with_key(&key_value("alice"))).await? == 200).then_some(()))
        };
        stage.pair.wait_for("both namespaces", DEADLINE, both).await?;
        Ok(stage)
    }

    pub fn url(&self) -> String {
        format!("https://{NAME}:{}", self.pair.proxy_address().port())
    }

    /// A caller with a key, on a connection of its own.
    pub fn caller(&self, key: &str) -> anyhow::Result<Caller> {
        Ok(Caller::with(self.certificate.client(&self.pair)?.build()?, &self.url(), &key_value(key)))
    }
}

/// The status of a look at the models, which no limit counts.
pub async fn models(caller: &Caller) -> anyhow::Result<u16> {
    Ok(caller.get("/v1/models").await?.status)
}

pub async fn status(caller: &Caller) -> anyhow::Result<u16> {
    Ok(caller.embed("text-embedding-3-small", json!("a")).await?.status)
}
