//! pytest with the package `openai`.

use std::path::PathBuf;

use anyhow::Context;
use tokio::process::Command;

use super::cache::Cached;
use super::stage::Stage;
use super::{here, program, run};
use crate::documents::{block, with};

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
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]);
        // A registry may be out of breath for a minute.
        pip.args(["--retries", "10", "--timeout", "60", "-r"]);
        run("pip install", pip.arg(&requirements)).await?;
        cached.complete()?;
    }
    Ok(inside)
}

/// Runs `clients/python` against `stage`; the error carries pytest's report.
pub async fn tests(stage: &Stage) -> anyhow::Result<String> {
    // One of the examples is a call of curl.
    program("curl", "curl")?;
    pytest("python", stage).await
}

/// Runs `clients/litellm`, LiteLLM's own package as a caller, likewise.
pub async fn litellm(stage: &Stage) -> anyhow::Result<String> {
    pytest("litellm", stage).await
}

async fn pytest(folder: &str, stage: &Stage) -> anyhow::Result<String> {
    let inside = environment(folder).await?;
    let mut pytest = Command::new(&inside);
    pytest
        // Nothing of a run stays in the checkout.
        .args(["-B", "-m", "pytest", "-p", "no:cacheprovider", "-p", "running_pair", "--color=no", "-ra"])
        .arg(here(&format!("clients/{folder}")))
        .current_dir(std::env::temp_dir())
        .env("PYTHONPATH", here("clients"))
        .envs(stage.environment());
    run("pytest", &mut pytest).await
}

/// Runs the README's program in Python, as it stands there but for the key and the port; it prints the length of the vector.
pub async fn readme(stage: &Stage) -> anyhow::Result<String> {
    let environment = stage.environment();
    let of = |name: &str| environment.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str());
    let program = block("python")?;
    let program = with(&program, "sk-vt-…", of("VECTOLL_KEY").context("no key")?)?;
    let program = with(&program, "http://localhost:4000", of("VECTOLL_BASE_URL").context("no URL")?)?;
    let program = with(&program, "client.embeddings.create(", "answer = client.embeddings.create(")?;
    let mut python = Command::new(self::environment("python").await?);
    python
        .args(["-B", "-c", &format!("{program}\nprint(len(answer.data[0].embedding))")])
        .current_dir(std::env::temp_dir());
    run("the README's program", &mut python).await
}
