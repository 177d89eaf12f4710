//! Calendar periods of budgets: the same for whoever spends and for whoever tells of it.

use jiff::{Timestamp, ToSpan, Zoned, civil::Weekday};

use crate::v1::{Budget, Period};

/// A stretch of time that a budget covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment after it; none: it never ends.
    pub end: Option<Timestamp>,
}

/// The period of a budget that a moment lies in, by the calendar of its zone.
pub fn stretch(budget: &Budget, at: Timestamp) -> Stretch {
    let now = at.to_zoned(budget.time_zone.zone().clone());
    calendar(budget.period, &now).unwrap_or(Stretch { start: Timestamp::MIN, end: None })
}

/// `None` where the calendar ends (the year 9999) and for periods without an end.
fn calendar(period: Period, now: &Zoned) -> Option<Stretch> {
    let today = now.date();
    let (first, span) = match period {
        Period::Daily => (today, 1.day()),
        Period::Weekly => {
            let since_monday = today.weekday().since(Weekday::Monday);
            (today.checked_sub(i64::from(since_monday).days()).ok()?, 1.week())
        }
        Period::Monthly => (today.first_of_month(), 1.month()),
        Period::Total => return None,
    };
    let next = first.checked_add(span).ok()?;
    // A day begins when the zone's clocks first show it: after a gap at midnight, that is 01:00.
    let zone = now.time_zone();
    Some(Stretch {
        start: first.to_zoned(zone.clone()).ok()?.timestamp(),
        end: Some(next.to_zoned(zone.clone()).ok()?.timestamp()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{PicoUsd, ZoneName};

    fn of(period: Period, zone: &str, at: &str) -> (String, String) {
        let time_zone = ZoneName::try_from(zone.to_owned()).unwrap();
        let stretch = stretch(&Budget { limit: PicoUsd::ZERO, period, time_zone }, at.parse().unwrap());
        (stretch.start.to_string(), stretch.end.map(|end| end.to_string()).unwrap_or_default())
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
        ] {
            assert_eq!(of(period, zone, at), (start.to_owned(), end.to_owned()), "{period:?} {zone} {at}");
        }
    }

    #[test]
    fn a_total_budget_never_ends() {
        assert_eq!(of(Period::Total, "UTC", "2026-11-23T14:00:00Z").1, "");
    }
}
