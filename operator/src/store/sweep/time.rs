//! Moments and months, as they stand in the store.

/// How long accounts stay that are gone, in milliseconds.
pub const GONE_RETENTION_MS: u64 = 35 * DAY_MS;
/// A day.
pub const DAY_MS: u64 = 86_400_000;

/// Whether a moment that somebody wrote, in milliseconds since 1970, is one within the time that things stay. One in the future is
/// nobody's.
pub fn is_recent(at_ms: u64, now_ms: u64) -> bool {
    at_ms.saturating_add(GONE_RETENTION_MS) > now_ms && at_ms <= now_ms.saturating_add(DAY_MS)
}

/// A year and a month.
pub(super) fn month(text: &str) -> Option<(i16, i8)> {
    let (year, month) = text.split_once('-')?;
    let is_right = year.len() == 4 && month.len() == 2;
    let month: i8 = month.parse().ok().filter(|month| is_right && (1..=12).contains(month))?;
    Some((year.parse().ok()?, month))
}

/// When a month is over, in milliseconds since 1970.
pub(super) fn month_end_ms(text: &str) -> Option<u64> {
    let (year, month) = month(text)?;
    let last = jiff::civil::Date::new(year, month, 1).ok()?.last_of_month();
    let end = last.tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    u64::try_from(end.timestamp().as_millisecond()).ok()
}
