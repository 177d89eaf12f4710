//! How long a provider asks to wait.
//!
//! Sources: RFC 9110, section 10.2.3 (`Retry-After`: seconds, or a date), and openai-python's `_parse_retry_after_header`, which
//! reads `retry-after-ms` first and takes fractions of a second.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::{Timestamp, fmt::rfc2822};

const MILLIS: HeaderName = HeaderName::from_static("retry-after-ms");

/// The wait; none where nothing is said that makes sense. Dates are weighed against the provider's own clock, if it tells it.
pub fn wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name).map(HeaderValue::to_str)?.ok().map(str::trim);
    let seconds = |text: &str| text.parse().ok().and_then(|number| Duration::try_from_secs_f64(number).ok());
    if let Some(millis) = text(&MILLIS).and_then(seconds) {
        return Some(millis / 1000);
    }
    let value = text(&header::RETRY_AFTER)?;
    seconds(value).or_else(|| {
        let date = |text: &str| rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
        let theirs = text(&header::DATE).and_then(date).unwrap_or(now);
        // In the past: now.
        Some(Duration::try_from(date(value)?.duration_since(theirs)).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_form_of_a_wait_is_read() {
        let now = "2026-05-01T00:00:10Z".parse().unwrap();
        let of = |pairs: &[(&HeaderName, &'static str)]| {
            let headers =
                pairs.iter().map(|(name, value)| ((*name).clone(), HeaderValue::from_static(value))).collect();
            wait(&headers, now).map(|wait| wait.as_millis())
        };
        let after = &header::RETRY_AFTER;
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(after, "7")]), Some(7_000));
        assert_eq!(of(&[(after, " 1.5 ")]), Some(1_500));
        assert_eq!(of(&[(&MILLIS, "250"), (after, "7")]), Some(250));
        assert_eq!(of(&[(&MILLIS, "soon"), (after, "7")]), Some(7_000));
        assert_eq!(of(&[(after, "Fri, 01 May 2026 00:00:30 GMT")]), Some(20_000));
        let theirs = (&header::DATE, "Fri, 01 May 2026 00:00:25 GMT");
        assert_eq!(of(&[(after, "Fri, 01 May 2026 00:00:30 GMT"), theirs]), Some(5_000));
        assert_eq!(of(&[(after, "Thu, 30 Apr 2026 00:00:30 GMT")]), Some(0), "it is over");
        for nothing in ["", "soon", "-1", "NaN", "inf"] {
            assert_eq!(of(&[(after, nothing)]), None, "{nothing}");
        }
    }
}
