//! The page of `vectoll-operator standalone`.

use std::{process::Command, time::Duration};

use anyhow::Context;
use serde_json::Value;
use tempfile::TempDir;

use crate::pair::{Pair, binaries::binary, poll, process::Process};

/// The argument that has it served on a free port.
pub const ON_A_FREE_PORT: &str = "--page-listen=127.0.0.1:0";

/// How long a quick build may take to listen, and then to read thousands of manifests beside other tests.
const DEADLINE: Duration = Duration::from_mins(10);

/// Where a pair's page is, as its log says.
pub async fn address(pair: &Pair) -> anyhow::Result<String> {
    poll::until("the page", DEADLINE, async || Ok(served(&pair.operator_log())))
        .await
        .with_context(|| pair.operator_log())
}

/// An operator alone with its page, over a folder that takes longer to read than others wait for.
#[derive(Debug)]
pub struct Large {
    /// Where the page is.
    pub url: String,
    _operator: Process,
    // Last: the folder goes when the process is gone.
    _folder: TempDir,
}

impl Large {
    /// Waits until the page has so many keys.
    pub async fn start(manifests: &str, keys: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let manifests_dir = folder.path().join("manifests");
        std::fs::create_dir(&manifests_dir)?;
        std::fs::write(manifests_dir.join("all.yaml"), manifests)?;
        let mut command = Command::new(binary("vectoll-operator")?);
        command.arg("standalone").arg("--manifests").arg(manifests_dir).arg(ON_A_FREE_PORT);
        command.arg("--config-dir").arg(folder.path().join("config")).env("VECTOLL_LOG_FORMAT", "json");
        let mut operator = Process::spawn("vectoll-operator", command, None)?;
        let found = poll::until("the page", DEADLINE, async || {
            operator.must_run()?;
            Ok(served(&operator.log().text()))
        });
        let url = found.await.with_context(|| operator.log().end())?;
        let client = client()?;
        let shown = poll::until("all keys on it", DEADLINE, async || {
            operator.must_run()?;
            let answer: Value = client.get(format!("{url}api/keys")).send().await?.json().await?;
            Ok((answer.get("total").and_then(Value::as_u64) == u64::try_from(keys).ok()).then_some(()))
        });
        shown.await.with_context(|| operator.log().end())?;
        Ok(Self { url, _operator: operator, _folder: folder })
    }
}

/// Who asks the page.
pub fn client() -> anyhow::Result<reqwest::Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?)
}

fn served(log: &str) -> Option<String> {
    let url = |line: &str| -> Option<String> {
        let line: Value = serde_json::from_str(line).ok()?;
        let fields = line.get("fields")?;
        (fields.get("message")? == "the page is served").then(|| fields.get("url")?.as_str().map(str::to_owned))?
    };
    log.lines().find_map(url)
}
