//! Limits, budgets and lists of models, which keys and teams share.

use std::fmt;

use vectoll_config::{ModelPattern, PicoUsd, ZoneName, v1};
use vectoll_crds::{Budget, Limits, ModelLimits, Period};

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

pub(super) fn limits(path: &str, limits: Limits, errors: &mut FieldErrors) -> v1::Limits {
    let Limits { requests_per_minute, tokens_per_minute, parallel_requests } = limits;
    for (field, limit) in [
        ("requestsPerMinute", requests_per_minute),
        ("tokensPerMinute", tokens_per_minute),
        ("parallelRequests", parallel_requests),
    ] {
        if limit == Some(0) {
            errors.add(format!("{path}.{field}"), "must be at least 1; to refuse every call set suspended: true");
        }
    }
    v1::Limits { requests_per_minute, tokens_per_minute, parallel_requests }
}

pub(super) fn model_limits(entries: &[ModelLimits], errors: &mut FieldErrors) -> Vec<v1::ModelLimits> {
    let mut valid: Vec<v1::ModelLimits> = Vec::new();
    for (i, ModelLimits { model, limits: these }) in entries.iter().enumerate() {
        let path = format!("spec.modelLimits[{i}]");
        let these = limits(&format!("{path}.limits"), *these, errors);
        if let Some(model) = errors.check(format!("{path}.model"), model.parse::<ModelPattern>()) {
            if valid.iter().any(|entry| entry.model == model) {
                errors.add(format!("{path}.model"), format!("{model} is listed twice"));
            }
            valid.push(v1::ModelLimits { model, limits: these });
        }
    }
    valid
}

pub(super) fn models(list: Option<&[String]>, errors: &mut FieldErrors) -> Option<Vec<ModelPattern>> {
    let list = list?;
    if list.is_empty() {
        errors.add("spec.models", "an empty list allows nothing: leave it out to allow all, or set suspended: true");
    }
    Some(patterns(list, errors))
}

pub(super) fn patterns(list: &[String], errors: &mut FieldErrors) -> Vec<ModelPattern> {
    let parsed = list.iter().enumerate().map(|(i, model)| errors.check(format!("spec.models[{i}]"), model.parse()));
    parsed.collect::<Vec<_>>().into_iter().flatten().collect()
}

/// Where a budget is to warn.
pub(super) fn warn_at(budget: Option<&Budget>, errors: &mut FieldErrors) -> Option<Percent> {
    let percent = budget?.warn_at_percent?;
    if !(1..=100).contains(&percent) {
        errors.add("spec.budget.warnAtPercent", "must be 1 to 100: a part of the limit in percent");
    }
    Some(Percent(percent))
}

/// What a budget allows; where it warns is [`warn_at`]'s.
pub(super) fn budget(path: &str, budget: Option<&Budget>, errors: &mut FieldErrors) -> Option<v1::Budget> {
    let Budget { limit, period, time_zone, warn_at_percent: _ } = budget?;
    let limit = errors.check(format!("{path}.limit"), limit.parse());
    let time_zone = errors.check(format!("{path}.timeZone"), ZoneName::try_from(time_zone.clone()));
    let period = match period {
        Period::Daily => v1::Period::Daily,
        Period::Weekly => v1::Period::Weekly,
        Period::Monthly => v1::Period::Monthly,
        Period::Total => v1::Period::Total,
    };
    Some(v1::Budget { limit: limit?, period, time_zone: time_zone? })
}

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
