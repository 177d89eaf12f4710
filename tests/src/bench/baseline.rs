//! The instructions that were counted when the baseline was last renewed, and what has become more since.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path, process::Command};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::instructions::Instructions;

/// What may be more, or less, in a hundred.
pub const TOLERANCE_PERCENT: u64 = 5;
/// The command that renews it.
pub const RENEW: &str = "make baseline";

/// A baseline, as it is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// How it is renewed.
    pub renewed_by: String,
    /// The processor's kind, as far as it changes what is executed.
    pub processor: String,
    /// What counted.
    pub valgrind: String,
    /// Instructions by call, and by call and stage.
    pub instructions: BTreeMap<String, u64>,
}

/// What a count is to a baseline.
#[derive(Debug, Default)]
pub struct Comparison {
    /// All of it, for people.
    pub table: String,
    /// What fails.
    pub more: Vec<String>,
    /// What is so much less that the baseline should be renewed.
    pub less: Vec<String>,
}

impl Baseline {
    /// What was counted here.
    pub fn of(counted: &[Instructions]) -> Self {
        let mut instructions = BTreeMap::new();
        for one in counted {
            instructions.insert(one.call.clone(), one.per_call);
            instructions.extend(one.stages.iter().map(|(stage, cost)| (format!("{}: {stage}", one.call), *cost)));
        }
        Self { renewed_by: RENEW.to_owned(), processor: processor(), valgrind: valgrind(), instructions }
    }

    /// From a file.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("failed to read {}: {RENEW}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no baseline: {RENEW}", file.display()))
    }

    /// To a file.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).context("failed to write the baseline as JSON")?;
        fs::write(file, text + "\n").with_context(|| format!("failed to write {}", file.display()))
    }

    /// What `now` is to this.
    pub fn compare(&self, now: &Self) -> Comparison {
        let mut comparison = Comparison::default();
        // Writing to a string cannot fail.
        let _ = writeln!(comparison.table, "{:>12} {:>12} {:>7}  of a call", "baseline", "now", "");
        for (name, count) in &now.instructions {
            let before = self.instructions.get(name);
            let Some(before) = before else {
                comparison.more.push(format!("{name}: the baseline does not have it"));
                let _ = writeln!(comparison.table, "{:>12} {count:>12} {:>7}  {name}", "–", "");
                continue;
            };
            let percent = 100.0 * relative(*before, *count);
            let _ = writeln!(comparison.table, "{before:>12} {count:>12} {percent:>+6.1}%  {name}");
            let line = format!("{name}: {count} instructions, {percent:+.1}% of {before}");
            let bound = |percent: u64| u128::from(*before) * u128::from(percent);
            let now = u128::from(*count) * 100;
            if now > bound(100 + TOLERANCE_PERCENT) {
                comparison.more.push(line);
            } else if now < bound(100 - TOLERANCE_PERCENT) {
                comparison.less.push(line);
            }
        }
        for name in self.instructions.keys().filter(|name| !now.instructions.contains_key(*name)) {
            comparison.more.push(format!("{name}: it was not counted"));
        }
        comparison
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few percent of some millions")]
fn relative(before: u64, now: u64) -> f64 {
    now as f64 / before.max(1) as f64 - 1.0
}

/// The architecture, and the vector instructions by which libraries choose their code.
fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has_avx2 = info.lines().any(|line| line.starts_with("flags") && line.split(' ').any(|flag| flag == "avx2"));
    format!("{}{}", std::env::consts::ARCH, if has_avx2 { " with AVX2" } else { "" })
}

fn valgrind() -> String {
    let output = Command::new("valgrind").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(counts: &[(&str, u64)]) -> Baseline {
        let instructions = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Baseline { renewed_by: RENEW.to_owned(), processor: processor(), valgrind: String::new(), instructions }
    }

    #[test]
    fn more_than_a_twentieth_is_too_much() {
        let before = baseline(&[("small", 100_000), ("large", 1_000_000)]);
        let of = |small, large| before.compare(&baseline(&[("small", small), ("large", large)]));
        let within = of(105_000, 950_000);
        assert!(within.more.is_empty() && within.less.is_empty(), "{within:?}");
        let more = of(105_100, 940_000);
        assert_eq!(more.more, ["small: 105100 instructions, +5.1% of 100000"]);
        assert_eq!(more.less.len(), 1);
        assert!(more.table.contains("-6.0%  large"), "{}", more.table);
    }

    #[test]
    fn what_is_missing_on_either_side_is_said() {
        let (before, now) = (baseline(&[("gone", 1), ("stays", 1)]), baseline(&[("new", 1), ("stays", 1)]));
        assert_eq!(before.compare(&now).more, ["new: the baseline does not have it", "gone: it was not counted"]);
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("baseline.json");
        assert!(format!("{:#}", Baseline::read(&file).unwrap_err()).contains(RENEW));
        let one = baseline(&[("call", 3)]);
        one.write(&file).unwrap();
        assert_eq!(Baseline::read(&file).unwrap(), one);
    }
}
