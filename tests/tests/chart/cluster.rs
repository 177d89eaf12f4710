//! A light cluster of a test's own: etcd, API server and controller manager, no nodes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;
use vectoll_tests::pair::binaries::binary;

use crate::tool::{NAMESPACE, Said, helm, repository, run};

/// Machines are small: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs until it is dropped.
pub struct Cluster {
    folder: TempDir,
    kubeconfig: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    pub fn start() -> anyhow::Result<Self> {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::Builder::new().prefix("vectoll-chart-").tempdir()?;
        let mut up = Command::new(repository("tests/cluster/up"));
        up.args(["--light", "--controllers", "--with-parent", &std::process::id().to_string(), "--dir"]);
        let said = run(up.arg(folder.path()))?.ok().context("the cluster does not start")?;
        let kubeconfig = said.lines().last().context("no kubeconfig")?.into();
        let cluster = Self { folder, kubeconfig, _turn: turn };
        cluster.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}, labels: {RESTRICTED}}}}}"
        ))?;
        Ok(cluster)
    }

    /// Where an administrator's kubeconfig is.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A command line of kubectl's.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<Said> {
        run(self.command().args(arguments))
    }

    fn command(&self) -> Command {
        let mut kubectl = Command::new(self.folder.path().join("bin/kubectl"));
        kubectl.arg("--kubeconfig").arg(&self.kubeconfig);
        // kubectl's cache of what the API server serves, and the user's preferences, stay out of it.
        kubectl.env("KUBECACHEDIR", self.folder.path().join("kubectl")).env("KUBECTL_KUBERC", "false");
        kubectl
    }

    /// kubectl with a manifest as its input: `--filename -` is added.
    pub fn kubectl_with(&self, arguments: &[&str], manifest: &str) -> anyhow::Result<Said> {
        let mut child = self
            .command()
            .args(arguments)
            .args(["--filename", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to start kubectl")?;
        child.stdin.take().context("no stdin")?.write_all(manifest.as_bytes())?;
        let output = child.wait_with_output()?;
        Ok(Said {
            well: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    pub fn apply(&self, manifest: &str) -> anyhow::Result<()> {
        self.kubectl_with(&["apply", "--server-side"], manifest)?.ok().map(drop)
    }

    /// Objects as JSON: `get(&["pods", "--all-namespaces"])`.
    pub fn get(&self, what: &[&str]) -> anyhow::Result<Value> {
        let said = self.kubectl(&[&["get", "--output", "json"], what].concat())?.ok()?;
        serde_json::from_str(&said).context("kubectl get")
    }

    /// A kubeconfig for who has this token.
    pub fn kubeconfig_of(&self, token: &str) -> anyhow::Result<String> {
        let mut config: Value = serde_yaml::from_str(&std::fs::read_to_string(&self.kubeconfig)?)?;
        config["users"][0]["user"] = serde_json::json!({"token": token});
        Ok(config.to_string())
    }

    /// Commands as a page has them, in the repository's folder: `helm`, `kubectl` and `vectoll-operator` are on the path.
    pub fn shell(&self, script: &str) -> anyhow::Result<Said> {
        let helm = helm()?;
        let operator = binary("vectoll-operator")?;
        let folder = |program: &Path| program.parent().map(|folder| folder.display().to_string()).context("no folder");
        let path = [
            folder(Path::new(helm.get_program()))?,
            self.folder.path().join("bin").display().to_string(),
            folder(&operator)?,
            std::env::var("PATH")?,
        ];
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", script]).current_dir(repository("."));
        shell.env("PATH", path.join(":"));
        shell.env("KUBECACHEDIR", self.folder.path().join("kubectl")).env("KUBECTL_KUBERC", "false");
        for (name, value) in helm.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        run(shell.env("KUBECONFIG", &self.kubeconfig))
    }

    /// Helm on this cluster, in the release's namespace.
    pub fn helm(&self, arguments: &[&str]) -> anyhow::Result<Said> {
        run(helm()?.args(["--namespace", NAMESPACE, "--kubeconfig"]).arg(&self.kubeconfig).args(arguments))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let down = run(Command::new(repository("tests/cluster/down")).arg("--dir").arg(self.folder.path()));
        if let Err(error) = down.and_then(Said::ok) {
            eprintln!("the cluster does not stop: {error:#}");
        }
    }
}

/// Labels of a namespace that takes only what the strictest Pod Security Standard allows, and says so of Deployments, too.
pub const RESTRICTED: &str =
    "{pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/warn: restricted}";

/// Tries until it holds, for what controllers and the API server's caches do in their own time.
pub fn eventually(what: &str, mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds()? {
        ensure!(Instant::now() < deadline, "not in a minute: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
