//! A gateway that was started by itself, on a volume that is there.

use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use tempfile::TempDir;

use super::super::super::{
    endpoint::Endpoint,
    gateway,
    manifests::KEY,
    procfs::{self, Memory},
    scrape::scrape,
    stage::Stage,
    tls::Certificate,
};
use crate::pair::{metrics::Metrics, poll, process::Process, sidecar_ready};

/// In a build for tests, beside other tests.
const MAX_START: Duration = Duration::from_mins(5);

/// A gateway.
pub struct Running {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
    /// From its start to when it was ready.
    pub took: Duration,
    /// What it had in memory then.
    pub memory: Memory,
    _folder: TempDir,
}

/// What is told to Prometheus.
pub struct Scrape {
    /// All of it.
    pub metrics: Metrics,
    /// How long it took.
    pub took: Duration,
    /// How much it is.
    pub bytes: u64,
}

impl Running {
    /// Starts it, and waits until it is ready: then it serves all namespaces.
    pub fn start(stage: &Stage, config: &TempDir, certificate: &Certificate, many: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("failed to create a temporary folder")?;
        let files = certificate.write(folder.path())?;
        let mut command = Command::new(&stage.programs().sidecar);
        command
            .arg("--config-dir")
            .arg(config.path())
            .arg("--state-dir")
            .arg(folder.path().join("state"))
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(gateway::arguments(&files))
            .env("VECTOLL_LOG_FORMAT", "json");
        let begun = Instant::now();
        let mut process = Process::spawn("vectoll-sidecar", command, Some(gateway::core()))?;
        let ready = stage.wait(sidecar_ready(&mut process, MAX_START));
        let took = begun.elapsed();
        let (address, admin) = ready.with_context(|| process.log().end())?;
        // Before anything else is asked of it.
        let memory = procfs::memory(process.pid())?;
        let told = async || Ok((process.log().text().matches("config applied").count() == many).then_some(()));
        stage.wait(poll::until("a line on each namespace", Duration::from_secs(5), told))?;
        Ok(Self { process, address, admin, took, memory, _folder: folder })
    }

    /// Who is called; each call with a key of its own.
    pub fn endpoint(&self, certificate: &Certificate) -> Endpoint {
        Endpoint::new(self.address, KEY).with_tls(certificate)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Asks for its metrics.
    pub fn scrape(&self) -> anyhow::Result<Scrape> {
        let begun = Instant::now();
        let text = scrape(self.admin)?;
        let took = begun.elapsed();
        Ok(Scrape { metrics: Metrics::parse(&text)?, took, bytes: text.len() as u64 })
    }
}
