//! One value of a table: how it sorts, how a program reads it, and how it stands in a file for spreadsheets. Pure.

use std::{borrow::Cow, cmp::Ordering};

use jiff::Timestamp;
use serde_json::{Value, json};
use vectoll_config::PicoUsd;

use super::{
    grants::Grants,
    state::{Level, State},
};
use crate::observed_state::Kind;

/// What a column holds: how a reader shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Words.
    Text,
    /// A number of calls or tokens.
    Count,
    /// US dollars.
    Money,
    /// A part of a budget in percent, rounded down; beyond 100 where more was spent.
    Percent,
    /// A moment in UTC.
    Time,
    /// The worst condition.
    State,
}

impl Format {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Count => "count",
            Self::Money => "money",
            Self::Percent => "percent",
            Self::Time => "time",
            Self::State => "state",
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// There is none, or it is not known.
    Nothing,
    Text(String),
    /// Text about a resource of this kind in another namespace: for those only who may list it there.
    Foreign {
        kind: Kind,
        namespace: String,
        text: String,
    },
    Count(u64),
    Money(PicoUsd),
    Percent(u64),
    Time(Timestamp),
    State(State),
}

/// What cells of one column are sorted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SortKey {
    Level(Level, String),
    Number(u64),
    Time(Timestamp),
    Text(String),
}

impl Cell {
    /// Text that may be missing.
    pub(super) fn text(text: Option<&str>) -> Self {
        text.map_or(Self::Nothing, |text| Self::Text(text.to_owned()))
    }

    /// Money that may be missing.
    pub(super) fn money(money: Option<PicoUsd>) -> Self {
        money.map_or(Self::Nothing, Self::Money)
    }

    /// A moment that may be missing.
    pub(super) fn time(time: Option<Timestamp>) -> Self {
        time.map_or(Self::Nothing, Self::Time)
    }

    /// The text that this reader may see of it, if it is text.
    pub(super) fn visible_text(&self, grants: &Grants) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()),
            Self::Foreign { kind, namespace, text } => grants.may_list(*kind, namespace).then_some(text.as_str()),
            Self::State(State { reason, .. }) => Some(reason.as_str()),
            Self::Nothing | Self::Count(_) | Self::Money(_) | Self::Percent(_) | Self::Time(_) => None,
        }
    }

    /// What it is sorted by, for this reader: what is not shown must not show in the order either. None: it comes last.
    pub(super) fn sort_key(&self, grants: &Grants) -> Option<SortKey> {
        Some(match self {
            Self::Nothing => return None,
            Self::Text(_) | Self::Foreign { .. } => SortKey::Text(self.visible_text(grants)?.to_lowercase()),
            Self::Count(number) | Self::Percent(number) => SortKey::Number(*number),
            Self::Money(money) => SortKey::Number(money.pico()),
            Self::Time(at) => SortKey::Time(*at),
            Self::State(State { level, reason, message: _ }) => SortKey::Level(*level, reason.clone()),
        })
    }

    /// As a program reads it: amounts and counts are decimal text, for neither may pass through a float.
    pub(super) fn to_json(&self, grants: &Grants) -> Value {
        match self {
            Self::Nothing => Value::Null,
            Self::Text(_) | Self::Foreign { .. } => self.visible_text(grants).map_or(Value::Null, Value::from),
            Self::Count(count) => Value::from(count.to_string()),
            Self::Money(money) => Value::from(money.to_string()),
            Self::Percent(percent) => Value::from(*percent),
            Self::Time(at) => Value::from(at.to_string()),
            Self::State(State { level, reason, message }) => {
                json!({"level": level.word(), "reason": reason, "message": message})
            }
        }
    }

    /// As it stands in a file for spreadsheets.
    pub(super) fn to_plain(&self, grants: &Grants) -> Cow<'_, str> {
        match self {
            Self::Nothing => Cow::Borrowed(""),
            Self::Text(_) | Self::Foreign { .. } => Cow::Borrowed(self.visible_text(grants).unwrap_or_default()),
            Self::Count(count) | Self::Percent(count) => Cow::Owned(count.to_string()),
            Self::Money(money) => Cow::Owned(money.to_string()),
            Self::Time(at) => Cow::Owned(at.to_string()),
            Self::State(State { level: Level::Ready, .. }) => Cow::Borrowed("Ready"),
            Self::State(State { level, reason, message }) if message.is_empty() => {
                Cow::Owned(format!("{}: {reason}", level.word()))
            }
            Self::State(State { level, reason, message }) => {
                Cow::Owned(format!("{}: {reason}: {message}", level.word()))
            }
        }
    }
}

/// Two keys in this direction. What there is comes before what there is not, in both.
pub(super) fn compare(a: Option<&SortKey>, b: Option<&SortKey>, descending: bool) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) if descending => b.cmp(a),
        (Some(a), Some(b)) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_decimal_text_to_the_last_digit() {
        let all = Grants::everything();
        assert_eq!(Cell::Money(PicoUsd::new(1_500_000_000_001)).to_json(&all), json!("1.500000000001"));
        // Beyond what a float of JavaScript holds.
        assert_eq!(Cell::Count(9_007_199_254_740_993).to_json(&all), json!("9007199254740993"));
    }

    #[test]
    fn text_of_another_namespace_is_neither_shown_nor_sorted_by() {
        let cell = Cell::Foreign { kind: Kind::ModelRoute, namespace: "ml".into(), text: "ml/openai/eu".into() };
        let stranger = Grants::only(&["apps"]);
        assert_eq!((cell.to_json(&stranger), cell.sort_key(&stranger)), (Value::Null, None));
        assert_eq!(cell.to_plain(&stranger), "");
        let reader = Grants::only(&["ml"]);
        assert_eq!(cell.to_json(&reader), json!("ml/openai/eu"));
        assert!(cell.sort_key(&reader).is_some());
    }

    #[test]
    fn what_is_not_known_comes_last_in_both_directions() {
        let (one, two) = (SortKey::Number(1), SortKey::Number(2));
        assert_eq!(compare(Some(&one), Some(&two), false), Ordering::Less);
        assert_eq!(compare(Some(&one), Some(&two), true), Ordering::Greater);
        for descending in [false, true] {
            assert_eq!(compare(None, Some(&one), descending), Ordering::Greater);
            assert_eq!(compare(Some(&one), None, descending), Ordering::Less);
        }
    }
}
