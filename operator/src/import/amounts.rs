//! Money, limits and budgets in LiteLLM's words.

use serde_json::{Map, Number, Value, json};

use super::{fields::Fields, notes::Notes};

/// The digits after the point that a budget has.
const BUDGET_DIGITS: usize = 12;
/// And before it.
const BUDGET_WHOLE_DIGITS: usize = 7;
/// The digits that a price of a million tokens has before the point, and after it.
const PRICE_DIGITS: usize = 6;

/// The limits of a team, a key or a deployment.
pub(super) fn limits(fields: &mut Fields, names: &[(&str, &str)], notes: &mut Notes) -> Map<String, Value> {
    let mut limits = Map::new();
    for (theirs, ours) in names {
        if let Some(limit) = fields.limit(theirs, notes) {
            limits.insert((*ours).to_owned(), limit.into());
        }
    }
    limits
}

/// The budgets of a team or a key: the one in fields of its own, and those of its list.
pub(super) fn budgets(fields: &mut Fields, notes: &mut Notes) -> Vec<Value> {
    let warning = fields.number("soft_budget", notes);
    let has_budget = fields.has("max_budget");
    let mut all: Vec<Value> = budget(fields, "max_budget", warning.as_ref(), notes).into_iter().collect();
    if warning.is_some() && !has_budget {
        notes.add(&fields.place("soft_budget"), "a warning needs a budget: set budgets[].limit and warnAtPercent");
    }
    let place = fields.place("budget_limits");
    for (number, entry) in fields.list("budget_limits", notes).into_iter().enumerate() {
        let Some(mut entry) = Fields::of(&format!("{place}[{number}]"), &entry) else { continue };
        all.extend(budget(&mut entry, "max_budget", None, notes));
        entry.ignore(&["reset_at"]);
        if entry.is_closed() {
            fields.close("budget_limits", "one of them cannot be written", notes);
        }
        entry.finish(notes, |_| None);
    }
    all
}

/// A budget of so many US dollars in the time that stands beside it, as LiteLLM writes it; without one it never begins anew.
pub(super) fn budget(fields: &mut Fields, name: &str, warning: Option<&Number>, notes: &mut Notes) -> Option<Value> {
    let value = fields.take(name);
    let duration = fields.text("budget_duration", notes).or_else(|| fields.text("time_period", notes));
    let amount = value?;
    let number = amount.as_number().cloned().or_else(|| amount.as_str()?.parse().ok());
    let limit = number.as_ref().and_then(|number| rounded_down(&number.to_string())).filter(|limit| limit != "0");
    let (Some(number), Some(limit)) = (number, limit) else {
        fields.close(name, "it is no amount of US dollars above 0", notes);
        return None;
    };
    let place = fields.place(name);
    let mut budget = Map::from_iter([("limit".to_owned(), Value::String(limit))]);
    match duration.as_deref().map(period) {
        None => budget.insert("period".to_owned(), "Total".into()),
        Some(Some(Span::Period(period))) => budget.insert("period".to_owned(), period.into()),
        Some(Some(Span::Days(days))) => {
            notes.add(&place, format!("{days} days are counted from a date here: check startsOn"));
            budget.insert("startsOn".to_owned(), "2026-01-01".into());
            budget.insert("everyDays".to_owned(), days.into())
        }
        Some(None) => {
            // Never more than it was.
            let duration = duration.unwrap_or_default();
            notes.add(&place, format!("there is no period of {duration}: it never begins anew until you set one"));
            budget.insert("period".to_owned(), "Total".into())
        }
    };
    if let Some(percent) = warning.and_then(|warning| percent(warning, &number)) {
        budget.insert("warnAtPercent".to_owned(), percent.into());
    }
    Some(Value::Object(budget))
}

