//! What the types of limits and budgets cannot say.

use crate::v1::{Budget, Limits, ModelLimits, TagLimits};

/// The most budgets of one account: each call is weighed against all of them.
pub const MAX_BUDGETS: usize = 8;

/// A field's name, its only budget, and its budgets where they are several.
pub(crate) type NamedBudgets<'a> = (&'static str, &'a Option<Budget>, &'a Vec<Budget>);

/// The first fault in the limits and budgets of a key or Team at `at`: its path and what is wrong there.
pub(crate) fn amount_fault(
    at: &str,
    limits: &[(&str, &Limits)],
    budgets: &[NamedBudgets<'_>],
    (models, tags): (&[ModelLimits], &[TagLimits]),
) -> Option<(String, String)> {
    let of_tags = || tags.iter().enumerate().map(|(i, entry)| (format!("{at}.tagLimits[{i}]"), entry));
    let named = limits.iter().map(|(name, limits)| (format!("{at}.{name}"), *limits));
    let of_models =
        models.iter().enumerate().map(|(i, entry)| (format!("{at}.modelLimits[{i}].limits"), &entry.limits));
    let limits_of_tags = of_tags().map(|(path, entry)| (format!("{path}.limits"), &entry.limits));
    let zero = named.chain(of_models).chain(limits_of_tags).find_map(|(path, limits)| {
        let field = zero_limit(limits)?;
        Some((format!("{path}.{field}"), "must be at least 1; to refuse every call set suspended".to_owned()))
    });
    let named = budgets.iter().map(|(name, one, several)| (format!("{at}.{name}"), one.as_ref(), several.as_slice()));
    let of_models =
        models.iter().enumerate().map(|(i, entry)| (format!("{at}.modelLimits[{i}].budgets"), None, &*entry.budgets));
    let budgets_of_tags = of_tags().map(|(path, entry)| (format!("{path}.budgets"), None, &*entry.budgets));
    zero.or_else(|| {
        named.chain(of_models).chain(budgets_of_tags).find_map(|(path, one, several)| budget_fault(&path, one, several))
    })
}

fn zero_limit(limits: &Limits) -> Option<&'static str> {
    if limits.reserved_for_queries_percent.is_some_and(|percent| !(1..=99).contains(&percent)) {
        return Some("reservedForQueriesPercent");
    }
    limits.each().into_iter().find_map(|(field, limit)| (limit == Some(0)).then_some(field))
}

/// Budgets of one account are told apart by their periods: in the store, in metrics and in messages.
fn budget_fault(path: &str, one: Option<&Budget>, several: &[Budget]) -> Option<(String, String)> {
    if one.is_some() && !several.is_empty() {
        return Some((path.to_owned(), "one budget stands beside several".to_owned()));
    }
    if several.len() > MAX_BUDGETS {
        return Some((path.to_owned(), format!("must be at most {MAX_BUDGETS}")));
    }
    several.iter().enumerate().find_map(|(i, budget)| {
        let is_double = several.iter().take(i).any(|before| before.period == budget.period);
        is_double.then(|| (format!("{path}[{i}].period"), format!("{} is listed twice", budget.period)))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::v1::Period;

    fn budget(period: Period) -> Budget {
        Budget::new("1.00".parse().unwrap(), period, "UTC".to_owned().try_into().unwrap())
    }

    #[test]
    fn budgets_are_told_apart_by_their_periods() {
        let fault = |one: Option<Period>, several: &[Period]| {
            let several: Vec<Budget> = several.iter().copied().map(budget).collect();
            amount_fault("keys[0]", &[], &[("budgets", &one.map(budget), &several)], (&[], &[])).map(|(path, _)| path)
        };
        assert_eq!(fault(Some(Period::Daily), &[]), None);
        assert_eq!(fault(None, &[Period::Daily, Period::Monthly, Period::MonthlyFrom(6)]), None);
        assert_eq!(fault(None, &[Period::Daily, Period::Daily]).as_deref(), Some("keys[0].budgets[1].period"));
        assert_eq!(fault(Some(Period::Daily), &[Period::Monthly]).as_deref(), Some("keys[0].budgets"));
        let many: Vec<Period> = (1..10).map(|days| Period::Days { days, phase: 0 }).collect();
        assert_eq!(fault(None, &many).as_deref(), Some("keys[0].budgets"));
        assert_eq!(fault(None, many.get(1..).unwrap()), None);
    }

    #[test]
    fn no_limit_is_nothing() {
        let model = |limits| ModelLimits { model: "m".parse().unwrap(), limits, budgets: Vec::new() };
        let good = Limits { requests_per_day: Some(1), ..Limits::default() };
        let bad = Limits { tokens_per_hour: Some(0), ..Limits::default() };
        assert_eq!(amount_fault("teams[0]", &[("limits", &good)], &[], (&[model(good)], &[])), None);
        let fault = |limits: &Limits, of_model| {
            amount_fault("teams[0]", &[("limits", limits)], &[], (&[model(good), model(of_model)], &[]))
                .map(|(path, _)| path)
        };
        assert_eq!(fault(&bad, good).as_deref(), Some("teams[0].limits.tokensPerHour"));
        assert_eq!(fault(&good, bad).as_deref(), Some("teams[0].modelLimits[1].limits.tokensPerHour"));
    }
}
