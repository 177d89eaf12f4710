//! The operator against a real API server: the light form of `tests/cluster` (etcd and kube-apiserver, no pods).

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::pair::{binaries::binary, metrics::Metrics, poll, process::Process};

/// An API server of its own; it goes when it is dropped, and when this process ends in any other way.
#[derive(Debug)]
pub struct Light {
    folder: TempDir,
    kubeconfig: PathBuf,
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster")
}

impl Light {
    /// Starts it, with the definitions of this workspace.
    #[allow(clippy::unused_async, reason = "tests start it as they start everything else")]
    pub async fn start() -> anyhow::Result<Self> {
        one_cryptography();
        let folder = TempDir::with_prefix("vectoll-")?;
        let output = Command::new(scripts().join("up"))
            .args(["--light", "--controllers", "--with-parent", &std::process::id().to_string(), "--dir"])
            .arg(folder.path().join("c"))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("failed to run tests/cluster/up")?;
        ensure!(output.status.success(), "the API server did not start: see above");
        let text = String::from_utf8_lossy(&output.stdout);
        let kubeconfig = PathBuf::from(text.lines().last().context("up printed no kubeconfig")?);
        let light = Self { folder, kubeconfig };
        let crds = scripts().join("../../crds");
        light.kubectl(&["apply", "--server-side", "-f", &crds.display().to_string()], None)?;
        light.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"], None)?;
        Ok(light)
    }

    /// One of its programs: stop, kill or start.
    pub fn component(&self, what: &str, name: &str) -> anyhow::Result<()> {
        let mut command = Command::new(scripts().join("component"));
        command.arg("--dir").arg(self.folder.path().join("c")).args([what, name]).stdin(Stdio::null());
        ensure!(command.status()?.success(), "tests/cluster/component {what} {name} failed");
        Ok(())
    }

    /// The path of an administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs kubectl and returns what it prints; what it complains of is the error.
    pub fn kubectl(&self, arguments: &[&str], input: Option<&str>) -> anyhow::Result<String> {
        kubectl(&self.folder.path().join("c/bin/kubectl"), &self.kubeconfig, arguments, input)
    }

    /// Commands as a page has them, in this folder: `kubectl` is on the path.
    pub fn shell(&self, script: &str, folder: &Path) -> anyhow::Result<String> {
        let bin = self.folder.path().join("c/bin");
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(folder)
            .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH")?))
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .output()
            .context("failed to run bash")?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{script}\n{out}{err}");
        Ok(out.into_owned())
    }

    /// `kubectl apply` of a manifest.
    pub fn apply(&self, yaml: &str) -> anyhow::Result<()> {
        self.kubectl(&["apply", "-f", "-"], Some(yaml)).map(|_| ())
    }

    /// A client with an administrator's rights.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// Requests of a kind that the API server has served, from its audit log: (verb, resource, user).
    pub fn requests(&self) -> anyhow::Result<Vec<Request>> {
        let path = self.folder.path().join("c/log/audit.log");
        let text = std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let mut requests = Vec::new();
        for line in text.lines() {
            let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else { continue };
            let text = |pointer: &str| event.pointer(pointer).and_then(|value| value.as_str()).unwrap_or("").to_owned();
            requests.push(Request {
                verb: text("/verb"),
                resource: text("/objectRef/resource"),
                subresource: text("/objectRef/subresource"),
                name: format!("{}/{}", text("/objectRef/namespace"), text("/objectRef/name")),
                agent: text("/userAgent"),
            });
        }
        Ok(requests)
    }
}

/// One request to the API server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// get, list, watch, create, update, patch, delete
    pub verb: String,
    /// As in secrets, pods, apikeys.
    pub resource: String,
    /// As in status.
    pub subresource: String,
    /// Of the object, with its namespace.
    pub name: String,
    /// The client program.
    pub agent: String,
}

impl Request {
    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

impl Drop for Light {
    #[allow(clippy::print_stderr, reason = "there is nobody else to tell")]
    fn drop(&mut self) {
        let down = Command::new(scripts().join("down"))
            .arg("--dir")
            .arg(self.folder.path().join("c"))
            .stdin(Stdio::null())
            .status();
        if !down.is_ok_and(|status| status.success()) {
            eprintln!("the API server in {} was not stopped", self.folder.path().display());
        }
    }
}

/// One provider of cryptography for all TLS of this process. The error only says that there is one already.
fn one_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn kubectl(program: &Path, kubeconfig: &Path, arguments: &[&str], input: Option<&str>) -> anyhow::Result<String> {
    let mut child = Command::new(program)
        .env("KUBECONFIG", kubeconfig)
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to run {}", program.display()))?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        std::io::Write::write_all(&mut stdin, text.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `vectoll-operator run` as a process.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    admin: std::net::SocketAddr,
}

impl Operator {
    /// Starts one and waits until it has listed everything.
    pub async fn start(light: &Light, identity: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut operator = Self::launch(light.kubeconfig(), "default", identity, arguments)?;
        operator.ready().await?;
        Ok(operator)
    }

    /// Starts one, in this namespace of the operator's.
    pub fn launch(kubeconfig: &Path, namespace: &str, identity: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        one_cryptography();
        let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(binary("vectoll-operator")?);
        command
            .args(["run", "--operator-namespace", namespace, "--identity", identity])
            .args(["--admin-listen", &free.to_string()])
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("VECTOLL_LOG_FORMAT", "json");
        Ok(Self { process: Process::spawn("vectoll-operator", command, None)?, admin: free })
    }

    /// Where Prometheus and probes ask.
    #[must_use]
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// Waits until it has listed everything.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let url = format!("http://{}/readyz", self.admin);
        poll::until("the operator to be ready", Duration::from_mins(1), async || {
            self.process.must_run()?;
            let answer = reqwest::get(&url).await;
            Ok(answer.is_ok_and(|answer| answer.status().is_success()).then_some(()))
        })
        .await
        .with_context(|| self.process.log().end())
    }

    /// Its families.
    pub async fn metrics(&self) -> anyhow::Result<Metrics> {
        Metrics::parse(&reqwest::get(format!("http://{}/metrics", self.admin)).await?.text().await?)
    }

    /// The most memory that it has taken, in MiB.
    pub fn peak_mib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(peak.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
    }

    /// Ends it by a signal and waits for the end.
    pub async fn end(&mut self, signal: Signal) -> anyhow::Result<std::process::ExitStatus> {
        self.process.signal(signal)?;
        self.process.ended(Duration::from_secs(30)).await
    }

    /// All that it logged.
    pub fn log(&self) -> String {
        self.process.log().text()
    }
}