enum Span {
    Period(&'static str),
    Days(u16),
}

/// The calendar's periods where LiteLLM means them: a day, a week from Monday, and 30 days or a month from the first. A time that is
/// none of them is never made shorter.
fn period(duration: &str) -> Option<Span> {
    match duration {
        "hourly" => return Some(Span::Period("Hourly")),
        "daily" => return Some(Span::Period("Daily")),
        "weekly" => return Some(Span::Period("Weekly")),
        "monthly" => return Some(Span::Period("Monthly")),
        _ => {}
    }
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
        (hours @ 1..=8_784, "h") => Span::Days(hours.div_ceil(24)),
        (months @ 1..=11, "mo") => Span::Days(months * 31),
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
    let (before, after) = digits(&of_a_token.to_string(), 6)?;
    let fits = before.len() <= PRICE_DIGITS && after.len() <= PRICE_DIGITS;
    fits.then(|| json!({"inputPerMillionTokens": joined(&before, &after)}))
}

/// An amount as a budget can have it: no more than it was.
fn rounded_down(number: &str) -> Option<String> {
    let (before, mut after) = digits(number, 0)?;
    if before.len() > BUDGET_WHOLE_DIGITS {
        return Some("9".repeat(BUDGET_WHOLE_DIGITS));
    }
    after.truncate(BUDGET_DIGITS);
    Some(joined(&before, after.trim_end_matches('0')))
}

fn joined(before: &str, after: &str) -> String {
    if after.is_empty() { before.to_owned() } else { format!("{before}.{after}") }
}

/// The digits of a number before and after the point, times a power of ten. Digit by digit: money is no float.
fn digits(number: &str, power: i32) -> Option<(String, String)> {
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
    let point = usize::try_from(point).unwrap_or(0).min(400);
    let digits = format!("{digits:0<point$}");
    let (before, after) = digits.split_at_checked(point)?;
    let (before, after) = (before.trim_start_matches('0'), after.trim_end_matches('0'));
    Some((if before.is_empty() { "0" } else { before }.to_owned(), after.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_exact_and_budgets_never_more_than_they_were() {
        let price = |number: &str| price(&number.parse().ok()?)?["inputPerMillionTokens"].as_str().map(str::to_owned);
        for (number, text) in
            [("2e-08", "0.02"), ("1.3e-7", "0.13"), ("0.00000002", "0.02"), ("0", "0"), ("1e-4", "100")]
        {
            assert_eq!(price(number).as_deref(), Some(text), "{number}");
        }
        assert_eq!((price("1e-20"), price("10"), price("-1")), (None, None, None));
        for (number, text) in [
            ("100", "100"),
            ("0.10", "0.1"),
            ("1e2", "100"),
            ("33.333333333333336", "33.333333333333"),
            ("1e-20", "0"),
            ("12345678", "9999999"),
        ] {
            assert_eq!(rounded_down(number).as_deref(), Some(text), "{number}");
        }
        assert_eq!((rounded_down("-1"), rounded_down("NaN"), rounded_down("")), (None, None, None));
    }

    #[test]
    fn durations_are_periods_where_litellm_means_them_and_never_shorter() {
        let of = |duration: Option<&str>| {
            let mut notes = Notes::default();
            let row = json!({"max_budget": 5, "budget_duration": duration});
            let mut fields = Fields::of("key", &row).unwrap_or_default();
            let budget = budget(&mut fields, "max_budget", None, &mut notes).unwrap_or_default();
            let period = budget["period"].as_str().unwrap_or_default().to_owned();
            (period, budget["everyDays"].as_u64(), notes.iter().count())
        };
        for (duration, period) in [
            ("1d", "Daily"),
            ("24h", "Daily"),
            ("7d", "Weekly"),
            ("weekly", "Weekly"),
            ("30d", "Monthly"),
            ("1mo", "Monthly"),
            ("monthly", "Monthly"),
        ] {
            assert_eq!(of(Some(duration)), (period.to_owned(), None, 0), "{duration}");
        }
        assert_eq!(of(None), ("Total".to_owned(), None, 0));
        for (duration, days) in [("14d", 14), ("48h", 2), ("2mo", 62)] {
            assert_eq!(of(Some(duration)), (String::new(), Some(days), 1), "{duration}");
        }
        assert_eq!(of(Some("30m")), ("Total".to_owned(), None, 1));
    }

    #[test]
    fn what_cannot_be_written_closes_what_it_bounds() {
        for row in [
            json!({"rpm_limit": 0}),
            json!({"rpm_limit": "many"}),
            json!({"max_budget": 0}),
            json!({"max_budget": -1}),
            json!({"max_budget": "a lot"}),
            json!({"budget_limits": [{"max_budget": -1}]}),
        ] {
            let mut notes = Notes::default();
            let mut fields = Fields::of("key", &row).unwrap_or_default();
            limits(&mut fields, &[("rpm_limit", "requestsPerMinute")], &mut notes);
            budgets(&mut fields, &mut notes);
            assert!(fields.is_closed() && notes.iter().next().is_some(), "{row}");
        }
        let mut open = Fields::of("key", &json!({"rpm_limit": null, "max_budget": 0.5})).unwrap_or_default();
        limits(&mut open, &[("rpm_limit", "requestsPerMinute")], &mut Notes::default());
        assert_eq!(budgets(&mut open, &mut Notes::default()).len(), 1);
        assert!(!open.is_closed());
    }
}
