//! Logs problems and conditions: each once, when it changes.

use std::collections::{BTreeMap, BTreeSet};

use super::manifests::Problem;
use crate::{
    desired_state::{Condition, ConditionType, Status},
    observed_state::ResourceRef,
};

/// What was logged so far, so that only changes are.
#[derive(Default)]
pub(super) struct ChangeLogger {
    problems: BTreeSet<Problem>,
    conditions: BTreeMap<ResourceRef, Vec<Condition>>,
    trouble: Option<String>,
    logged_empty: bool,
}

impl ChangeLogger {
    /// Files that cannot be read as they are.
    pub(super) fn problems(&mut self, problems: Vec<Problem>) {
        let problems: BTreeSet<Problem> = problems.into_iter().collect();
        for Problem { file, line, reason } in problems.difference(&self.problems) {
            let at = match line {
                Some(line) => format!("{}:{line}", file.display()),
                None => file.display().to_string(),
            };
            tracing::error!(at, reason, "manifest refused: what was good before stays in force");
        }
        for Problem { file, reason, .. } in self.problems.difference(&problems) {
            if !problems.iter().any(|problem| problem.file == *file) {
                tracing::info!(at = %file.display(), was = reason, "manifest in order again");
            }
        }
        self.problems = problems;
    }

    /// Conditions of all resources.
    pub(super) fn conditions(&mut self, conditions: &BTreeMap<ResourceRef, Vec<Condition>>) {
        if conditions.is_empty() && !self.logged_empty {
            tracing::warn!("there is no ApiKey, Team or ModelRoute in the folder: every call will be refused");
        }
        self.logged_empty = conditions.is_empty();
        for (of, found) in conditions {
            let before = self.conditions.get(of);
            let changed: Vec<&Condition> =
                found.iter().filter(|condition| before.is_none_or(|before| !before.contains(condition))).collect();
            if !changed.is_empty() {
                log_changes(of, &changed);
            }
        }
        for of in self.conditions.keys().filter(|of| !conditions.contains_key(of)) {
            tracing::info!(resource = %of, "gone");
        }
        self.conditions.clone_from(conditions);
    }

    /// Trouble with the config or state folder; none: there is none.
    pub(super) fn trouble(&mut self, trouble: Option<String>) {
        if trouble != self.trouble {
            if let Some(error) = &trouble {
                tracing::error!(error, "the config cannot be updated");
            } else {
                tracing::info!("the config can be written again");
            }
        }
        self.trouble = trouble;
    }
}

/// One line for a resource, with the conditions that changed.
fn log_changes(of: &ResourceRef, changed: &[&Condition]) {
    let conditions = changed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if changed.iter().all(|condition| is_good(condition)) {
        tracing::info!(resource = %of, conditions);
    } else {
        tracing::warn!(resource = %of, conditions);
    }
}

fn is_good(condition: &Condition) -> bool {
    match condition.kind {
        ConditionType::Conflicted | ConditionType::BudgetExceeded | ConditionType::BudgetWarning => {
            condition.status == Status::False
        }
        ConditionType::Programmed => condition.status != Status::False,
        // As it is meant to be.
        ConditionType::Suspended | ConditionType::Expired => true,
        ConditionType::Accepted
        | ConditionType::ResolvedRefs
        | ConditionType::Priced
        | ConditionType::PricesCurrent
        | ConditionType::ModelsMatched
        | ConditionType::Reachable
        | ConditionType::LimitsExact
        | ConditionType::Ready => condition.status == Status::True,
    }
}
