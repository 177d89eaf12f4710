//! The programs under test.

use std::collections::BTreeMap;
use std::env;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, anyhow, ensure};
use cargo_metadata::Message;

/// Where the two programs are.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `vectoll-operator`.
    pub operator: PathBuf,
    /// `vectoll-sidecar`.
    pub sidecar: PathBuf,
}

impl Binaries {
    /// The workspace's own, built if need be.
    pub fn built() -> anyhow::Result<Self> {
        Ok(Self { operator: binary("vectoll-operator")?, sidecar: binary("vectoll-sidecar")? })
    }
}

/// Writes a shell script that does these lines first and then becomes the program, with the script's arguments.
pub fn after(program: &Path, script: &Path, lines: &str) -> anyhow::Result<()> {
    std::fs::write(script, format!("#!/bin/sh\n{lines}\nexec {} \"$@\"\n", program.display()))?;
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The path of `vectoll-operator`, `kubectl-vectoll` or `vectoll-sidecar`: in the folder that `VECTOLL_PROGRAMS` names, if it does; else this workspace's own.
/// Then the first call of a process has cargo build all of them, in the profile that `VECTOLL_TEST_PROFILE` names (default: release, which is
/// what users run).
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<BTreeMap<String, PathBuf>, String>> = OnceLock::new();
    if let Some(folder) = env::var_os("VECTOLL_PROGRAMS") {
        let program = PathBuf::from(folder).join(name);
        ensure!(program.is_file(), "VECTOLL_PROGRAMS: there is no {}", program.display());
        return Ok(program);
    }
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    let built = built.as_ref().map_err(|error| anyhow!("{error}"))?;
    built.get(name).cloned().with_context(|| format!("cargo built no program {name}"))
}

fn build() -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let profile = env::var("VECTOLL_TEST_PROFILE").unwrap_or_else(|_| "release".to_owned());
    // Set by cargo for the tests it runs.
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(cargo);
    // What cargo tells the tests about their own package would make build scripts run again, and everything behind them be
    // compiled again, at every change between this and a plain `cargo build`.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_CRATE_NAME"
        }) {
            command.env_remove(name);
        }
    }
    let mut child = command
        .current_dir(workspace)
        .args(["build", "--profile", &profile, "--message-format=json-render-diagnostics"])
        .args(["-p", "vectoll-operator", "--bin", "vectoll-operator", "--bin", "kubectl-vectoll"])
        .args(["-p", "vectoll-sidecar", "--bin", "vectoll-sidecar"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start cargo")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut built = BTreeMap::new();
    for message in Message::parse_stream(BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) = message.context("failed to read cargo's messages")?
            && let Some(executable) = artifact.executable
        {
            built.insert(artifact.target.name, executable.into_std_path_buf());
        }
    }
    let status = child.wait().context("failed to wait for cargo")?;
    ensure!(status.success(), "cargo failed to build operator and sidecar: {status}");
    Ok(built)
}
