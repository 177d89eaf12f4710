//! A real run: an API server, the operator, a store, a provider, and a sidecar in each of two namespaces. What a kubelet does, which
//! is to put a Secret into a folder, the test does.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use vectoll_tests::{
    caller::Caller,
    cluster::{Light, Operator},
    manifest::{PROVIDER_KEY, api_key, builtin, file, key_value, resource, resource_in, secret, team},
    pair::{poll, process::Process, sidecar_ready},
    provider::{Options, Provider},
    store::{PASSWORD, Store, Transport, free_port},
};

/// Long enough for a busy machine.
const START: Duration = Duration::from_mins(2);
/// How the injection is set up: nothing is injected here, but the webhook serves.
const INJECTION: &str = "image: registry.example/vectoll-sidecar\n";

/// The run. Processes end before the folders go, and the API server last.
pub struct Stage {
    pub home: Sidecar,
    pub guest: Sidecar,
    pub operator: Operator,
    _store: Store,
    _provider: Provider,
    _folder: TempDir,
    _light: Light,
}

/// A model of each route that is called from either namespace: a config is written as soon as the first resource is there.
const HOME_MODELS: [&str; 4] = ["text-embedding-3-small", "builtin", "unheard-of", "fault-500"];
const GUEST_MODELS: [&str; 2] = ["text-embedding-3-small", "their-own"];

/// A sidecar of a namespace.
pub struct Sidecar {
    _process: Process,
    pub admin: SocketAddr,
    pub caller: Caller,
}

/// A Team with all kinds of budgets, that another namespace uses; keys that end, are poor or are few; models that fail.
fn manifests(provider: &str) -> String {
    let backend = |price: Option<&str>| {
        let mut backend = json!({"name": "test", "tokens": {"encoding": "cl100k_base"},
            "openAI": {"baseURL": provider, "apiKeySecretRef": {"name": "provider", "key": "api-key"}}});
        if let Some(price) = price {
            backend["price"] = json!({"inputPerMillionTokens": price});
        }
        backend
    };
    let route = |name: &str, models: Value, price: Option<&str>| {
        resource(
            "ModelRoute",
            name,
            json!({"models": models, "allowedNamespaces": {"from": "All"}, "backends": [backend(price)]}),
        )
    };
    let monthly = |limit: &str| json!({"limit": limit, "period": "Monthly"});
    let mut all = vec![
        team(
            "search",
            json!({"budget": monthly("1"), "userBudget": {"limit": "0.5", "period": "Daily"}, "namespaceBudget": monthly("0.1"),
                "allowedNamespaces": {"from": "All"}, "tags": ["nightly"],
                "modelLimits": [{"model": "text-embedding-3-*", "budgets": [monthly("0.8")]}],
                "tagLimits": [{"tag": "nightly", "budgets": [monthly("0.7")]}]}),
        ),
        team("free", json!({})),
        builtin("builtin", &["builtin"]),
        route("openai", json!(["text-embedding-3-small"]), Some("0.02")),
        route(
            "faulty",
            json!(["fault-500", "fault-cut", "fault-overrun", "fault-no-usage", "fault-401"]),
            Some("0.02"),
        ),
        route("unpriced", json!(["unheard-of"]), None),
        secret("default", "provider", json!({"api-key": PROVIDER_KEY})),
        secret("web", "provider", json!({"api-key": PROVIDER_KEY})),
        // A route that is none of the Team's.
        resource_in("web", "ModelRoute", "own", json!({"models": ["their-own"], "backends": [backend(Some("0.02"))]})),
        secret("web", "guest-key", json!({"key": key_value("guest")})),
        resource_in(
            "web",
            "ApiKey",
            "guest",
            json!({"teamRef": {"name": "search", "namespace": "default"}, "user": "guest", "secretRef": {"name": "guest-key"}}),
        ),
    ];
    all.extend(api_key(
        "alice",
        "search",
        json!({"budget": monthly("0.5"), "expiresAt": "2099-01-01T00:00:00Z",
        "modelLimits": [{"model": "text-embedding-3-small", "budgets": [monthly("0.4")]}]}),
    ));
    all.extend(api_key("poor", "search", json!({"budget": {"limit": "0.00000001", "period": "Total"}})));
    all.extend(api_key("few", "search", json!({"limits": {"requestsPerMinute": 1}})));
    all.extend(api_key("free", "free", json!({})));
    for namespace in ["default", "web"] {
        // The store has a login for namespaces with sidecars.
        all.push(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "app", "namespace": namespace, "labels": {"vectoll.dev/contract": "v1"}},
            "spec": {"automountServiceAccountToken": false, "containers": [{"name": "app", "image": "none"}]}}));
    }
    file(all)
}

