//! What a run found, for people and for machines.

use std::fmt::Write;

use serde::Serialize;

use super::load::{Load, Pace};
use super::machine::Machine;
use super::measure::{Figures, Plan, Row};
use super::payload::Payload;
use super::procfs::mebibytes;
use super::scenario::{Scenario, Section};
use super::statistics::Spread;

/// The whole result.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// With which programs.
    pub versions: Vec<(&'static str, String)>,
    /// By which command, in the repository's folder.
    pub command: String,
    /// How long and how often.
    pub plan: Plan,
    /// What each scenario found.
    pub sections: Vec<Section>,
}

/// A payload and what the sidecar's CPU time by nginx's must not pass.
const CEILINGS: [(Payload, f64); 2] = [(Payload::ONE_BASE64, 1.6), (Payload::BATCH_FLOAT, 0.7)];

impl Report {
    /// One table of all rows, and the figures that are no rows.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_markdown(&mut out);
        out
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}\n", self.summary())?;
        if self.sections.iter().any(|section| !section.rows.is_empty()) {
            writeln!(out, "| scenario {HEAD}\n|---{RULE}")?;
        }
        for section in &self.sections {
            let name = section.scenario.name();
            for row in &section.rows {
                writeln!(out, "| {name} {}", cells(row))?;
            }
        }
        for section in self.sections.iter().filter(|section| !section.remarks.is_empty()) {
            writeln!(out, "\n{}:\n\n{}", section.scenario.name(), section.remarks_table())?;
        }
        Ok(())
    }

    /// Where and how, in a line.
    pub fn summary(&self) -> String {
        let Plan { time, rounds, is_trial, .. } = self.plan;
        let Machine { cores, cpu, .. } = &self.machine;
        let trial = if is_trial { " A TRIAL: these are no figures." } else { "" };
        format!(
            "{cores} cores of {cpu}; medians of {rounds} rounds of {time:?} each; ratios are to the first line of a case.{trial}"
        )
    }

    /// What the project promises and this run did not keep. A ratio that was not measured is not kept.
    pub fn broken_promises(&self) -> Vec<String> {
        let rows: Vec<&Row> = self
            .sections
            .iter()
            .filter(|section| section.scenario == Scenario::Calls)
            .flat_map(|section| &section.rows)
            .collect();
        let broken = CEILINGS.iter().filter_map(|(payload, ceiling)| {
            let title = payload.title();
            let row = rows.iter().find(|row| row.who == "sidecar" && row.case == title);
            match row.and_then(|row| row.cpu_ratio) {
                None => Some(format!("{title}: the ratio was not measured")),
                Some(ratio) if ratio.median > *ceiling => {
                    Some(format!("{title}: sidecar / nginx is {:.2}, more than {ceiling}", ratio.median))
                }
                Some(_) => None,
            }
        });
        broken.collect()
    }
}

/// Columns of a row, after the first.
const HEAD: &str =
    "| case | who | load | CPU, µs a call | × | calls/s | p50, µs | × | p90, µs | p99, µs | × | resident, MiB |";
const RULE: &str = "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|";

impl Section {
    /// The table of its rows; nothing if it has none.
    pub fn rows_table(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        // The first column is the scenario's, which all of them share here.
        let rows = self.rows.iter().map(|row| cells(row) + "\n").collect::<String>();
        format!("{HEAD}\n{RULE}\n{rows}")
    }

    /// The table of its further figures; nothing if it has none.
    pub fn remarks_table(&self) -> String {
        if self.remarks.is_empty() {
            return String::new();
        }
        let lines = self.remarks.iter().map(|remark| {
            // A count has no fraction.
            let digits = usize::from(remark.value.fract() != 0.0);
            format!("| {} | {:.digits$} {} |\n", remark.what, remark.value, remark.unit)
        });
        format!("| figure | |\n|---|--:|\n{}", lines.collect::<String>())
    }
}

