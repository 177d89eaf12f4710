//! Lines of the access log, as sidecars and gateways write them. Pure.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name of a route's backend in the line of a sidecar that has passed the call on to the gateway.
const PASSED_ON: &str = "_gateway";
/// The status of a call whose caller left before the answer.
pub(super) const CALLER_LEFT: u16 = 499;

/// The ID of a call, as the header `x-litellm-call-id` of its answer has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct CallId(String);

impl CallId {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CallId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().to_ascii_lowercase();
        let is_dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
        let fits = |(at, byte): (usize, u8)| if is_dash(at) { byte == b'-' } else { byte.is_ascii_hexdigit() };
        if text.len() == 36 && text.bytes().enumerate().all(fits) {
            Ok(Self(text))
        } else {
            Err(
                "is no call ID: the header x-litellm-call-id of the answer has it, as in 5b0f7c0e-9d1c-4b6f-8f3a-2f6f1f0c7a11",
            )
        }
    }
}

/// What a line says of a call. Fields that a newer sidecar adds are passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
pub(super) struct CallLine {
    #[serde(skip_serializing)]
    log: String,
    pub(super) time: Timestamp,
    #[serde(skip_serializing)]
    pub(super) call_id: String,
    /// Of the gateway: what whoever called it calls the call.
    #[serde(default, skip_serializing)]
    pub(super) caller_call_id: Option<String>,
    pub(super) status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) team: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) route: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) backend: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cost_usd: Option<String>,
    /// How well the tokens are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<String>,
    pub(super) duration_ms: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) overhead_ms: Option<f64>,
    #[serde(default)]
    pub(super) retries: u32,
    #[serde(default)]
    pub(super) hedges: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) truncated: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) would_reject: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) metadata: Option<Value>,
}

impl CallLine {
    /// Whether it is of the call of this ID.
    pub(super) fn is_of(&self, id: &str) -> bool {
        self.call_id == id || self.caller_call_id.as_deref() == Some(id)
    }

    /// Reads a line. None: it is something else, as what the program itself logs.
    pub(super) fn read(line: &str) -> Option<Self> {
        let line = line.trim();
        let read: Self = line.starts_with('{').then(|| serde_json::from_str(line).ok()).flatten()?;
        (read.log == "access").then_some(read)
    }

    /// Whether the gateway has carried it out: then its own line says what became of it.
    pub(super) fn is_passed_on(&self) -> bool {
        self.backend.as_deref() == Some(PASSED_ON)
    }

    /// Requests to providers, as far as one was sent.
    pub(super) fn attempts(&self) -> Option<u32> {
        let has_one = self.backend.is_some() && !self.is_passed_on();
        has_one.then(|| self.retries.saturating_add(self.hedges).saturating_add(1))
    }
}

/// One line of a log that has times of its own in front, as the API server adds them: the time, and what was written.
pub(super) fn timed(line: &str) -> (Option<Timestamp>, &str) {
    let parts = line.split_once(' ').and_then(|(time, rest)| Some((time.parse().ok()?, rest)));
    parts.map_or((None, line), |(time, rest)| (Some(time), rest))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    pub(in crate::plugin) const ID: &str = "5b0f7c0e-9d1c-4b6f-8f3a-2f6f1f0c7a11";

    /// A line as a sidecar writes it, with some fields more.
    pub(in crate::plugin) fn line(status: u16, fields: &str) -> String {
        format!(
            "{{\"log\":\"access\",\"time\":\"2026-11-24T10:00:00.123456Z\",\"call_id\":\"{ID}\",\"status\":{status},\"key\":\"web/alice\",\
             \"team\":\"web/search\",\"user\":\"ada\",\"model\":\"text-embedding-3-small\",\"duration_ms\":12.345,\"overhead_ms\":0.9,\
             \"retries\":0{fields}}}"
        )
    }

    #[test]
    fn a_line_is_read_and_what_is_none_is_passed_over() {
        let read = CallLine::read(&line(200, ",\"backend\":\"one\",\"newer\":{}")).unwrap();
        assert_eq!((read.status, read.attempts(), read.is_passed_on()), (200, Some(1), false));
        let passed_on = CallLine::read(&line(200, ",\"backend\":\"_gateway\"")).unwrap();
        assert!(passed_on.is_passed_on() && passed_on.attempts().is_none());
        for other in ["", "2026 WARN it is late", "{\"log\":\"access\"}", &line(200, "").replace("access", "other")] {
            assert_eq!(CallLine::read(other), None, "{other}");
        }
        assert_eq!(timed("2026-11-24T10:00:00.5Z a b"), ("2026-11-24T10:00:00.5Z".parse().ok(), "a b"));
        assert_eq!(timed("a b"), (None, "a b"));
    }

    #[test]
    fn an_id_is_what_the_header_has() {
        let upper = ID.to_uppercase();
        assert_eq!(upper.parse::<CallId>().unwrap().as_str(), ID);
        for other in ["", "1", &ID.replace('-', "0"), &format!("{ID}0"), &ID.replace('b', "g")] {
            assert!(other.parse::<CallId>().is_err(), "{other}");
        }
    }
}
