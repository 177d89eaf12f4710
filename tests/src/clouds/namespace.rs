//! A network and mounts of the test's own: the test program starts itself again in them.
//!
//! Loopback carries the addresses of the machine's own servers, `/etc/hosts` and `/etc/resolv.conf` are files of the test, and `/run`
//! is empty, for the tokens that a kubelet would mount. All of it goes with the process, and none of it needs root.

use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, bail, ensure};
use nix::mount::{MsFlags, mount};

use super::{AGENT, METADATA};
use crate::pair::{Setup, binaries::Binaries};

/// Set in the process inside: the programs under test, which are built outside.
const OPERATOR: &str = "VECTOLL_TEST_NAMESPACE_OPERATOR";
const SIDECAR: &str = "VECTOLL_TEST_NAMESPACE_SIDECAR";
/// User (as root), network and mount namespaces of its own; the process ends with the one that started it.
const UNSHARE: [&str; 4] = ["--map-root-user", "--net", "--mount", "--kill-child"];

/// Runs a test inside. `name` is the test's own, by which it is found there; `hosts` are lines of `/etc/hosts` beside localhost's.
pub fn inside<F>(name: &str, hosts: &[(&str, &str)], work: impl FnOnce(Inside) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let (Some(operator), Some(sidecar)) = (env::var_os(OPERATOR), env::var_os(SIDECAR)) else {
        return again(name);
    };
    let setup = Setup::of(Binaries { operator: operator.into(), sidecar: sidecar.into() });
    let inside = Inside::prepare(setup, hosts)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(work(inside))
}

/// Starts this test alone, in namespaces.
fn again(name: &str) -> anyhow::Result<()> {
    run("ip", "iproute2", Command::new("ip").arg("-Version"))?;
    let probe = run("unshare", "util-linux", Command::new("unshare").args(UNSHARE).arg("true"))?;
    ensure!(probe.status.success(), "missing: user, network and mount namespaces: {}", said(&probe));
    let Binaries { operator, sidecar } = Binaries::built()?;
    let program = env::current_exe().context("failed to find the test program")?;
    let output = Command::new("unshare")
        .args(UNSHARE)
        .arg(program)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(OPERATOR, operator)
        .env(SIDECAR, sidecar)
        .stdin(Stdio::null())
        .output()
        .context("failed to start unshare")?;
    ensure!(output.status.success(), "in the namespaces: {}", said(&output));
    // A name that is no test's runs none, and succeeds.
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(text.contains("test result: ok. 1 passed"), "{name} did not run in the namespaces: {}", said(&output));
    Ok(())
}

fn run(program: &str, package: &str, command: &mut Command) -> anyhow::Result<Output> {
    match command.stdin(Stdio::null()).output() {
        Ok(output) => Ok(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("missing: {program} (Debian's package {package})")
        }
        Err(error) => Err(error).with_context(|| format!("failed to start {program}")),
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The world inside.
#[derive(Debug)]
pub struct Inside {
    /// The programs under test, with nothing special.
    pub setup: Setup,
    // Goes with the test: what is mounted from it lives on in the namespace only.
    _files: tempfile::TempDir,
}

impl Inside {
    fn prepare(setup: Setup, hosts: &[(&str, &str)]) -> anyhow::Result<Self> {
        ip(&["link", "set", "lo", "up"])?;
        for [a, b, c, d] in [METADATA, AGENT] {
            ip(&["address", "add", &format!("{a}.{b}.{c}.{d}/32"), "dev", "lo"])?;
        }
        let files = tempfile::tempdir().context("failed to make a folder")?;
        let lines =
            [("127.0.0.1", "localhost")].iter().chain(hosts).map(|(address, name)| format!("{address} {name}\n"));
        bind(files.path(), "hosts", &lines.collect::<String>())?;
        bind(files.path(), "resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")?;
        let run = fs::canonicalize("/var/run").context("missing: /var/run")?;
        mount(Some("tmpfs"), &run, Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("failed to mount {}", run.display()))?;
        Ok(Self { setup, _files: files })
    }

    /// Writes a file where a kubelet would have mounted it; returns its path.
    pub fn token(&self, folder: &str, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = Path::new(folder).join(name);
        fs::create_dir_all(folder).with_context(|| format!("failed to make {folder}"))?;
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
        Ok(path)
    }
}

fn bind(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let (ours, theirs) = (folder.join(name), Path::new("/etc").join(name));
    fs::write(&ours, text)?;
    mount(Some(&ours), &theirs, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("failed to mount {}", theirs.display()))
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = run("ip", "iproute2", Command::new("ip").args(arguments))?;
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), said(&output));
    Ok(())
}
