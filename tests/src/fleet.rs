//! Several sidecars over one config, and the store that they count in.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::pair::{Pair, Setup, binaries, metrics::Metrics, process::Process, scrape, sidecar_ready};

/// Long enough for a busy machine, short enough to fail a test.
const START: Duration = Duration::from_mins(2);
const STOP: Duration = Duration::from_mins(1);

/// One sidecar. It ends with its handle.
#[derive(Debug)]
pub struct Sidecar {
    program: PathBuf,
    config: PathBuf,
    state: PathBuf,
    arguments: Vec<String>,
    process: Option<Process>,
    proxy: SocketAddr,
    admin: SocketAddr,
}

impl Sidecar {
    fn new(setup: &Setup, config: &Path, state: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&state).with_context(|| format!("failed to create {}", state.display()))?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self {
            program: setup.binaries.sidecar.clone(),
            config: config.to_owned(),
            state,
            arguments: setup.sidecar_arguments.clone(),
            process: None,
            proxy: any,
            admin: any,
        })
    }

    /// Where it serves, without a path; the same after a restart.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.proxy)
    }

    /// Whether it was started and not ended here.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Its state folder.
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// Has it begun, from its next start on, by a shell that does these lines first.
    pub fn start_after(&mut self, lines: &str) -> anyhow::Result<()> {
        let script = self.state.with_extension("sh");
        binaries::after(&self.program, &script, lines)?;
        self.program = script;
        Ok(())
    }

    /// The most memory that it has taken since its last start, in KiB.
    pub fn most_memory_kib(&self) -> anyhow::Result<u64> {
        let pid = self.process.as_ref().context("it does not run")?.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        most.trim().trim_end_matches(" kB").parse().context("VmHWM is no number")
    }

    /// What it wrote since its last start.
    pub fn log(&self) -> String {
        self.process.as_ref().map(|process| process.log().text()).unwrap_or_default()
    }

    /// Starts it and waits until it is ready.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command
            .arg("--config-dir")
            .arg(&self.config)
            .arg("--state-dir")
            .arg(&self.state)
            .args(["--listen", &self.proxy.to_string(), "--admin-listen", &self.admin.to_string()])
            .args(["--access-log", "off"])
            .args(&self.arguments)
            .env("VECTOLL_LOG_FORMAT", "json");
        let process = self.process.insert(Process::spawn("vectoll-sidecar", command, None)?);
        let ready = sidecar_ready(process, START).await;
        (self.proxy, self.admin) = ready.with_context(|| process.log().end())?;
        Ok(())
    }

    /// Ends it, and waits for its end.
    pub async fn end(&mut self, signal: Signal) -> anyhow::Result<()> {
        let mut process = self.process.take().context("it does not run")?;
        process.signal(signal)?;
        process.ended(STOP).await.with_context(|| process.log().end())?;
        Ok(())
    }

    /// Its metrics of this moment.
    pub async fn metrics(&self) -> anyhow::Result<Metrics> {
        let (status, body) = scrape(self.admin, "/metrics").await?;
        ensure!(status == 200, "/metrics answered {status}: {body}");
        Metrics::parse(&body)
    }
}

/// An operator, and sidecars that read what it writes.
#[derive(Debug)]
pub struct Fleet {
    /// The sidecars.
    pub sidecars: Vec<Sidecar>,
    /// The operator; its own sidecar is not started.
    pub pair: Pair,
    _states: TempDir,
}

impl Fleet {
    /// Starts an operator whose config names a store, and so many sidecars.
    pub async fn start(
        setup: Setup,
        manifests: &[(&str, String)],
        store: &[&str],
        sidecars: usize,
    ) -> anyhow::Result<Self> {
        let states =
            tempfile::Builder::new().prefix("vectoll-fleet-").tempdir().context("failed to create a folder")?;
        let mut setup = setup;
        setup.operator_arguments.extend(store.iter().map(|argument| (*argument).to_owned()));
        let pair = Pair::operator_only(setup.clone(), manifests).await?;
        let mut all = Vec::new();
        for n in 0..sidecars {
            let mut sidecar = Sidecar::new(&setup, pair.config_dir(), states.path().join(n.to_string()))?;
            sidecar.start().await?;
            all.push(sidecar);
        }
        Ok(Self { sidecars: all, pair, _states: states })
    }

    /// A metric's sum over all sidecars that run.
    pub async fn sum(&self, name: &str) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for sidecar in self.sidecars.iter().filter(|sidecar| sidecar.runs()) {
            sum += sidecar.metrics().await?.sum(name, &[]);
        }
        Ok(sum)
    }
}
