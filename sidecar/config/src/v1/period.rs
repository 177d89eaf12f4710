//! How long a budget's money is for: stretches of the calendar, and when they begin.

use std::{fmt, str::FromStr};

use jiff::civil::{Date, Weekday};
use serde::{Deserialize, Serialize};

/// The most days of a period that is counted in days.
pub const MAX_DAYS: u16 = 366;

/// The last day of a month on which a period may begin: every month has it.
const LAST_DAY: i8 = 28;

/// A stretch of the calendar. Its text is the same in configs, in journals and in the store's keys, for example `Monthly`,
/// `Monthly-06`, `Days-14-3`: each setting has one text, so that two that mean the same are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Period {
    /// From one full hour of the zone's clock to the next.
    Hourly,
    /// Midnight to midnight.
    Daily,
    /// Monday to Monday.
    Weekly,
    /// Seven days from another weekday on: 2 (Tuesday) to 7 (Sunday), as in ISO 8601.
    WeeklyFrom(i8),
    /// The first of the month to the next.
    Monthly,
    /// From another day of the month, 2 to 28, to the same of the next.
    MonthlyFrom(i8),
    /// From the first of January, April, July and October.
    Quarterly,
    /// Three months from another day on.
    QuarterlyFrom {
        /// The first of the months that it begins in: 1 to 3.
        month: i8,
        /// The day: 1 to 28.
        day: i8,
    },
    /// From the first of January.
    Yearly,
    /// A year from another day on: a fiscal year.
    YearlyFrom {
        /// The month: 1 to 12.
        month: i8,
        /// The day: 1 to 28.
        day: i8,
    },
    /// So many days.
    Days {
        /// How many: 1 to [`MAX_DAYS`].
        days: u16,
        /// On which day they begin: days since 1 January 1970, modulo `days`.
        phase: u16,
    },
    /// For ever.
    Total,
}

/// Why a period cannot begin on a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Not every month has the day.
    #[error("not every month has that day: write one from 01 to 28")]
    Day,
    /// Hours, days and what never ends begin when they do.
    #[error("is for weeks, months, quarters, years and everyDays")]
    NoStart,
}

/// A text that is no period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a period, as Daily, Monthly-06 or Days-14-3 are")]
pub struct PeriodError(String);

impl Period {
    /// The same stretch, counted from a date, forwards and backwards.
    pub fn starting(self, on: Date) -> Result<Self, StartError> {
        let (month, day) = (on.month(), on.day());
        let in_every_month = || if day <= LAST_DAY { Ok(day) } else { Err(StartError::Day) };
        Ok(match self {
            Self::Weekly | Self::WeeklyFrom(_) => match on.weekday().to_monday_one_offset() {
                1 => Self::Weekly,
                weekday => Self::WeeklyFrom(weekday),
            },
            Self::Monthly | Self::MonthlyFrom(_) => match in_every_month()? {
                1 => Self::Monthly,
                day => Self::MonthlyFrom(day),
            },
            Self::Quarterly | Self::QuarterlyFrom { .. } => match ((month - 1) % 3 + 1, in_every_month()?) {
                (1, 1) => Self::Quarterly,
                (month, day) => Self::QuarterlyFrom { month, day },
            },
            Self::Yearly | Self::YearlyFrom { .. } => match (month, in_every_month()?) {
                (1, 1) => Self::Yearly,
                (month, day) => Self::YearlyFrom { month, day },
            },
            Self::Days { days, phase: _ } => Self::Days { days, phase: phase(on, days) },
            Self::Hourly | Self::Daily | Self::Total => return Err(StartError::NoStart),
        })
    }

    /// The weekday on which weeks begin.
    pub(crate) fn weekday(from: i8) -> Weekday {
        Weekday::from_monday_one_offset(from).unwrap_or(Weekday::Monday)
    }

    /// Whether all numbers in it are what they can be.
    fn is_valid(self) -> bool {
        let is_day = |day: i8| (1..=LAST_DAY).contains(&day);
        match self {
            Self::WeeklyFrom(weekday) => (2..=7).contains(&weekday),
            Self::MonthlyFrom(day) => day > 1 && is_day(day),
            Self::QuarterlyFrom { month, day } => (1..=3).contains(&month) && is_day(day) && (month, day) != (1, 1),
            Self::YearlyFrom { month, day } => (1..=12).contains(&month) && is_day(day) && (month, day) != (1, 1),
            Self::Days { days, phase } => (1..=MAX_DAYS).contains(&days) && phase < days,
            Self::Hourly
            | Self::Daily
            | Self::Weekly
            | Self::Monthly
            | Self::Quarterly
            | Self::Yearly
            | Self::Total => true,
        }
    }
}

/// Days since 1 January 1970.
pub(crate) fn day_number(date: Date) -> i64 {
    let epoch = Date::constant(1970, 1, 1);
    date.duration_since(epoch).as_hours() / 24
}

