//! `node --test` with the package `openai`.

use std::fs;
use std::os::unix;
use std::path::Path;

use anyhow::Context;
use tokio::process::Command;

use super::cache::Cached;
use super::stage::Stage;
use super::{here, program, run};

/// Runs `clients/node` against `stage`; the error carries the test runner's report.
pub async fn tests(stage: &Stage) -> anyhow::Result<String> {
    let node = program("node", "nodejs, 20 or later")?;
    let npm = program("npm", "npm")?;
    let version = run("node", Command::new(&node).arg("--version")).await?;
    let cached = Cached::new("node", &here("clients/node/package-lock.json"), &version)?;
    if !cached.is_complete() {
        cached.clear()?;
        for file in ["package.json", "package-lock.json"] {
            copy(&here("clients/node").join(file), &cached.folder().join(file))?;
        }
        let mut ci = Command::new(&npm);
        // A registry may be out of breath for a minute.
        let patient = ["--fetch-retries=10", "--fetch-retry-maxtimeout=20000"];
        ci.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).args(patient).current_dir(cached.folder());
        run("npm ci", &mut ci).await?;
        cached.complete()?;
    }
    // Modules are looked for beside the file that imports them: the tests go to them, not they to the checkout.
    let folder = tempfile::Builder::new().prefix("vectoll-node-").tempdir().context("failed to create a folder")?;
    for entry in fs::read_dir(here("clients/node")).context("failed to read clients/node")? {
        let path = entry?.path();
        let name = path.file_name().context("a file without a name")?;
        if path.extension().is_some_and(|extension| extension == "js" || extension == "json") {
            copy(&path, &folder.path().join(name))?;
        }
    }
    let modules = cached.folder().join("node_modules");
    unix::fs::symlink(modules, folder.path().join("node_modules")).context("failed to link node_modules")?;
    let mut test = Command::new(&node);
    // One file after the other: they look at what the provider saw last.
    test.args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
        .current_dir(folder.path())
        .envs(stage.environment());
    run("node --test", &mut test).await
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to).with_context(|| format!("failed to copy {}", from.display()))?;
    Ok(())
}
