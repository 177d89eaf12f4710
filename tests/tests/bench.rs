//! The benchmark itself: every scenario runs to its end, and says what it found. Its numbers are no figures here.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use serde_json::Value;
use vectoll_tests::{
    bench::{nginx::Nginx, scenario::Scenario},
    pair::binaries::Binaries,
};

/// What the program says to these arguments, and the report that it wrote.
fn trial(further: &[&str]) -> anyhow::Result<(String, Value)> {
    let Binaries { operator, sidecar } = Binaries::built()?;
    let folder = tempfile::tempdir()?;
    let json: PathBuf = folder.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_vectoll-bench"))
        .arg("--operator")
        .arg(operator)
        .arg("--sidecar")
        .arg(sidecar)
        .args(["--trial", "--connections", "2", "--json"])
        .arg(&json)
        .args(further)
        .output()
        .context("failed to run the benchmark")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok((said, serde_json::from_str(&fs::read_to_string(&json)?)?))
}

#[test]
fn every_scenario_runs_to_its_end() -> anyhow::Result<()> {
    Nginx::find()?;
    let (said, report) = trial(&[])?;
    let sections = report.get("sections").and_then(Value::as_array).context("no sections")?;
    ensure!(sections.len() == Scenario::all().len(), "{said}");
    for section in sections {
        let count = |field: &str| section.get(field).and_then(Value::as_array).map_or(0, Vec::len);
        ensure!(count("rows") + count("remarks") > 1, "{section:#}");
    }
    for part in ["| calls | 1 input, base64 | sidecar |", "| reload |", "segments that the journal began", "A TRIAL"] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    Ok(())
}
