//! A program under callgrind: how counting is begun and ended, and what is in the files that it writes.
//!
//! Format: <https://valgrind.org/docs/manual/cl-format.html>.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

/// A program that runs under callgrind from its start, and counts when it is told to.
#[derive(Debug)]
pub struct Callgrind {
    folder: PathBuf,
    program: PathBuf,
    dumps: usize,
}

/// What was counted between two moments, over all threads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dump {
    /// All instructions.
    pub total: u64,
    /// Those of each function without what it calls.
    pub own: BTreeMap<String, u64>,
    /// Those of each function with what it calls.
    pub inclusive: BTreeMap<String, u64>,
}

impl Callgrind {
    /// A script in `folder` that runs `program` under callgrind; what is counted goes there as well.
    pub fn new(folder: &Path, program: &Path) -> anyhow::Result<Self> {
        ensure!(
            Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success()),
            "valgrind is missing: install the package valgrind (Debian: tests/cluster/needs valgrind)"
        );
        let script = folder.join("under-callgrind");
        let counted = folder.join("counted");
        let options = "--tool=callgrind --instr-atstart=no";
        let (counted, program) = (counted.display(), program.display());
        let text = format!("#!/bin/sh\nexec valgrind {options} --callgrind-out-file='{counted}' '{program}' \"$@\"\n");
        fs::write(&script, text)
            .and_then(|()| fs::set_permissions(&script, Permissions::from_mode(0o755)))
            .context("failed to write a script for valgrind")?;
        Ok(Self { folder: folder.to_owned(), program: script, dumps: 0 })
    }

    /// What is started in the program's place.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Counts from here on, or no more. The program is that process.
    pub fn count(&self, pid: u32, is_on: bool) -> anyhow::Result<()> {
        control(if is_on { "--instr=on" } else { "--instr=off" }, pid)
    }

    /// What was counted since the dump before.
    pub fn dump(&mut self, pid: u32) -> anyhow::Result<Dump> {
        control("--dump", pid)?;
        self.dumps += 1;
        let prefix = format!("counted.{}", self.dumps);
        let mut dump = None;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            // A file for each thread, or one for all.
            let is_of_it = name.to_str().and_then(|name| name.strip_prefix(&prefix));
            if is_of_it.is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) {
                let text = fs::read_to_string(entry.path())?;
                parse(&text, dump.get_or_insert_default()).with_context(|| format!("failed to read {prefix}"))?;
            }
        }
        dump.with_context(|| format!("callgrind wrote no {prefix}"))
    }
}

fn control(what: &str, pid: u32) -> anyhow::Result<()> {
    let output = Command::new("callgrind_control").args([what, &pid.to_string()]).output();
    let output = output.context("failed to run callgrind_control: install the package valgrind")?;
    ensure!(output.status.success(), "callgrind_control {what}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Adds what a file says.
fn parse(text: &str, dump: &mut Dump) -> anyhow::Result<()> {
    let mut names = BTreeMap::new();
    let (mut function, mut called, mut is_call) = (String::new(), String::new(), false);
    let mut has_total = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = resolve(name, &mut names)?;
        } else if let Some(name) = line.strip_prefix("cfn=") {
            called = resolve(name, &mut names)?;
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if let Some(total) = line.strip_prefix("totals: ") {
            dump.total += total.trim().parse::<u64>().context("the total is no number")?;
            has_total = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            // A position, and what was counted there.
            let Some(cost) = line.split(' ').nth(1) else { continue };
            let cost: u64 = cost.parse().with_context(|| format!("not a cost: {line}"))?;
            if !is_call {
                *dump.own.entry(function.clone()).or_default() += cost;
                add(&mut dump.inclusive, &function, cost);
            } else if function != called {
                // Of one that calls itself only the outermost call counts.
                add(&mut dump.inclusive, &function, cost);
            }
            is_call = false;
        }
    }
    ensure!(has_total, "it has no total");
    Ok(())
}

/// What was under way when counting began has costs that make no sense, such as ones below zero: those of functions that never return.
fn add(costs: &mut BTreeMap<String, u64>, function: &str, cost: u64) {
    let sum = costs.entry(function.to_owned()).or_default();
    *sum = sum.wrapping_add(cost);
}

/// `(12) name` the first time, `(12)` from then on.
fn resolve(text: &str, names: &mut BTreeMap<u64, String>) -> anyhow::Result<String> {
    let (number, name) = text.strip_prefix('(').and_then(|rest| rest.split_once(')')).context("not a name's number")?;
    let number = number.parse().context("not a name's number")?;
    let name = name.trim();
    if !name.is_empty() {
        names.insert(number, name.to_owned());
    }
    let Some(name) = names.get(&number) else { bail!("the name {number} was never said") };
    Ok(name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# callgrind format
version: 1
positions: line
events: Ir
summary: 1130

ob=(1) /program
fl=(1) ???
fn=(1) main
0 20
cfn=(2) parse
calls=3 0
0 1100

fn=(2)
0 400
+3 100
cfn=(2)
calls=2 0
* 300
cfn=(3) copy'2
calls=1 0
-1 600

fn=(3)
0 600

totals: 1130
";

    #[test]
    fn costs_are_summed_by_function() {
        let mut dump = Dump::default();
        parse(TEXT, &mut dump).unwrap();
        assert_eq!(dump.total, 1_130);
        assert_eq!((dump.own["main"], dump.own["parse"], dump.own["copy'2"]), (20, 500, 600));
        assert_eq!((dump.inclusive["main"], dump.inclusive["parse"]), (1_120, 1_100));
    }

    #[test]
    fn a_file_that_is_cut_is_an_error() {
        let cut = TEXT.split("totals").next().unwrap();
        assert!(parse(cut, &mut Dump::default()).is_err());
        assert!(parse("fn=(7)\n", &mut Dump::default()).is_err());
    }
}
