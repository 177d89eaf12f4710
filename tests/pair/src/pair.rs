//! Operator and sidecar as two processes, set up by manifests in a folder: the standalone mode, no cluster needed.
//!
//! ```no_run
//! # async fn run(manifests: String) -> anyhow::Result<()> {
//! use vectoll_pair::pair::Pair;
//!
//! let pair = Pair::start(&[("manifests.yaml", manifests)]).await?;
//! let url = format!("{}/v1/embeddings", pair.base_url());
//! // … call it …
//! assert!(pair.metrics().await?.sum("vectoll_key_tokens_total", &[("key", "default/alice")]) > 0.0);
//! # Ok(())
//! # }
//! ```
//!
//! Both processes end when the pair is dropped. If that happens in a panic, their logs are printed; errors of the functions
//! here carry the logs' ends.

pub mod binaries;
mod folders;
pub mod log;
pub mod metrics;
mod plain_http;
pub mod poll;
pub mod process;

use std::fmt::Write;
use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;

use binaries::Binaries;
use folders::Folders;
use metrics::Metrics;
use process::Process;

/// Long enough for a busy machine, short enough to fail a test.
const START: Duration = Duration::from_secs(30);
/// The sidecar drains calls in flight before it ends.
const STOP: Duration = Duration::from_mins(1);

/// Status and body of a path of an admin listener.
pub async fn scrape(admin: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let answer = plain_http::get(admin, path).await?;
    Ok((answer.status, answer.body))
}

/// Waits until a sidecar that was started is ready. Where it listens: for calls, and its admin listener.
pub async fn sidecar_ready(sidecar: &mut Process, deadline: Duration) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    poll::until("the sidecar to be ready", deadline, async || {
        sidecar.must_run()?;
        let text = sidecar.log().text();
        let (Some(proxy), Some(admin)) = (log::listening(&text, "proxy"), log::listening(&text, "admin")) else {
            bail!("it does not listen yet");
        };
        let status = plain_http::get(admin, "/readyz").await?.status;
        ensure!(status == 200, "/readyz answers {status}");
        Ok(Some((proxy, admin)))
    })
    .await
}

/// How a pair is set up, beyond its manifests.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Which programs.
    pub binaries: Binaries,
    /// Further arguments of `vectoll-operator standalone`.
    pub operator_arguments: Vec<String>,
    /// Further arguments of `vectoll-sidecar`.
    pub sidecar_arguments: Vec<String>,
    /// Further environment of both.
    pub environment: Vec<(String, String)>,
    /// The only CPU core of the sidecar.
    pub sidecar_core: Option<usize>,
}

impl Setup {
    /// The workspace's own programs, built if need be, with nothing special.
    pub fn built() -> anyhow::Result<Self> {
        Ok(Self::of(Binaries::built()?))
    }

    /// These programs with nothing special.
    pub fn of(binaries: Binaries) -> Self {
        Self {
            binaries,
            operator_arguments: Vec::new(),
            sidecar_arguments: Vec::new(),
            environment: Vec::new(),
            sidecar_core: None,
        }
    }
}

/// A running operator with a running sidecar.
#[derive(Debug)]
pub struct Pair {
    setup: Setup,
    operator: Process,
    sidecar: Option<Process>,
    /// What the sidecars before the present one said.
    earlier: String,
    proxy: SocketAddr,
    admin: SocketAddr,
    // Last: the folders go when the processes are gone.
    folders: Folders,
}

impl Pair {
    /// Starts the workspace's own programs with these manifests (file name, YAML) and waits until the sidecar is ready.
    pub async fn start(manifests: &[(&str, String)]) -> anyhow::Result<Self> {
        Self::start_with(Setup::built()?, manifests).await
    }

    /// The same for a setup.
    pub async fn start_with(setup: Setup, manifests: &[(&str, String)]) -> anyhow::Result<Self> {
        let mut pair = Self::operator_only(setup, manifests).await?;
        pair.start_sidecar().await?;
        Ok(pair)
    }

