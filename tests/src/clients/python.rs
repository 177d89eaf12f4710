//! pytest with the package `openai`.

use std::path::PathBuf;

use anyhow::Context;
use tokio::process::Command;

use super::cache::Cached;
use super::stage::Stage;
use super::{here, program, run};

/// The Python of an environment with what a folder's `requirements.txt` names, made once and kept.
pub async fn environment(name: &str) -> anyhow::Result<PathBuf> {
    let python = program("python3", "python3 and python3-venv, 3.10 or later")?;
    let version = run("python3", Command::new(&python).arg("--version")).await?;
    let requirements = here(&format!("clients/{name}/requirements.txt"));
    let cached = Cached::new(name, &requirements, &version)?;
    let inside = cached.folder().join("bin/python");
    if !cached.is_complete() {
        cached.clear()?;
        run("python3 -m venv", Command::new(&python).args(["-m", "venv"]).arg(cached.folder()))
            .await
            .context("is python3-venv missing?")?;
        let mut pip = Command::new(&inside);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"]);
        run("pip install", pip.arg(&requirements)).await?;
        cached.complete()?;
    }
    Ok(inside)
}

/// Runs `clients/python` against `stage`; the error carries pytest's report.
pub async fn tests(stage: &Stage) -> anyhow::Result<String> {
    // One of the examples is a call of curl.
    program("curl", "curl")?;
    let inside = environment("python").await?;
    let mut pytest = Command::new(&inside);
    pytest
        // Nothing of a run stays in the checkout.
        .args(["-B", "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "-ra"])
        .arg(here("clients/python"))
        .current_dir(std::env::temp_dir())
        .envs(stage.environment());
    run("pytest", &mut pytest).await
}
