//! `x-ratelimit-*`, in the words and units of OpenAI's API reference ("Rate limits", "Rate limits in headers").

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::header_text::HeaderText;
use vectoll_limits::{
    counters::{Quota, RateLimitStatus},
    store::protocol::Per,
};

/// Limit, remaining, reset.
type Names = [HeaderName; 3];

const REQUESTS: Names = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: Names = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// In which time the quota is limited. OpenAI's limits are by the minute, and so is what has no such header.
const WINDOWS: [HeaderName; 2] = [
    HeaderName::from_static("x-vectoll-ratelimit-window-requests"),
    HeaderName::from_static("x-vectoll-ratelimit-window-tokens"),
];

/// Seconds, rounded up: who waits so long does not come too early.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Writes what is left of the tightest limits; nothing where there is no limit.
pub fn write(headers: &mut HeaderMap, rate_limits: &RateLimitStatus) {
    let RateLimitStatus { requests, tokens } = *rate_limits;
    for ((quota, names), window) in [(requests, REQUESTS), (tokens, TOKENS)].into_iter().zip(WINDOWS) {
        let Some(Quota { limit, remaining, reset, per }) = quota else { continue };
        if per != Per::Minute {
            headers.insert(window, HeaderValue::from_static(per.name()));
        }
        let lines = [
            HeaderText::number(limit),
            HeaderText::number(remaining),
            HeaderText::number(whole_seconds(reset)).then("s"),
        ];
        for (name, line) in names.into_iter().zip(&lines) {
            if let Some(value) = line.value() {
                headers.insert(name, value);
            }
        }
    }
}
