//! Calendar periods of budgets: the same for whoever spends and for whoever tells of it.

use jiff::{
    Timestamp, ToSpan, Zoned,
    civil::{Date, Weekday},
};

use crate::{
    PicoUsd, ZoneName,
    v1::{Budget, Period, day_number},
};

/// A stretch of time that a budget covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment after it; none: it never ends.
    pub end: Option<Timestamp>,
}

/// The period of a budget that a moment lies in, by the calendar of its zone. A reset divides it in two.
pub fn stretch(budget: &Budget, at: Timestamp) -> Stretch {
    let now = at.to_zoned(budget.time_zone.zone().clone());
    let Stretch { start, end } = calendar(budget.period, &now).unwrap_or(Stretch { start: Timestamp::MIN, end: None });
    let begun = budget.reset_at.filter(|reset| *reset <= at);
    Stretch { start: begun.map_or(start, |reset| start.max(reset)), end: budget.ends(end, at) }
}

/// Whether a period begins at this moment by the calendar, and not by a reset.
pub fn is_calendars(period: Period, zone: &ZoneName, start: Timestamp) -> bool {
    stretch(&Budget::new(PicoUsd::ZERO, period, zone.clone()), start).start == start
}

/// `None` where the calendar ends (the year 9999) and for periods without an end.
fn calendar(period: Period, now: &Zoned) -> Option<Stretch> {
    let today = now.date();
    let (first, next) = match period {
        Period::Hourly => return hour(now),
        Period::Daily => (today, today.checked_add(1.day()).ok()?),
        Period::Weekly => week(today, Weekday::Monday)?,
        Period::WeeklyFrom(weekday) => week(today, Period::weekday(weekday))?,
        Period::Monthly => months(today, 1, 1, 1)?,
        Period::MonthlyFrom(day) => months(today, 1, 1, day)?,
        Period::Quarterly => months(today, 3, 1, 1)?,
        Period::QuarterlyFrom { month, day } => months(today, 3, month, day)?,
        Period::Yearly => months(today, 12, 1, 1)?,
        Period::YearlyFrom { month, day } => months(today, 12, month, day)?,
        Period::Days { days, phase } => {
            let days = i64::from(days.max(1));
            let since = (day_number(today) - i64::from(phase)).rem_euclid(days);
            let first = today.checked_sub(since.days()).ok()?;
            (first, first.checked_add(days.days()).ok()?)
        }
        Period::Total => return None,
    };
    // A day begins when the zone's clocks first show it: after a gap at midnight, that is 01:00.
    let zone = now.time_zone();
    Some(Stretch {
        start: first.to_zoned(zone.clone()).ok()?.timestamp(),
        end: Some(next.to_zoned(zone.clone()).ok()?.timestamp()),
    })
}

/// An hour by the zone's clock, which may differ from UTC by a part of one. It has sixty minutes also when the clock is set.
fn hour(now: &Zoned) -> Option<Stretch> {
    const HOUR: i64 = 3600;
    let ahead = i64::from(now.offset().seconds());
    let start = (now.timestamp().as_second() + ahead).div_euclid(HOUR) * HOUR - ahead;
    let at = |second| Timestamp::from_second(second).ok();
    Some(Stretch { start: at(start)?, end: Some(at(start + HOUR)?) })
}

/// The week that begins on a weekday.
fn week(today: Date, from: Weekday) -> Option<(Date, Date)> {
    let first = today.checked_sub(i64::from(today.weekday().since(from)).days()).ok()?;
    Some((first, first.checked_add(1.week()).ok()?))
}

