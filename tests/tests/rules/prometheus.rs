//! Debian's Prometheus in a temporary folder, on a free port. It ends when it is dropped.

use std::{net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use vectoll_tests::{
    pair::{poll, process::Process},
    store::free_port,
};

use crate::files::list;

/// Long enough for a busy machine.
const START: Duration = Duration::from_mins(1);

/// What it scrapes.
pub struct Target {
    pub job: &'static str,
    pub address: SocketAddr,
    pub namespace: &'static str,
    pub pod: &'static str,
}

pub struct Prometheus {
    client: reqwest::Client,
    url: String,
    process: Process,
    // Last: the folder goes when the process is gone.
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes and evaluates every second, and waits until it has scraped all of them.
    pub async fn start(targets: &[Target], rules: &[PathBuf]) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("vectoll-prometheus-")?;
        let jobs: Vec<Value> = targets
            .iter()
            .enumerate()
            .map(|(number, Target { job, address, namespace, pod })| {
                // The job that a monitor makes of it is the same for all pods: one label says so, names must differ.
                let labels = json!({"job": job, "namespace": namespace, "pod": pod});
                let configs = json!([{"targets": [address.to_string()], "labels": labels}]);
                json!({"job_name": format!("{job}-{number}"), "static_configs": configs})
            })
            .collect();
        let global = json!({"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"});
        let config = json!({"global": global, "rule_files": rules, "scrape_configs": jobs});
        let file = folder.path().join("prometheus.yaml");
        std::fs::write(&file, config.to_string())?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"));
        let process = Process::spawn("prometheus", command, None);
        let process = process.context("missing: prometheus (Debian: apt-get install prometheus)")?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut started = Self { client, url: format!("http://{address}"), process, _folder: folder };
        let first = poll::until("Prometheus to scrape all targets", START, async || {
            started.process.must_run()?;
            let up = started.query("up == 1").await?;
            ensure!(up.len() == targets.len(), "{up:?}");
            Ok(Some(()))
        });
        first.await.with_context(|| started.log())?;
        Ok(started)
    }

    pub fn log(&self) -> String {
        self.process.log().end()
    }

    /// `data` of an answer of its API.
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/{path}", self.url), query)?;
        let answer: Value = self.client.get(url).send().await?.json().await?;
        ensure!(answer["status"] == "success", "{answer}");
        ensure!(list(&answer["warnings"]).is_empty(), "{answer}");
        Ok(answer["data"].clone())
    }

    /// The series that an expression has now.
    pub async fn query(&self, expr: &str) -> anyhow::Result<Vec<Value>> {
        let data = self.get("query", &[("query", expr)]).await?;
        Ok(list(&data["result"]).to_vec())
    }

    /// The values of a label of some series.
    pub async fn label_values(&self, label: &str, series: &str) -> anyhow::Result<Vec<Value>> {
        Ok(list(&self.get(&format!("label/{label}/values"), &[("match[]", series)]).await?).to_vec())
    }

    /// All rules, as they were evaluated last.
    pub async fn rules(&self) -> anyhow::Result<Vec<Value>> {
        let data = self.get("rules", &[]).await?;
        Ok(list(&data["groups"]).iter().flat_map(|group| list(&group["rules"]).to_vec()).collect())
    }
}
