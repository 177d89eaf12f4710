//! How long a call may take and how often it may be tried again, as its caller says. It counts within what the route says: a caller may
//! ask for less than that, and never gets more.
//!
//! Source: BerriAI/litellm `litellm/proxy/litellm_pre_call_utils.py`: `_get_timeout_from_request` (seconds, fractions allowed),
//! `_get_num_retries_from_request` (a whole number) and `add_litellm_data_for_backend_llm_call`, whose result replaces what the body says.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::{Fields, Malformed};

static TIMEOUT_HEADER: HeaderName = HeaderName::from_static("x-litellm-timeout");
static RETRIES_HEADER: HeaderName = HeaderName::from_static("x-litellm-num-retries");

/// What a caller says of its call's attempts; none: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttemptBounds {
    timeout: Option<Duration>,
    retries: Option<u32>,
}

impl AttemptBounds {
    /// Reads the headers, and of the body `num_retries`, which counts where the header is not there.
    pub fn read(headers: &HeaderMap, fields: &Fields<'_>) -> Result<Self, Malformed> {
        // Both are to be right, whichever of them counts.
        let in_body = fields.num_retries()?;
        Ok(Self { timeout: timeout(headers)?, retries: retries(headers)?.or(in_body) })
    }

    /// How long the caller waits for the answer to begin; none: as long as the route lets it.
    pub fn timeout(self) -> Option<Duration> {
        self.timeout
    }

    /// The most attempts after the first, on a route that allows so many.
    pub fn retries_within(self, route: u32) -> u32 {
        self.retries.map_or(route, |retries| retries.min(route))
    }
}

fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Malformed> {
    let Some(value) = headers.get(&TIMEOUT_HEADER) else { return Ok(None) };
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse::<f64>().ok());
    // What no clock can count is as long as the route allows.
    match seconds.filter(|seconds| *seconds > 0.0) {
        Some(seconds) => Ok(Duration::try_from_secs_f64(seconds).ok()),
        None => {
            Err(Malformed::new(None, "The header x-litellm-timeout must be a number of seconds that is greater than 0"))
        }
    }
}

fn retries(headers: &HeaderMap) -> Result<Option<u32>, Malformed> {
    let Some(value) = headers.get(&RETRIES_HEADER) else { return Ok(None) };
    match value.to_str().ok().and_then(|text| text.trim().parse().ok()) {
        Some(retries) => Ok(Some(retries)),
        None => Err(Malformed::new(None, "The header x-litellm-num-retries must be a whole number, 0 or more")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use http::HeaderValue;

    use super::*;

    fn read(headers: &[(&HeaderName, &str)], body: &str) -> Result<AttemptBounds, Malformed> {
        let headers =
            headers.iter().map(|(name, value)| ((*name).clone(), HeaderValue::from_str(value).unwrap())).collect();
        AttemptBounds::read(&headers, &Fields::read(body).unwrap())
    }

    #[test]
    fn a_caller_gets_less_than_the_route_allows_and_never_more() {
        let bounds = read(&[(&TIMEOUT_HEADER, "90"), (&RETRIES_HEADER, "3")], "{}").unwrap();
        assert_eq!((bounds.retries_within(2), bounds.retries_within(5)), (2, 3));
        assert_eq!(bounds.timeout(), Some(Duration::from_secs(90)));
        let none = read(&[], "{}").unwrap();
        assert_eq!((none.timeout(), none.retries_within(2)), (None, 2));
        let small = read(&[(&TIMEOUT_HEADER, "0.25")], "{}").unwrap();
        assert_eq!(small.timeout(), Some(Duration::from_millis(250)));
        // What no clock can count is as long as the route allows.
        let endless = read(&[(&TIMEOUT_HEADER, "1e300")], "{}").unwrap();
        assert_eq!(endless.timeout(), None);
    }

    #[test]
    fn the_header_goes_before_the_body() {
        for (headers, body, retries) in [
            (&[(&RETRIES_HEADER, "0")][..], r#"{"num_retries": 4}"#, 0),
            (&[], r#"{"num_retries": 4}"#, 4),
            (&[], r#"{"num_retries": 1.0}"#, 1),
            (&[], r#"{"num_retries": null}"#, 9),
        ] {
            assert_eq!(read(headers, body).unwrap().retries_within(9), retries, "{body}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused_by_its_name() {
        for value in ["", "soon", "0", "-1", "NaN", "1s"] {
            let refusal = read(&[(&TIMEOUT_HEADER, value)], "{}").unwrap_err();
            assert!(refusal.message.contains("x-litellm-timeout"), "{value}: {}", refusal.message);
        }
        for value in ["", "many", "-1", "1.5", "99999999999"] {
            let refusal = read(&[(&RETRIES_HEADER, value)], "{}").unwrap_err();
            assert!(refusal.message.contains("x-litellm-num-retries"), "{value}: {}", refusal.message);
        }
        for body in [
            r#"{"num_retries": "3"}"#,
            r#"{"num_retries": -1}"#,
            r#"{"num_retries": 1.5}"#,
            r#"{"num_retries": 4294967296}"#,
        ] {
            assert_eq!(read(&[(&RETRIES_HEADER, "0")], body).unwrap_err().param, Some("num_retries"), "{body}");
        }
    }
}
