//! A real browser, driven by the W3C's `WebDriver` protocol: Debian's chromium and chromium-driver.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    pair::{poll, process::Process},
    store::free_port,
};

/// How long the driver may take for its start and for one command.
const DEADLINE: Duration = Duration::from_mins(1);

/// A browser with one window. It goes when it is dropped.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    session: String,
    _driver: Process,
    // Last: the profile goes when the processes are gone.
    _profile: TempDir,
}

impl Browser {
    /// Starts one.
    pub async fn start() -> anyhow::Result<Self> {
        let profile = TempDir::with_prefix("vectoll-browser-")?;
        let port = free_port()?;
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}"));
        let mut driver = Process::spawn("chromedriver", command, None)
            .context("missing: chromium-driver (Debian: apt-get install)")?;
        let base = format!("http://127.0.0.1:{port}");
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().timeout(DEADLINE).build()?;
        poll::until("the browser's driver", DEADLINE, async || {
            driver.must_run()?;
            let ready: Value = client.get(format!("{base}/status")).send().await?.json().await?;
            Ok((ready.pointer("/value/ready") == Some(&Value::Bool(true))).then_some(()))
        })
        .await?;
        let arguments = [
            "--headless=new".to_owned(),
            // Tests run as root, where chromium has no sandbox; it loads nothing but our own page.
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-proxy-server".to_owned(),
            "--window-size=1280,900".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let wish = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = ask(&client, Method::POST, &format!("{base}/session"), Some(&wish)).await?;
        let id = answer.get("sessionId").and_then(Value::as_str).context("no session")?;
        Ok(Self { session: format!("{base}/session/{id}"), client, _driver: driver, _profile: profile })
    }

    async fn command(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        ask(&self.client, method, &format!("{}{path}", self.session), body).await
    }

    /// Goes to an address and waits until it is loaded.
    pub async fn open(&self, url: &str) -> anyhow::Result<()> {
        self.command(Method::POST, "/url", Some(&json!({"url": url}))).await.map(drop)
    }

    /// What a script returns, which runs in the page as a function's body.
    pub async fn run(&self, script: &str) -> anyhow::Result<Value> {
        self.command(Method::POST, "/execute/sync", Some(&json!({"script": script, "args": []}))).await
    }

    /// What a script gives to the function that is its last argument (`arguments[0]`).
    pub async fn run_until_done(&self, script: &str) -> anyhow::Result<Value> {
        self.command(Method::POST, "/execute/async", Some(&json!({"script": script, "args": []}))).await
    }

    /// Waits until a script returns true.
    pub async fn until(&self, what: &str, script: &str) -> anyhow::Result<()> {
        poll::until(what, DEADLINE, async || Ok((self.run(script).await? == true).then_some(()))).await
    }

    /// Presses keys, one after the other, wherever the focus is: characters, and those of the protocol's table (section 17.4.2).
    pub async fn press(&self, keys: &str) -> anyhow::Result<()> {
        let each = |key: char| {
            let value = key.to_string();
            [json!({"type": "keyDown", "value": value}), json!({"type": "keyUp", "value": value})]
        };
        let actions: Vec<Value> = keys.chars().flat_map(each).collect();
        let body = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.command(Method::POST, "/actions", Some(&body)).await.map(drop)
    }

    /// Gives the window's content another size, down to that of a telephone.
    pub async fn resize(&self, width: u32, height: u32) -> anyhow::Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        let body = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": size});
        self.command(Method::POST, "/goog/cdp/execute", Some(&body)).await.map(drop)
    }

    /// The page by what its system prefers, until it is another one.
    pub async fn prefer(&self, scheme: &str) -> anyhow::Result<()> {
        let params = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        let body = json!({"cmd": "Emulation.setEmulatedMedia", "params": params});
        self.command(Method::POST, "/goog/cdp/execute", Some(&body)).await.map(drop)
    }

    /// What the page complained of: errors of scripts, and what its policy kept from being loaded.
    pub async fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let entries = self.command(Method::POST, "/se/log", Some(&json!({"type": "browser"}))).await?;
        let severe = entries
            .as_array()
            .into_iter()
            .flatten()
            .filter(|entry| entry.get("level").is_some_and(|level| level == "SEVERE"));
        Ok(severe.map(|entry| entry.get("message").and_then(Value::as_str).unwrap_or_default().to_owned()).collect())
    }

    /// A picture of what is seen, for people.
    pub async fn screenshot(&self, file: &Path) -> anyhow::Result<()> {
        let picture = self.command(Method::GET, "/screenshot", None).await?;
        let picture = BASE64_STANDARD.decode(picture.as_str().context("no picture")?)?;
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(file, picture).with_context(|| format!("failed to write {}", file.display()))
    }

    /// Ends the browser, and the driver with it.
    pub async fn close(self) -> anyhow::Result<()> {
        self.command(Method::DELETE, "", None).await.map(drop)
    }
}

async fn ask(client: &Client, method: Method, url: &str, body: Option<&Value>) -> anyhow::Result<Value> {
    let mut request = client.request(method, url);
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await?;
    let status = answer.status();
    let mut answer: Value = answer.json().await?;
    ensure!(status.is_success(), "{url}: {answer}");
    Ok(answer.get_mut("value").map(Value::take).unwrap_or_default())
}
