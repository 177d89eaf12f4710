//! `make doctor` on machines that lack something.

use std::{fs, os::unix::fs::symlink, process::Command};

use anyhow::{Context, ensure};
use vectoll_tests::documents::repository;

/// What the doctor said on a machine with these programs alone, and whether nothing was missing.
fn said(programs: &[&str]) -> anyhow::Result<(String, bool)> {
    let bin = tempfile::tempdir()?;
    for name in ["bash", "sort", "paste", "id"].iter().chain(programs) {
        let path = Command::new("sh").args(["-c", &format!("command -v {name}")]).output()?.stdout;
        symlink(String::from_utf8(path)?.trim(), bin.path().join(name)).with_context(|| (*name).to_owned())?;
    }
    let output = Command::new(repository().join("tests/doctor")).env("PATH", bin.path()).output();
    // The kernel looks for `env` by its path, and that finds bash by ours.
    let output = output.context("failed to run the doctor")?;
    let text = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
    Ok((text, output.status.success()))
}

#[test]
fn what_is_missing_is_named_for_its_targets_with_what_brings_it() -> anyhow::Result<()> {
    let (text, is_well) = said(&["cargo", "cc", "git"])?;
    ensure!(!is_well);
    let line = |target: &str| text.lines().find(|line| line.contains(&format!("make {target}"))).unwrap_or_default();
    ensure!(line("demo").starts_with('✓'), "the demo needs no more: {text}");
    ensure!(line("run") == "✗ make run: missing curl", "{text}");
    ensure!(line("cluster").contains("go, jq") && line("test").contains("npm"), "{text}");
    let bring = text.lines().find(|line| line.contains("apt-get install")).context("no command")?;
    for package in ["curl", "golang-go", "npm", "redis-server", "prometheus", "buildah"] {
        ensure!(bring.split(' ').any(|word| word == package), "{package}: {bring}");
    }
    let (text, _) = said(&["git"])?;
    ensure!(text.contains("✗ make demo: missing cargo, a C compiler, the static C library"), "{text}");
    ensure!(text.contains("rustup toolchain install"), "{text}");
    Ok(())
}

/// What the Makefile looks for is known to the doctor.
#[test]
fn the_doctor_knows_what_the_targets_look_for() -> anyhow::Result<()> {
    let doctor = fs::read_to_string(repository().join("tests/doctor"))?;
    let makefile = fs::read_to_string(repository().join("Makefile"))?;
    let rules = makefile.lines().filter(|line| !line.starts_with(['\t', '#', '.']));
    let needed: Vec<&str> =
        rules.flat_map(str::split_whitespace).filter_map(|word| word.strip_prefix("need-")).collect();
    ensure!(needed.len() > 8, "{needed:?}");
    for name in needed.into_iter().map(|name| name.trim_end_matches(':')).filter(|name| *name != "%") {
        let known = doctor.contains(&format!("|command:{name}|")) || doctor.contains(&format!("|{name}|"));
        ensure!(known, "the doctor does not know of {name}");
    }
    let packages = fs::read_to_string(repository().join("tests/cluster/needs"))?;
    let list = packages.lines().find_map(|line| line.strip_prefix("packages=(")).context("no packages")?;
    for package in list.split([' ', ')']).filter(|word| !word.is_empty() && !word.starts_with('"')) {
        ensure!(doctor.contains(&format!("|{package}|")), "the doctor does not know of {package}");
    }
    // And what only some targets ask for.
    let further: Vec<&str> = makefile
        .lines()
        .filter_map(|line| line.strip_prefix("\ttests/cluster/needs "))
        .flat_map(str::split_whitespace)
        .collect();
    ensure!(
        ["redis-server", "prometheus", "nginx-light", "valgrind"].iter().all(|one| further.contains(one)),
        "{further:?}"
    );
    for package in further {
        ensure!(doctor.contains(&format!("|{package}|")), "the doctor does not know of {package}");
    }
    Ok(())
}