/// So many months from a day of a month on, which every month has.
fn months(today: Date, span: i32, month: i8, day: i8) -> Option<(Date, Date)> {
    // Months since the beginning of the calendar.
    let present = i32::from(today.year()) * 12 + i32::from(today.month()) - 1 - i32::from(today.day() < day);
    let first = present - (present - i32::from(month) + 1).rem_euclid(span);
    let date = |months: i32| {
        let (year, month) = (i16::try_from(months.div_euclid(12)).ok()?, i8::try_from(months.rem_euclid(12) + 1).ok()?);
        Date::new(year, month, day).ok()
    };
    Some((date(first)?, date(first + span)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn of(period: Period, zone: &str, at: &str) -> (String, String) {
        let time_zone = ZoneName::try_from(zone.to_owned()).unwrap();
        let stretch = stretch(&Budget::new(PicoUsd::ZERO, period, time_zone), at.parse().unwrap());
        (stretch.start.to_string(), stretch.end.map(|end| end.to_string()).unwrap_or_default())
    }

    #[test]
    fn a_reset_divides_the_period_that_it_lies_in() {
        let zone = ZoneName::try_from("UTC".to_owned()).unwrap();
        let found = |period, reset: &str, at: &str| {
            let budget =
                Budget { reset_at: Some(reset.parse().unwrap()), ..Budget::new(PicoUsd::ZERO, period, zone.clone()) };
            let Stretch { start, end } = stretch(&budget, at.parse().unwrap());
            let start = (start != Timestamp::MIN).then_some(start);
            [start, end].map(|time| time.map(|time| time.to_string()).unwrap_or_default())
        };
        let reset = "2026-11-23T14:30:00Z";
        for (period, at, start, end) in [
            (Period::Daily, "2026-11-23T14:29:59Z", "2026-11-23T00:00:00Z", reset),
            (Period::Daily, "2026-11-23T14:30:00Z", reset, "2026-11-24T00:00:00Z"),
            (Period::Daily, "2026-11-24T00:00:00Z", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"),
            (Period::Daily, "2026-11-22T12:00:00Z", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
            (Period::Total, "2026-11-23T14:29:59Z", "", reset),
            (Period::Total, "2026-11-23T14:30:00Z", reset, ""),
        ] {
            assert_eq!(found(period, reset, at), [start, end], "{period} {at}");
        }
    }

    #[test]
    fn periods_follow_the_calendar_of_their_zone() {
        for (period, zone, at, start, end) in [
            (Period::Daily, "UTC", "2026-11-23T14:00:00Z", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
            (Period::Daily, "Asia/Tokyo", "2026-11-23T15:00:00Z", "2026-11-23T15:00:00Z", "2026-11-24T15:00:00Z"),
            (Period::Weekly, "UTC", "2026-11-29T23:59:59Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            (Period::Weekly, "UTC", "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-07T00:00:00Z"),
            (Period::Monthly, "UTC", "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            (Period::Monthly, "UTC", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            // Clocks go forward on 29 March 2026 and back on 25 October: days of 23 and 25 hours.
            (Period::Daily, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            (Period::Daily, "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            (Period::Monthly, "Europe/Berlin", "2026-03-31T22:00:00Z", "2026-03-31T22:00:00Z", "2026-04-30T22:00:00Z"),
            // Midnight itself is skipped: the day begins at 01:00.
            (Period::Daily, "America/Asuncion", "2023-10-01T12:00:00Z", "2023-10-01T04:00:00Z", "2023-10-02T03:00:00Z"),
            (Period::Hourly, "UTC", "2026-11-23T14:59:59Z", "2026-11-23T14:00:00Z", "2026-11-23T15:00:00Z"),
            (Period::Hourly, "Asia/Kolkata", "2026-11-23T14:29:59Z", "2026-11-23T13:30:00Z", "2026-11-23T14:30:00Z"),
            // The hour that is there twice is two hours.
            (Period::Hourly, "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
            (Period::Hourly, "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"),
            (Period::WeeklyFrom(7), "UTC", "2026-11-28T23:59:59Z", "2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"),
            (Period::WeeklyFrom(7), "UTC", "2026-11-29T00:00:00Z", "2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"),
            (Period::MonthlyFrom(6), "UTC", "2026-01-05T23:59:59Z", "2025-12-06T00:00:00Z", "2026-01-06T00:00:00Z"),
            (Period::MonthlyFrom(28), "UTC", "2026-02-28T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-28T00:00:00Z"),
            (Period::Quarterly, "UTC", "2026-12-31T23:59:59Z", "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            (
                Period::QuarterlyFrom { month: 2, day: 15 },
                "UTC",
                "2026-02-14T23:00:00Z",
                "2025-11-15T00:00:00Z",
                "2026-02-15T00:00:00Z",
            ),
            (
                Period::QuarterlyFrom { month: 3, day: 1 },
                "UTC",
                "2026-01-31T00:00:00Z",
                "2025-12-01T00:00:00Z",
                "2026-03-01T00:00:00Z",
            ),
            (Period::Yearly, "UTC", "2028-02-29T12:00:00Z", "2028-01-01T00:00:00Z", "2029-01-01T00:00:00Z"),
            // The fiscal year of the United Kingdom.
            (
                Period::YearlyFrom { month: 4, day: 6 },
                "Europe/London",
                "2026-04-05T22:59:59Z",
                "2025-04-05T23:00:00Z",
                "2026-04-05T23:00:00Z",
            ),
            (
                Period::YearlyFrom { month: 4, day: 6 },
                "Europe/London",
                "2026-04-05T23:00:00Z",
                "2026-04-05T23:00:00Z",
                "2027-04-05T23:00:00Z",
            ),
            (
                Period::Days { days: 14, phase: 3 },
                "UTC",
                "1970-01-17T23:59:59Z",
                "1970-01-04T00:00:00Z",
                "1970-01-18T00:00:00Z",
            ),
            (
                Period::Days { days: 14, phase: 3 },
                "UTC",
                "1970-01-03T00:00:00Z",
                "1969-12-21T00:00:00Z",
                "1970-01-04T00:00:00Z",
            ),
            (
                Period::Days { days: 1, phase: 0 },
                "Asia/Tokyo",
                "2026-11-23T15:00:00Z",
                "2026-11-23T15:00:00Z",
                "2026-11-24T15:00:00Z",
            ),
        ] {
            assert_eq!(of(period, zone, at), (start.to_owned(), end.to_owned()), "{period:?} {zone} {at}");
        }
    }

    proptest! {
        /// Whatever the period: each moment lies in it, its end begins the next one, and a moment before it lies in another one.
        #[test]
        fn periods_follow_on_each_other(
            second in 0i64..4_000_000_000,
            text in "(Hourly|Daily|Weekly(-[2-7])?|Monthly(-(0[2-9]|1[0-9]|2[0-8]))?|Quarterly-[23]-1[0-9]|Yearly-(0[2-9]|1[0-2])-0[1-9]|Days-(10|366)-[0-9])",
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
        ) {
            let time_zone = ZoneName::try_from(zone.to_owned()).unwrap();
            let budget = Budget::new(PicoUsd::ZERO, text.parse().unwrap(), time_zone);
            let at = Timestamp::from_second(second).unwrap();
            let Stretch { start, end } = stretch(&budget, at);
            let end = end.unwrap();
            prop_assert!(start <= at && at < end, "{} {} {}", start, at, end);
            prop_assert_eq!(stretch(&budget, start), Stretch { start, end: Some(end) });
            prop_assert_eq!(stretch(&budget, end).start, end);
            let before = start.checked_sub(1.second()).unwrap();
            prop_assert_eq!(stretch(&budget, before).end, Some(start));
        }
    }

    #[test]
    fn a_total_budget_never_ends() {
        assert_eq!(of(Period::Total, "UTC", "2026-11-23T14:00:00Z").1, "");
    }
}
