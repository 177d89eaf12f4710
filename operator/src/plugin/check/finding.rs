//! What was found.

use serde::Serialize;

use crate::plugin::{failure::Failure, table::shown};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Mark {
    /// It is as it should be.
    Good,
    /// Somebody should look at it.
    Notable,
    /// It is wrong.
    Bad,
}

/// One line, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) mark: Mark,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

impl Finding {
    pub(super) fn good(message: impl Into<String>) -> Self {
        Self { mark: Mark::Good, message: message.into(), hint: None }
    }

    pub(super) fn notable(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { mark: Mark::Notable, message: message.into(), hint: Some(hint.into()) }
    }

    pub(super) fn bad(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { mark: Mark::Bad, message: message.into(), hint: Some(hint.into()) }
    }
}

/// Findings of one part.
#[derive(Clone, Debug, Serialize)]
struct Part {
    part: &'static str,
    findings: Vec<Finding>,
}

/// All of them, by part.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Findings(Vec<Part>);

impl Findings {
    /// Adds what a part has found. What the user may not read is a finding; anything else ends it all.
    pub(super) fn part(&mut self, part: &'static str, found: Result<Vec<Finding>, Failure>) -> Result<(), Failure> {
        let findings = match found {
            Ok(findings) => findings,
            Err(failure @ (Failure::Forbidden(_) | Failure::NoDefinition(_))) => {
                vec![Finding { mark: Mark::Notable, message: format!("not checked: {failure}"), hint: None }]
            }
            Err(failure) => return Err(failure),
        };
        match self.0.iter_mut().find(|known| known.part == part) {
            Some(known) => known.findings.extend(findings),
            None => self.0.push(Part { part, findings }),
        }
        Ok(())
    }

    pub(super) fn worst(&self) -> Option<Mark> {
        self.0.iter().flat_map(|part| &part.findings).map(|finding| finding.mark).max()
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Part { part, findings } in self.0.iter().filter(|part| !part.findings.is_empty()) {
            text.extend([part, "\n", &*"-".repeat(part.chars().count()), "\n"]);
            for Finding { mark, message, hint } in findings {
                let sign = match mark {
                    Mark::Good => "✓",
                    Mark::Notable => "‼",
                    Mark::Bad => "×",
                };
                text.extend([sign, " ", &*shown(message), "\n"]);
                if let Some(hint) = hint {
                    text.extend(["    ", &*shown(hint), "\n"]);
                }
            }
            text.push('\n');
        }
        let count = |mark| self.0.iter().flat_map(|part| &part.findings).filter(|finding| finding.mark == mark).count();
        text + &match (count(Mark::Bad), count(Mark::Notable)) {
            (0, 0) => "nothing is wrong\n".to_owned(),
            (0, notable) => format!("nothing is wrong, {notable} to look at\n"),
            (bad, notable) => format!("{bad} wrong, {notable} to look at\n"),
        }
    }
}
