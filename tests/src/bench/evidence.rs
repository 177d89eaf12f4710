//! A page for each figure: the command, the machine, the versions, the numbers, and what they do not show.

use std::{fmt::Write, fs, path::Path};

use anyhow::Context;

use super::{
    machine::Machine,
    report::Report,
    scenario::{Scenario, Section},
};

/// What stands where numbers will.
const NOT_YET: &str = "Not measured yet: run the command.";

/// The command that writes a scenario's page.
pub fn command(scenario: Scenario) -> String {
    format!("make evidence ONLY={}", scenario.name())
}

/// The page of a scenario before it was measured.
pub fn frame(scenario: Scenario) -> String {
    let head = head(scenario);
    let limits = scenario.limits();
    format!("{head}## Numbers\n\n{NOT_YET}\n\n## What it does not show\n\n{limits}\n")
}

fn head(scenario: Scenario) -> String {
    let (title, command, method) = (scenario.title(), command(scenario), scenario.method());
    format!("# {title}\n\nCommand: `{command}`\n\n{method}\n\n")
}

/// The page of a scenario that was measured.
pub fn page(report: &Report, section: &Section) -> String {
    let scenario = section.scenario;
    let mut out = head(scenario);
    // Writing to a string cannot fail.
    let _ = write_numbers(&mut out, report, section);
    let limits = scenario.limits();
    out + &format!("## What it does not show\n\n{limits}\n")
}

fn write_numbers(out: &mut String, report: &Report, section: &Section) -> std::fmt::Result {
    let Machine { cores, cpu, memory_mib, kernel, architecture } = &report.machine;
    writeln!(out, "## Numbers\n\n{}\n", report.summary())?;
    for table in [section.rows_table(), section.remarks_table()].iter().filter(|table| !table.is_empty()) {
        writeln!(out, "{table}")?;
    }
    writeln!(out, "All rounds: [{name}.json]({name}.json).\n", name = section.scenario.name())?;
    writeln!(out, "## Machine and versions\n\n| | |\n|---|---|")?;
    writeln!(out, "| CPU | {cores} × {cpu}, {architecture} |")?;
    writeln!(out, "| memory | {memory_mib} MiB |")?;
    writeln!(out, "| kernel | {kernel} |")?;
    for (what, version) in &report.versions {
        writeln!(out, "| {what} | {version} |")?;
    }
    writeln!(out, "| run as | `{}` |\n", report.command)
}

/// Writes the page of each of the report's sections, and its numbers beside it.
pub fn write(folder: &Path, report: &Report) -> anyhow::Result<()> {
    for section in &report.sections {
        let name = section.scenario.name();
        let alone = Report {
            machine: report.machine.clone(),
            versions: report.versions.clone(),
            command: report.command.clone(),
            plan: report.plan,
            sections: vec![section.clone()],
        };
        let json = serde_json::to_string_pretty(&alone).context("failed to write the numbers as JSON")?;
        for (extension, text) in [("md", page(report, section)), ("json", json + "\n")] {
            let file = folder.join(format!("{name}.{extension}"));
            fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{measure::Plan, remark::Remark};
    use super::*;
    use crate::documents::repository;

    /// A page that was not written by its command is one that nobody can check.
    #[test]
    fn every_scenario_has_its_page_and_every_page_its_command() {
        let folder = repository().join("tests/evidence");
        let list = fs::read_to_string(folder.join("README.md")).unwrap();
        for scenario in Scenario::all() {
            let name = scenario.name();
            let file = folder.join(format!("{name}.md"));
            let is_measured = fs::read_to_string(&file).is_ok_and(|text| !text.contains(NOT_YET));
            if std::env::var_os("VECTOLL_UPDATE").is_some() && !is_measured {
                fs::write(&file, frame(*scenario)).unwrap();
            }
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert!(text.starts_with(&head(*scenario)), "{name}: the page's head is another than the scenario's");
            assert!(text.ends_with(&format!("{}\n", scenario.limits())), "{name}: the page's end is another");
            assert_eq!(text.contains(NOT_YET), !folder.join(format!("{name}.json")).exists(), "{name}: its numbers");
            assert!(list.contains(&format!("({name}.md)")), "{name}: the folder's list has no line for it");
        }
    }

    #[test]
    fn a_page_has_what_it_takes_to_measure_again() {
        let section = Section {
            scenario: Scenario::Memory,
            rows: Vec::new(),
            remarks: vec![Remark::new("sidecar: idle", 10.0, "MiB")],
        };
        let report = Report {
            machine: Machine::this(),
            versions: vec![("nginx", "1.2.3".to_owned())],
            command: "vectoll-bench --only memory".to_owned(),
            plan: Plan { time: Duration::from_secs(1), rounds: 3, connections: 8, is_trial: false },
            sections: vec![section],
        };
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &report).unwrap();
        let text = fs::read_to_string(folder.path().join("memory.md")).unwrap();
        for part in ["`make evidence ONLY=memory`", "| sidecar: idle | 10 MiB |", "| nginx | 1.2.3 |", "memory.json"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(fs::read_to_string(folder.path().join("memory.json")).unwrap().contains("\"value\": 10.0"));
    }
}