fn cells(row: &Row) -> String {
    let Load { connections, pace } = row.load;
    let load = match pace {
        Pace::Closed => format!("closed, {connections}"),
        Pace::Open(rate) => format!("{rate}/s, {connections}"),
    };
    let median = |field: fn(&Figures) -> Option<f64>| number(row.spread(field).map(|spread| spread.median));
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let resident = row.spread(|figures| figures.resident.map(|bytes| bytes as f64));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes")]
    let resident = resident.map_or_else(none, |spread| format!("{:.1}", mebibytes(spread.median as u64)));
    let figures = [
        median(|figures| figures.cpu),
        ratio(row.cpu_ratio),
        median(|figures| Some(figures.rate)),
        median(|figures| Some(figures.p50)),
        ratio(row.p50_ratio),
        median(|figures| Some(figures.p90)),
        median(|figures| Some(figures.p99)),
        ratio(row.p99_ratio),
        resident,
    ];
    format!("| {} | {} | {load} | {} |", row.case, row.who, figures.join(" | "))
}

fn none() -> String {
    "–".to_owned()
}

/// Three digits of what is small, all before the point of what is not.
fn number(value: Option<f64>) -> String {
    value.map_or_else(none, |value| if value.abs() < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") })
}

fn ratio(spread: Option<Spread>) -> String {
    spread.map_or_else(none, |Spread { min, median, max }| format!("**{median:.2}** ({min:.2}–{max:.2})"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::remark::Remark;
    use super::*;

    fn report(one: f64, batch: f64) -> Report {
        let figures = |cpu| Figures {
            cpu: Some(cpu),
            rate: 1_000.0,
            p50: 2.0,
            p90: 3.0,
            p99: 40.0,
            max: 50.0,
            resident: Some(3 << 19),
        };
        let rows = |payload: Payload, ratio: f64| {
            let first: Vec<_> = [100.0, 300.0, 200.0].map(figures).to_vec();
            let second: Vec<_> = [100.0, 300.0, 200.0].map(|cpu| figures(cpu * ratio)).to_vec();
            let title = payload.title();
            let load = Load::closed(8);
            [
                Row::new(&title, "nginx", load, first.clone(), None),
                Row::new(&title, "sidecar", load, second, Some(&first)),
            ]
        };
        let rows = [rows(Payload::ONE_BASE64, one), rows(Payload::BATCH_FLOAT, batch)].concat();
        let remarks = vec![Remark::new("calls", 3.0, "calls"), Remark::new("longest", 4.26, "ms")];
        Report {
            machine: Machine::this(),
            versions: vec![("nginx", "1".to_owned())],
            command: "make bench".to_owned(),
            plan: Plan { time: Duration::from_secs(1), rounds: 3, connections: 8, is_trial: false },
            sections: vec![Section { scenario: Scenario::Calls, rows, remarks }],
        }
    }

    #[test]
    fn ceilings_are_watched() {
        assert!(report(1.59, 0.69).broken_promises().is_empty());
        assert_eq!(report(1.61, 0.69).broken_promises().len(), 1);
        assert_eq!(report(1.59, 0.71).broken_promises().len(), 1);
        let mut half = report(1.0, 0.1);
        half.sections.clear();
        assert_eq!(half.broken_promises().len(), 2);
    }

    #[test]
    fn tables_show_medians() {
        let text = report(1.5, 0.5).markdown();
        let line = "| calls | 1 input, base64 | sidecar | closed, 8 | 300 | **1.50** (1.50–1.50) | 1000 | 2.0 | **1.00** (1.00–1.00) | 3.0 | 40 | **1.00** (1.00–1.00) | 1.5 |";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("| calls | 100 inputs, float | nginx | closed, 8 | 200 | – |"), "{text}");
        assert!(text.contains("| calls | 3 calls |\n| longest | 4.3 ms |"), "{text}");
    }

    #[test]
    fn machines_read_all_of_it() {
        let json = serde_json::to_value(report(1.5, 0.5)).unwrap();
        let row = &json["sections"][0]["rows"][1];
        assert_eq!((&row["who"], &row["rounds"][2]["cpu"]), (&"sidecar".into(), &300.0.into()), "{row}");
        for field in ["machine", "versions", "command", "plan"] {
            assert!(!json[field].is_null(), "{field}");
        }
    }
}