    /// The operator alone, with its first config written.
    pub async fn operator_only(setup: Setup, manifests: &[(&str, String)]) -> anyhow::Result<Self> {
        let folders = Folders::create()?;
        for (name, yaml) in manifests {
            folders.write_manifest(name, yaml)?;
        }
        let mut operator = Command::new(&setup.binaries.operator);
        operator
            .arg("standalone")
            .arg("--manifests")
            .arg(folders.manifests())
            .arg("--config-dir")
            .arg(folders.config())
            .arg("--state-dir")
            .arg(folders.operator_state())
            .args(&setup.operator_arguments)
            .env("VECTOLL_LOG_FORMAT", "json")
            .envs(setup.environment.iter().cloned());
        let mut operator = Process::spawn("vectoll-operator", operator, None)?;
        poll::until("the operator's first config", START, async || {
            operator.must_run()?;
            Ok(folders.has_config()?.then_some(()))
        })
        .await
        .with_context(|| operator.log().end())?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self { setup, operator, sidecar: None, earlier: String::new(), proxy: any, admin: any, folders })
    }

    /// Where the proxy listens, without a path: `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.proxy)
    }

    /// Where the admin listener is, without a path.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// The proxy's address; the same after a restart.
    pub fn proxy_address(&self) -> SocketAddr {
        self.proxy
    }

    /// Writes a manifest at once, so that the operator never sees half of it.
    pub fn write_manifest(&self, name: &str, yaml: &str) -> anyhow::Result<()> {
        self.folders.write_manifest(name, yaml)
    }

    /// Removes a manifest.
    pub fn remove_manifest(&self, name: &str) -> anyhow::Result<()> {
        self.folders.remove_manifest(name)
    }

    /// The folder of manifests, for tests that edit it in ways of their own.
    pub fn manifests_dir(&self) -> &std::path::Path {
        self.folders.manifests()
    }

    /// The folder that the operator writes and the sidecar reads.
    pub fn config_dir(&self) -> &std::path::Path {
        self.folders.config()
    }

    /// The operator's program, to be given another command.
    pub fn operator_command(&self) -> Command {
        Command::new(&self.setup.binaries.operator)
    }

    /// The operator's state folder, with the keys that it made.
    pub fn operator_state_dir(&self) -> &std::path::Path {
        self.folders.operator_state()
    }

    /// The sidecar's state folder, with its journal; it outlives restarts.
    pub fn state_dir(&self) -> &std::path::Path {
        self.folders.sidecar_state()
    }

    /// All that the operator wrote to stdout and stderr.
    pub fn operator_log(&self) -> String {
        self.operator.log().text()
    }

    /// All that the sidecars of this pair wrote to stdout and stderr.
    pub fn sidecar_log(&self) -> String {
        let now = self.sidecar.as_ref().map(|sidecar| sidecar.log().text()).unwrap_or_default();
        format!("{}{now}", self.earlier)
    }

    /// The process id of the sidecar, if it runs.
    pub fn sidecar_pid(&self) -> Option<u32> {
        self.sidecar.as_ref().map(Process::pid)
    }

    /// The process id of the operator.
    pub fn operator_pid(&self) -> u32 {
        self.operator.pid()
    }

    /// The sidecar's metrics of this moment.
    pub async fn metrics(&self) -> anyhow::Result<Metrics> {
        let answer = plain_http::get(self.admin, "/metrics").await?;
        ensure!(answer.status == 200, "/metrics answered {}: {}", answer.status, answer.body);
        Metrics::parse(&answer.body)
    }

    /// The status of a path of the admin listener.
    pub async fn admin_status(&self, path: &str) -> anyhow::Result<u16> {
        Ok(plain_http::get(self.admin, path).await?.status)
    }

    /// Polls `probe` until it returns something. Its errors count as "not yet"; the last one is reported at the deadline,
    /// with the ends of both logs.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        deadline: Duration,
        probe: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        poll::until(what, deadline, probe).await.with_context(|| self.log_ends())
    }

    /// The metrics once no reservation is open any more.
    pub async fn at_rest(&self) -> anyhow::Result<Metrics> {
        let rest = async || {
            let metrics = self.metrics().await?;
            Ok((metrics.value("vectoll_reservations", &[]) == Some(0.0)).then_some(metrics))
        };
        self.wait_for("all reservations to end", Duration::from_secs(30), rest).await
    }

    /// Ends the operator with SIGTERM; what it wrote stays in force.
    pub async fn stop_operator(&mut self) -> anyhow::Result<()> {
        self.operator.signal(Signal::SIGTERM)?;
        let status = self.operator.ended(STOP).await?;
        ensure!(status.success(), "the operator ended with {status}");
        Ok(())
    }

    /// SIGTERM, and waits until the sidecar has ended.
    pub async fn terminate_sidecar(&mut self) -> anyhow::Result<ExitStatus> {
        self.end_sidecar(Signal::SIGTERM).await
    }

    /// SIGKILL, and waits until the sidecar has ended.
    pub async fn kill_sidecar(&mut self) -> anyhow::Result<ExitStatus> {
        self.end_sidecar(Signal::SIGKILL).await
    }

    /// Ends the sidecar by SIGTERM, if it runs, and starts another with the same folders and addresses.
    pub async fn restart_sidecar(&mut self) -> anyhow::Result<()> {
        if self.sidecar.is_some() {
            self.terminate_sidecar().await?;
        }
        self.start_sidecar().await
    }

    /// Starts a sidecar in place of one that has ended, and waits until it is ready.
    pub async fn start_sidecar(&mut self) -> anyhow::Result<()> {
        ensure!(self.sidecar.is_none(), "the sidecar runs already");
        let mut sidecar = Command::new(&self.setup.binaries.sidecar);
        sidecar
            .arg("--config-dir")
            .arg(self.folders.config())
            .arg("--state-dir")
            .arg(self.folders.sidecar_state())
            // Port 0 the first time; then the ports it got.
            .args(["--listen", &self.proxy.to_string(), "--admin-listen", &self.admin.to_string()])
            .args(&self.setup.sidecar_arguments)
            .env("VECTOLL_LOG_FORMAT", "json")
            .envs(self.setup.environment.iter().cloned());
        let sidecar = Process::spawn("vectoll-sidecar", sidecar, self.setup.sidecar_core)?;
        let sidecar = self.sidecar.insert(sidecar);
        match sidecar_ready(sidecar, START).await {
            Ok((proxy, admin)) => {
                (self.proxy, self.admin) = (proxy, admin);
                Ok(())
            }
            Err(error) => Err(error.context(self.log_ends())),
        }
    }

    async fn end_sidecar(&mut self, signal: Signal) -> anyhow::Result<ExitStatus> {
        let mut sidecar = self.sidecar.take().context("the sidecar does not run")?;
        let ended = async {
            sidecar.signal(signal)?;
            sidecar.ended(STOP).await
        }
        .await;
        self.earlier.push_str(&sidecar.log().text());
        ended.with_context(|| self.log_ends())
    }

    fn log_ends(&self) -> String {
        let sidecar = log::end(&self.sidecar_log());
        format!("\n--- operator\n{}\n--- sidecar\n{sidecar}\n---", self.operator.log().end())
    }
}

impl Drop for Pair {
    #[expect(clippy::print_stderr, reason = "the logs are what a failed test is explained by")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut logs = String::new();
            // Writing to a string cannot fail.
            let _ = write!(logs, "--- operator\n{}--- sidecar\n{}", self.operator_log(), self.sidecar_log());
            eprintln!("{logs}---");
        }
    }
}
