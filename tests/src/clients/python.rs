//! pytest with the package `openai`.

use anyhow::Context;
use tokio::process::Command;

use super::cache::Cached;
use super::stage::Stage;
use super::{here, program, run};

/// Runs `clients/python` against `stage`; the error carries pytest's report.
pub async fn tests(stage: &Stage) -> anyhow::Result<String> {
    let python = program("python3", "python3 and python3-venv, 3.10 or later")?;
    // One of the examples is a call of curl.
    program("curl", "curl")?;
    let version = run("python3", Command::new(&python).arg("--version")).await?;
    let requirements = here("clients/python/requirements.txt");
    let cached = Cached::new("python", &requirements, &version)?;
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
    let mut pytest = Command::new(&inside);
    pytest
        // Nothing of a run stays in the checkout.
        .args(["-B", "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "-ra"])
        .arg(here("clients/python"))
        .current_dir(cached.folder())
        .envs(stage.environment());
    run("pytest", &mut pytest).await
}
