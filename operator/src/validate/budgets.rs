//! Budgets, which keys and teams share.

use std::fmt;

use jiff::civil::Date;
use vectoll_config::{MAX_BUDGETS, PicoUsd, ZoneName, v1};
use vectoll_crds::{Budget, Enforcement, ExtraBudget, Period};

use super::FieldErrors;

/// A part of a budget's limit, in percent: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Percent(u8);

impl Percent {
    /// Whether an amount is at least this part of a limit.
    pub(crate) fn is_reached(self, amount: PicoUsd, limit: PicoUsd) -> bool {
        // A hundred times what the type of money holds is more than it holds.
        u128::from(amount.pico()) * 100 >= u128::from(limit.pico()) * u128::from(self.0)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// A budget of somebody who has a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValidBudget {
    /// What it allows.
    pub(crate) budget: v1::Budget,
    /// From where on its status warns.
    pub(crate) warn_at: Option<Percent>,
}

/// The budgets at `path`, as the contract has them: one stands alone, several in a list.
pub(crate) fn of_contract(budgets: impl IntoIterator<Item = v1::Budget>) -> (Option<v1::Budget>, Vec<v1::Budget>) {
    let mut all: Vec<v1::Budget> = budgets.into_iter().collect();
    if all.len() == 1 { (all.pop(), Vec::new()) } else { (None, all) }
}

/// All budgets of an account that has a status. `field`: `budget`, with which `budgets` goes.
pub(super) fn budgets(one: Option<&Budget>, several: &[Budget], errors: &mut FieldErrors) -> Vec<ValidBudget> {
    let valid = all("spec.budget", one, several, errors, warn_at);
    valid.into_iter().map(|(budget, warn_at)| ValidBudget { budget, warn_at }).collect()
}

/// Budgets in the list at `path`, of accounts that have a status.
pub(super) fn listed(path: &str, several: &[Budget], errors: &mut FieldErrors) -> Vec<ValidBudget> {
    let valid = all(path.strip_suffix('s').unwrap_or(path), None, several, errors, warn_at);
    valid.into_iter().map(|(budget, warn_at)| ValidBudget { budget, warn_at }).collect()
}

/// What can be read of budgets, for whoever only shows them. Those that are invalid are left out: the resource's conditions name them.
pub(crate) fn declared_budgets(one: Option<&Budget>, several: &[Budget]) -> Vec<v1::Budget> {
    let mut errors = FieldErrors::default();
    all("", one, several, &mut errors, |_, _, _| ()).into_iter().map(|(budget, ())| budget).collect()
}

fn warn_at(path: &str, budget: &Budget, errors: &mut FieldErrors) -> Option<Percent> {
    let percent = budget.warn_at_percent?;
    if !(1..=100).contains(&percent) {
        errors.add(format!("{path}.warnAtPercent"), "must be 1 to 100: a part of the limit in percent");
    }
    Some(Percent(percent))
}

/// All budgets of accounts that have none. `path` is that of the list; that of one budget has no `s`.
pub(super) fn silent_budgets(
    path: &str,
    one: Option<&Budget>,
    several: &[Budget],
    errors: &mut FieldErrors,
) -> Vec<v1::Budget> {
    let path = path.strip_suffix('s').unwrap_or(path);
    let refuse = |path: &str, budget: &Budget, errors: &mut FieldErrors| {
        if budget.warn_at_percent.is_some() {
            let reason = "is for budgets of ApiKeys and Teams, whose status can warn: leave it out";
            errors.add(format!("{path}.warnAtPercent"), reason);
        }
    };
    all(path, one, several, errors, refuse).into_iter().map(|(budget, ())| budget).collect()
}

/// One budget at `path`, or several in the list whose name has an `s` behind it.
fn all<T>(
    path: &str,
    one: Option<&Budget>,
    several: &[Budget],
    errors: &mut FieldErrors,
    mut with: impl FnMut(&str, &Budget, &mut FieldErrors) -> T,
) -> Vec<(v1::Budget, T)> {
    if one.is_some() && !several.is_empty() {
        errors.add(format!("{path}s"), "stands beside a single one: set one of the two fields");
    }
    if several.len() > MAX_BUDGETS {
        errors.add(format!("{path}s"), format!("must be at most {MAX_BUDGETS}"));
    }
    let mut valid: Vec<(v1::Budget, T)> = Vec::new();
    let listed = several.iter().enumerate().map(|(i, budget)| (format!("{path}s[{i}]"), budget));
    for (path, written) in one.map(|budget| (path.to_owned(), budget)).into_iter().chain(listed) {
        let more = with(&path, written, errors);
        let Some(budget) = budget(&path, written, errors) else { continue };
        if valid.iter().any(|(before, _)| before.period == budget.period) {
            errors.add(format!("{path}.period"), format!("{} is listed twice", budget.period));
        }
        valid.push((budget, more));
    }
    valid
}

/// What a budget allows; where it warns is for who has a status.
fn budget(path: &str, budget: &Budget, errors: &mut FieldErrors) -> Option<v1::Budget> {
    let limit = errors.check(format!("{path}.limit"), budget.limit.parse());
    let time_zone = errors.check(format!("{path}.timeZone"), ZoneName::try_from(budget.time_zone.clone()));
    let period = period(path, budget, errors);
    let extra = budget.extra.as_ref().and_then(|ExtraBudget { amount, until }| {
        let amount = errors.check(format!("{path}.extra.amount"), amount.parse())?;
        Some(v1::Extra { amount, until: until.0 })
    });
    let audit = budget.enforcement == Enforcement::Audit;
    Some(v1::Budget { limit: limit?, period: period?, time_zone: time_zone?, extra, reset_at: None, audit })
}

/// For how long a budget's money is, and when that begins.
fn period(path: &str, budget: &Budget, errors: &mut FieldErrors) -> Option<v1::Period> {
    let Budget { period, every_days, starts_on, .. } = budget;
    let period = match (period, every_days) {
        (Some(period), None) => match period {
            Period::Hourly => v1::Period::Hourly,
            Period::Daily => v1::Period::Daily,
            Period::Weekly => v1::Period::Weekly,
            Period::Monthly => v1::Period::Monthly,
            Period::Quarterly => v1::Period::Quarterly,
            Period::Yearly => v1::Period::Yearly,
            Period::Total => v1::Period::Total,
        },
        (None, Some(days)) if !(1..=v1::MAX_DAYS).contains(days) => {
            errors.add(format!("{path}.everyDays"), format!("must be 1 to {}", v1::MAX_DAYS));
            return None;
        }
        (None, Some(days)) => v1::Period::Days { days: *days, phase: 0 },
        (Some(_), Some(_)) => {
            errors.add(format!("{path}.everyDays"), "period says how long it lasts: set one of them");
            return None;
        }
        (None, None) => {
            errors.add(format!("{path}.period"), "is missing: set period, for example Monthly, or everyDays");
            return None;
        }
    };
    let at = format!("{path}.startsOn");
    match starts_on {
        Some(date) => {
            let date: Date = errors.check(at.clone(), date.parse().map_err(|_| NoDate(date.clone())))?;
            errors.check(at, period.starting(date))
        }
        None if every_days.is_some() => {
            errors.add(at, "is missing: everyDays counts from a date, for example \"2026-04-01\"");
            None
        }
        None => Some(period),
    }
}

/// A text that is no date.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not a date: write for example \"2026-04-01\"")]
struct NoDate(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_limit_is_reached_to_the_pico_usd_and_without_overflow() {
        let reached = |percent, amount, limit| Percent(percent).is_reached(PicoUsd::new(amount), PicoUsd::new(limit));
        assert!(!reached(80, 799, 1_000) && reached(80, 800, 1_000));
        assert!(!reached(33, 33, 101) && reached(33, 34, 101), "what is no whole number is not rounded down");
        assert!(reached(100, u64::MAX, u64::MAX) && !reached(100, u64::MAX - 1, u64::MAX));
        assert!(!reached(1, u64::MAX / 100, u64::MAX) && reached(1, u64::MAX / 100 + 1, u64::MAX));
    }
}
