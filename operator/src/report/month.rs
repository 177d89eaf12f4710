//! A calendar month in UTC.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// A month, by its first day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(Date);

/// Not a month.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a year and a month, as in 2026-11")]
pub struct MonthError;

impl Month {
    /// The one that a moment is in.
    pub fn at(now: Timestamp) -> Self {
        Self(now.to_zoned(TimeZone::UTC).date().first_of_month())
    }

    /// The last one that is over.
    pub fn before(now: Timestamp) -> Self {
        let Self(first) = Self::at(now);
        Self(first.yesterday().map_or(first, Date::first_of_month))
    }

    /// Its first moment.
    pub fn start(self) -> Timestamp {
        moment(self.0)
    }

    /// The first moment of the next one.
    pub fn end(self) -> Timestamp {
        self.0.last_of_month().tomorrow().map_or(Timestamp::MAX, moment)
    }
}

fn moment(date: Date) -> Timestamp {
    date.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

/// As the ledger has it.
impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl FromStr for Month {
    type Err = MonthError;
    fn from_str(text: &str) -> Result<Self, MonthError> {
        let (year, month) = text.split_once('-').ok_or(MonthError)?;
        let is_right =
            year.len() == 4 && month.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let parsed = year.parse().ok().zip(month.parse().ok()).filter(|_| is_right);
        let (year, month) = parsed.ok_or(MonthError)?;
        Date::new(year, month, 1).map(Self).map_err(|_| MonthError)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_month_begins_and_ends_in_utc() {
        let month: Month = "2026-12".parse().unwrap();
        assert_eq!(month.to_string(), "2026-12");
        assert_eq!(month.start().to_string(), "2026-12-01T00:00:00Z");
        assert_eq!(month.end().to_string(), "2027-01-01T00:00:00Z");
        let now = "2027-01-01T00:00:00Z".parse().unwrap();
        assert_eq!((Month::at(now).to_string(), Month::before(now)), ("2027-01".to_owned(), month));
        for other in ["2026", "2026-13", "2026-1", "26-11", "2026-00", "2026-11-01", "+026-11", "last"] {
            assert_eq!(other.parse::<Month>(), Err(MonthError), "{other}");
        }
    }
}
