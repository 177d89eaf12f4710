//! The official clients against the running pair: their own code, in their own languages.

pub mod cache;
pub mod node;
pub mod python;
pub mod stage;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tokio::process::Command;

/// Runs `command` to its end; the error carries what it wrote.
pub(crate) async fn run(what: &str, command: &mut Command) -> anyhow::Result<String> {
    let output = command.kill_on_drop(true).output().await.with_context(|| format!("failed to start {what}"))?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what} ended with {}:\n{text}", output.status);
    Ok(text.into_owned())
}

/// The program in `PATH`, or an error that says what to install.
pub(crate) fn program(name: &str, package: &str) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file());
    found.with_context(|| format!("{name} is missing: install {package}"))
}

/// A file or folder of this crate.
pub fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
