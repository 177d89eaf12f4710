//! Money, limits and budgets in LiteLLM's words.

use serde_json::{Map, Number, Value, json};

use super::{fields::Fields, notes::Notes};

/// The digits after the point that a budget has.
const BUDGET_DIGITS: usize = 12;
/// And a price of a million tokens.
const PRICE_DIGITS: usize = 6;

/// The limits of a team, a key or a deployment.
pub(super) fn limits(fields: &mut Fields, names: &[(&str, &str)], notes: &mut Notes) -> Map<String, Value> {
    let mut limits = Map::new();
    for (theirs, ours) in names {
        if let Some(limit) = fields.whole(theirs, notes) {
            limits.insert((*ours).to_owned(), limit.into());
        }
    }
    limits
}

/// The budgets of a team or a key: the one in fields of its own, and those of its list.
pub(super) fn budgets(fields: &mut Fields, notes: &mut Notes) -> Vec<Value> {
    let warning = fields.number("soft_budget", notes);
    let mut all = Vec::new();
    if let Some(amount) = fields.number("max_budget", notes) {
        let duration = fields.text("budget_duration", notes);
        all.extend(budget(&amount, duration.as_deref(), warning.as_ref(), &fields.place("max_budget"), notes));
    } else {
        fields.ignore(&["budget_duration"]);
        if warning.is_some() {
            notes.add(&fields.place("soft_budget"), "a warning needs a budget: set budgets[].limit and warnAtPercent");
        }
    }
    let place = fields.place("budget_limits");
    for (number, entry) in fields.list("budget_limits", notes).into_iter().enumerate() {
        let place = format!("{place}[{number}]");
        let Some(mut entry) = Fields::of(&place, &entry) else { continue };
        let duration = entry.text("budget_duration", notes);
        if let Some(amount) = entry.number("max_budget", notes) {
            all.extend(budget(&amount, duration.as_deref(), None, &place, notes));
        }
        entry.ignore(&["reset_at"]);
        entry.finish(notes, |_| None);
    }
    all
}

/// A budget of so many US dollars in a time as LiteLLM writes it; without one it never begins anew.
pub(super) fn budget(
    amount: &Number,
    duration: Option<&str>,
    warning: Option<&Number>,
    place: &str,
    notes: &mut Notes,
) -> Option<Value> {
    let Some(limit) = decimal(&amount.to_string(), 0, BUDGET_DIGITS) else {
        notes.add(place, format!("{amount} is no amount of US dollars: no budget is made of it"));
        return None;
    };
    let mut budget = Map::from_iter([("limit".to_owned(), Value::String(limit))]);
    match duration.map(period) {
        None => budget.insert("period".to_owned(), "Total".into()),
        Some(Some(Span::Period(period))) => budget.insert("period".to_owned(), period.into()),
        Some(Some(Span::Days(days))) => {
            notes.add(
                place,
                format!("LiteLLM begins {days} days anew whenever they are over, here they are counted from a date: check startsOn"),
            );
            budget.insert("startsOn".to_owned(), "2026-01-01".into());
            budget.insert("everyDays".to_owned(), days.into())
        }
        Some(None) => {
            let duration = duration.unwrap_or_default();
            notes.add(place, format!("there is no period of {duration}: Daily is set in its place, review the limit"));
            budget.insert("period".to_owned(), "Daily".into())
        }
    };
    if let Some(percent) = warning.and_then(|warning| percent(warning, amount)) {
        budget.insert("warnAtPercent".to_owned(), percent.into());
    }
    Some(Value::Object(budget))
}

enum Span {
    Period(&'static str),
    Days(u16),
}

/// The calendar's periods where LiteLLM means them: a day, a week from Monday, and 30 days or a month from the first.
fn period(duration: &str) -> Option<Span> {
    let digits = duration.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = duration.split_at_checked(digits)?;
    Some(match (number.parse::<u16>().ok()?, unit) {
        (1, "h") => Span::Period("Hourly"),
        (1, "d") | (24, "h") => Span::Period("Daily"),
        (7, "d") | (1, "w") => Span::Period("Weekly"),
        (30, "d") | (1, "mo") => Span::Period("Monthly"),
        (3, "mo") => Span::Period("Quarterly"),
        (12, "mo") => Span::Period("Yearly"),
        (days @ 1..=366, "d") => Span::Days(days),
        (weeks @ 1..=52, "w") => Span::Days(weeks * 7),
        _ => return None,
    })
}

/// The part of an amount that another one is, from 1 to 100.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 1 to 100")]
fn percent(part: &Number, whole: &Number) -> Option<u8> {
    let percent = (part.as_f64()? / whole.as_f64()? * 100.0).round();
    (1.0..=100.0).contains(&percent).then_some(percent as u8)
}

/// US dollars for a million tokens, from those for one; none: it is finer than a price can be.
pub(super) fn price(of_a_token: &Number) -> Option<Value> {
    let text = decimal(&of_a_token.to_string(), 6, PRICE_DIGITS)?;
    Some(json!({"inputPerMillionTokens": text}))
}

/// A number as a decimal text, times a power of ten, with so many digits after the point at most. Digit by digit: money is no float.
fn decimal(number: &str, power: i32, most: usize) -> Option<String> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{before}{after}");
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // Where the point stands, from the left.
    let point = i32::try_from(before.len()).ok()? + exponent.parse::<i32>().ok()?.checked_add(power)?;
    let before_zeros = usize::try_from(-point).unwrap_or(0);
    let digits = format!("{}{digits}", "0".repeat(before_zeros.min(64)));
    let point = usize::try_from(point).unwrap_or(0);
    let digits = format!("{digits:0<point$}");
    let (before, after) = digits.split_at_checked(point)?;
    let (before, after) = (before.trim_start_matches('0'), after.trim_end_matches('0'));
    let before = if before.is_empty() { "0" } else { before };
    (after.len() <= most && before.len() <= 7)
        .then(|| if after.is_empty() { before.to_owned() } else { format!("{before}.{after}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (number, power, text) in [
            ("2e-08", 6, "0.02"),
            ("1.3e-7", 6, "0.13"),
            ("0.00000002", 6, "0.02"),
            ("100", 0, "100"),
            ("0.10", 0, "0.1"),
            ("1e2", 0, "100"),
            ("0", 6, "0"),
        ] {
            assert_eq!(decimal(number, power, 6).as_deref(), Some(text), "{number}");
        }
        for number in ["-1", "", "1e-20", "12345678", "NaN"] {
            assert_eq!(decimal(number, 0, 6), None, "{number}");
        }
    }

    #[test]
    fn durations_are_periods_where_litellm_means_them() {
        let of = |duration: Option<&str>| {
            let mut notes = Notes::default();
            let budget = budget(&Number::from(5), duration, None, "here", &mut notes).unwrap_or_default();
            (
                budget["period"].as_str().unwrap_or_default().to_owned(),
                budget["everyDays"].as_u64(),
                notes.iter().count(),
            )
        };
        for (duration, period) in
            [("1d", "Daily"), ("24h", "Daily"), ("7d", "Weekly"), ("30d", "Monthly"), ("1mo", "Monthly")]
        {
            assert_eq!(of(Some(duration)), (period.to_owned(), None, 0), "{duration}");
        }
        assert_eq!(of(None), ("Total".to_owned(), None, 0));
        assert_eq!(of(Some("14d")), (String::new(), Some(14), 1));
        assert_eq!(of(Some("30m")), ("Daily".to_owned(), None, 1));
    }
}
