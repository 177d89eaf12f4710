//! `x-ratelimit-*`, in the words and units of OpenAI's API reference ("Rate limits", "Rate limits in headers").

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    counters::{Quota, Standing},
    refusal::whole_seconds,
};

/// Writes what is left of the tightest limits; nothing where there is no limit.
pub fn write(headers: &mut HeaderMap, standing: &Standing) {
    let Standing { requests, tokens } = *standing;
    let mut set = |quota: Option<Quota>, [limit, remaining, reset]: [&'static str; 3]| {
        let Some(quota) = quota else { return };
        headers.insert(HeaderName::from_static(limit), quota.limit.into());
        headers.insert(HeaderName::from_static(remaining), quota.remaining.into());
        if let Ok(value) = HeaderValue::try_from(format!("{}s", whole_seconds(quota.reset))) {
            headers.insert(HeaderName::from_static(reset), value);
        }
    };
    set(requests, ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]);
    set(tokens, ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]);
}