impl Stage {
    pub async fn start() -> anyhow::Result<Self> {
        let light = Light::start().await?;
        // With a bound: only then is it known how full it is.
        let store = Store::start_with(Transport::Plain, &["--maxmemory", "256mb"]).await?;
        let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
        let folder = TempDir::with_prefix("vectoll-rules-")?;
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).with_context(|| path.display().to_string())?;
            anyhow::Ok(path)
        };
        let (password, injection) = (write("password", PASSWORD)?, write("injection.yaml", INJECTION)?);
        let made = rcgen::generate_simple_self_signed(vec!["vectoll-webhook.default.svc".to_owned()])?;
        let entries = json!({"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()});
        let mut certificate = secret("default", "vectoll-webhook-tls", entries);
        certificate["type"] = json!("kubernetes.io/tls");
        light.apply(&file([certificate]))?;
        let arguments = [
            format!("--store-url={}", store.url()),
            format!("--store-password-file={}", password.display()),
            format!("--injection-config={}", injection.display()),
            format!("--webhook-listen=127.0.0.1:{}", free_port()?),
            "--webhook-certificate=secret".to_owned(),
        ];
        let operator = Operator::start(&light, "one", &arguments.each_ref().map(String::as_str)).await?;
        light.apply("{apiVersion: v1, kind: Namespace, metadata: {name: web}}")?;
        let all = manifests(&provider.url());
        // ServiceAccounts come a moment after their namespace.
        poll::until("the manifests to be applied", START, async || Ok(Some(light.apply(&all)?))).await?;
        let home = Sidecar::start(&light, "default", (4, &HOME_MODELS), &folder.path().join("home")).await;
        let home = home.with_context(|| operator.log())?;
        let guest = Sidecar::start(&light, "web", (1, &GUEST_MODELS), &folder.path().join("guest")).await;
        let guest = guest.with_context(|| operator.log())?;
        Ok(Self { home, guest, operator, _store: store, _provider: provider, _folder: folder, _light: light })
    }

    /// The calls of a second: what goes well, what is refused, and what fails.
    pub async fn call(&self) -> anyhow::Result<()> {
        let ask = async |caller: &Caller, key: &str, model: &str, status: &[u16]| {
            let headers = [("x-litellm-user-id", "bob"), ("x-litellm-metadata", r#"{"tags":["nightly"]}"#)];
            let body = json!({"model": model, "input": "The quick brown fox"});
            let answer = caller.with_key(&key_value(key)).post("/v1/embeddings", &body, &headers).await?;
            ensure!(status.contains(&answer.status), "{key} {model}: {} {}", answer.status, answer.json);
            Ok(())
        };
        let home = &self.home.caller;
        for model in ["text-embedding-3-small", "text-embedding-3-small", "builtin"] {
            ask(home, "alice", model, &[200]).await?;
        }
        ask(&self.guest.caller, "guest", "text-embedding-3-small", &[200]).await?;
        ask(&self.guest.caller, "guest", "their-own", &[200]).await?;
        ask(home, "free", "unheard-of", &[200]).await?;
        ask(home, "poor", "text-embedding-3-small", &[429]).await?;
        ask(home, "few", "text-embedding-3-small", &[200, 429]).await?;
        for fault in ["fault-cut", "fault-overrun", "fault-no-usage", "fault-401", "fault-500"] {
            // The backend is left alone after a few of them.
            ask(home, "alice", fault, &[200, 401, 500, 502, 503]).await?;
        }
        Ok(())
    }
}

impl Sidecar {
    /// Starts one with the config of its namespace, once that has so many keys, these models, and the store's password.
    async fn start(
        light: &Light,
        namespace: &str,
        (keys, models): (usize, &[&str]),
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let (config, state) = (folder.join("config"), folder.join("state"));
        for folder in [&config, &state] {
            fs::create_dir_all(folder)?;
        }
        let get = ["get", "secret", "vectoll-sidecar", "-n", namespace, "-o", "go-template", "--template"];
        let template = r#"{{range $name, $value := .data}}{{$name | printf "%q"}}: {{base64decode $value | printf "%q"}}{{"\n"}}{{end}}"#;
        let files = poll::until("the config of a namespace", START, async || {
            let text = light.kubectl(&[&get[..], &[template]].concat(), None)?;
            let files: std::collections::BTreeMap<String, String> = serde_yaml::from_str(&text)?;
            let text = files.get("config.v1.yaml").context("no config")?;
            let parsed: Value = serde_yaml::from_str(text)?;
            let known = parsed["keys"].as_array().map_or(0, Vec::len);
            ensure!(known == keys && files.contains_key("store.password"), "{known} keys: {:?}", files.keys());
            let routed: Vec<&Value> = parsed["routes"].as_array().into_iter().flatten().collect();
            let routed: Vec<&str> = routed
                .into_iter()
                .flat_map(|route| route["models"].as_array().into_iter().flatten().filter_map(Value::as_str))
                .collect();
            ensure!(models.iter().all(|model| routed.contains(model)), "{routed:?}, and not yet {models:?}");
            Ok(Some(files))
        });
        for (name, text) in files.await? {
            fs::write(config.join(name), text)?;
        }
        let mut command = Command::new(vectoll_tests::pair::binaries::binary("vectoll-sidecar")?);
        command
            .arg("--config-dir")
            .arg(&config)
            .arg("--state-dir")
            .arg(&state)
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .env("VECTOLL_LOG_FORMAT", "json");
        let mut process = Process::spawn("vectoll-sidecar", command, None)?;
        let ready = sidecar_ready(&mut process, START).await;
        let (proxy, admin) = ready.with_context(|| process.log().end())?;
        let caller = Caller::new(&format!("http://{proxy}"), "")?;
        Ok(Self { _process: process, admin, caller })
    }
}