/// On which of so many days a date falls.
fn phase(on: Date, days: u16) -> u16 {
    u16::try_from(day_number(on).rem_euclid(i64::from(days.max(1)))).unwrap_or_default()
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hourly => f.write_str("Hourly"),
            Self::Daily => f.write_str("Daily"),
            Self::Weekly => f.write_str("Weekly"),
            Self::WeeklyFrom(weekday) => write!(f, "Weekly-{weekday}"),
            Self::Monthly => f.write_str("Monthly"),
            Self::MonthlyFrom(day) => write!(f, "Monthly-{day:02}"),
            Self::Quarterly => f.write_str("Quarterly"),
            Self::QuarterlyFrom { month, day } => write!(f, "Quarterly-{month}-{day:02}"),
            Self::Yearly => f.write_str("Yearly"),
            Self::YearlyFrom { month, day } => write!(f, "Yearly-{month:02}-{day:02}"),
            Self::Days { days, phase } => write!(f, "Days-{days}-{phase}"),
            Self::Total => f.write_str("Total"),
        }
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let refused = || PeriodError(text.chars().take(64).collect());
        let mut words = text.split('-');
        let kind = words.next().unwrap_or_default();
        let numbers: Vec<u16> = words.map(str::parse).collect::<Result<_, _>>().map_err(|_| refused())?;
        let small = |number: u16| i8::try_from(number).unwrap_or(i8::MAX);
        let period = match (kind, numbers.as_slice()) {
            ("Hourly", []) => Self::Hourly,
            ("Daily", []) => Self::Daily,
            ("Weekly", []) => Self::Weekly,
            ("Weekly", [weekday]) => Self::WeeklyFrom(small(*weekday)),
            ("Monthly", []) => Self::Monthly,
            ("Monthly", [day]) => Self::MonthlyFrom(small(*day)),
            ("Quarterly", []) => Self::Quarterly,
            ("Quarterly", [month, day]) => Self::QuarterlyFrom { month: small(*month), day: small(*day) },
            ("Yearly", []) => Self::Yearly,
            ("Yearly", [month, day]) => Self::YearlyFrom { month: small(*month), day: small(*day) },
            ("Days", [days, phase]) => Self::Days { days: *days, phase: *phase },
            ("Total", []) => Self::Total,
            _ => return Err(refused()),
        };
        // One text for each: what is written otherwise would be another key in the store.
        if period.is_valid() && period.to_string() == text { Ok(period) } else { Err(refused()) }
    }
}

impl TryFrom<String> for Period {
    type Error = PeriodError;
    fn try_from(text: String) -> Result<Self, PeriodError> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_period_has_one_text() {
        for text in [
            "Hourly",
            "Daily",
            "Weekly",
            "Weekly-7",
            "Monthly",
            "Monthly-06",
            "Quarterly",
            "Quarterly-2-15",
            "Yearly",
            "Yearly-04-06",
            "Days-14-3",
            "Days-1-0",
            "Total",
        ] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "daily",
            "Weekly-1",
            "Weekly-8",
            "Monthly-1",
            "Monthly-01",
            "Monthly-6",
            "Monthly-29",
            "Monthly-06-",
            "Quarterly-4-01",
            "Quarterly-1-01",
            "Yearly-01-01",
            "Yearly-13-01",
            "Yearly-4-6",
            "Days-0-0",
            "Days-367-0",
            "Days-14-14",
            "Days-14",
            "Total-1",
            "Monthly--6",
            "Days-+14-3",
        ] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_date_says_when_it_begins() {
        let monday = date(2026, 11, 30);
        for (period, on, text) in [
            (Period::Weekly, monday, Ok("Weekly")),
            (Period::Weekly, date(2026, 12, 6), Ok("Weekly-7")),
            (Period::Monthly, date(2026, 4, 1), Ok("Monthly")),
            (Period::Monthly, date(2026, 4, 28), Ok("Monthly-28")),
            (Period::Monthly, date(2026, 4, 29), Err(StartError::Day)),
            (Period::Quarterly, date(2026, 7, 1), Ok("Quarterly")),
            (Period::Quarterly, date(2026, 12, 6), Ok("Quarterly-3-06")),
            (Period::Yearly, date(2026, 1, 1), Ok("Yearly")),
            (Period::Yearly, date(2026, 4, 6), Ok("Yearly-04-06")),
            (Period::Yearly, date(2028, 2, 29), Err(StartError::Day)),
            (Period::Days { days: 14, phase: 0 }, date(1970, 1, 4), Ok("Days-14-3")),
            (Period::Days { days: 14, phase: 0 }, date(1969, 12, 31), Ok("Days-14-13")),
            (Period::Daily, monday, Err(StartError::NoStart)),
            (Period::Total, monday, Err(StartError::NoStart)),
        ] {
            let found = period.starting(on).map(|period| period.to_string());
            assert_eq!(found.as_deref(), text.as_deref(), "{period} from {on}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_alike(text in "(Hourly|Weekly|Monthly|Quarterly|Yearly|Days|Total)(-[0-9]{1,3}){0,2}") {
            if let Ok(period) = text.parse::<Period>() {
                prop_assert_eq!(period.to_string(), text);
            }
        }
    }
}
