//! Moments that people write.

use std::{borrow::Cow, fmt, str::FromStr};

use jiff::{Timestamp, civil};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A moment as the API server's `format: date-time` takes it (RFC 3339). What lies beyond the last moment that can be told, as in
/// `9999-12-31T23:59:59Z`, which people write for "never", is that last moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime(pub Timestamp);

/// Not a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTimeError;

impl fmt::Display for DateTimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a date and time such as 2026-12-31T23:59:59Z (RFC 3339)")
    }
}

impl std::error::Error for DateTimeError {}

impl FromStr for DateTime {
    type Err = DateTimeError;
    fn from_str(text: &str) -> Result<Self, DateTimeError> {
        let text = text.to_ascii_uppercase();
        if !text.contains('T') {
            return Err(DateTimeError);
        }
        if let Ok(at) = text.parse() {
            return Ok(Self(at));
        }
        // The last hours of the last year of four digits are beyond what the type holds.
        let civil = text.get(.."0000-00-00T00:00:00".len()).and_then(|civil| civil.parse::<civil::DateTime>().ok());
        let is_beyond = civil.is_some_and(|civil| civil.year() == 9999 && civil.month() == 12 && civil.day() >= 30);
        if is_beyond { Ok(Self(Timestamp::MAX)) } else { Err(DateTimeError) }
    }
}

impl<'de> Deserialize<'de> for DateTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Serialize for DateTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for DateTime {
    fn schema_name() -> Cow<'static, str> {
        "DateTime".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_the_api_server_takes_is_a_moment_and_never_is_one() {
        let of = |text: &str| text.parse::<DateTime>().map(|at| at.0.to_string());
        for (text, at) in [
            ("2026-12-31T23:59:59Z", "2026-12-31T23:59:59Z"),
            ("2026-12-31t23:59:59.25z", "2026-12-31T23:59:59.25Z"),
            ("2026-12-31T23:59:59+02:00", "2026-12-31T21:59:59Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(at), "{text}");
        }
        let never = Timestamp::MAX.to_string();
        for text in
            ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z", "9999-12-30T22:30:00Z", "9999-12-31T00:00:00-12:00"]
        {
            assert_eq!(of(text), Ok(never.clone()), "{text}");
        }
        for text in
            ["", "tomorrow", "2026-12-31", "2026-13-31T00:00:00Z", "2026-12-31 00:00:00Z", "9999-99-99T00:00:00Z"]
        {
            assert_eq!(of(text), Err(DateTimeError), "{text}");
        }
    }
}
