//! What goes along with a call that is passed on, and what a gateway takes from it.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header, uri::PathAndQuery};

use crate::{authenticate, call::Call, call_id::CALL_ID, pod_token, refusal::Refusal};

/// Which route a sidecar has chosen. The gateway serves the call by that one or not at all: it never widens what a call may reach, so
/// everybody may send it.
pub static ROUTE: HeaderName = HeaderName::from_static("x-vectoll-route");

/// Headers that go along, beside those that begin with [`PREFIXES`]: who calls, what the body is, and how a trace goes on.
static PASSED: [HeaderName; 10] = [
    header::AUTHORIZATION,
    header::ACCEPT,
    header::CONTENT_TYPE,
    header::USER_AGENT,
    header::VIA,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
];
/// What callers say to whoever carries their calls out.
const PREFIXES: [&str; 2] = ["x-litellm-", "x-vectoll-"];
/// The most bytes of path and headers that go along: a gateway takes twice as many, and something before it may take fewer.
const MAX_HEADERS: usize = 32 * 1024;
/// What each header counts beside its name and value (RFC 9113, section 6.5.2).
const HEADER_OVERHEAD: usize = 32;

/// The headers that go along. With a pod's token none that could be a key does.
pub(super) fn headers(
    path: &PathAndQuery,
    from_caller: &HeaderMap,
    (call, route, token): (&Call, &Arc<str>, Option<HeaderValue>),
) -> Result<HeaderMap, Refusal> {
    let mut headers = of_caller(from_caller, token.is_some());
    let of_headers: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD).sum();
    if path.as_str().len() + of_headers > MAX_HEADERS {
        let message = format!(
            "The calls of this model are passed on to the gateway, with {MAX_HEADERS} bytes of path and headers at most: send less metadata, \
             or put it into the body"
        );
        return Err(Refusal::malformed(None, message));
    }
    if let Some(token) = token
        && let Ok(name) = HeaderValue::from_str(&call.caller.key().name)
    {
        headers.insert(pod_token::TOKEN.clone(), token);
        headers.insert(pod_token::API_KEY.clone(), name);
    }
    if let Ok(route) = HeaderValue::from_str(route) {
        headers.insert(ROUTE.clone(), route);
    }
    // Both access logs have it.
    if let Ok(id) = HeaderValue::from_bytes(&call.id.text()) {
        headers.insert(CALL_ID, id);
    }
    Ok(headers)
}

/// Those of the caller's own.
fn of_caller(from_caller: &HeaderMap, has_token: bool) -> HeaderMap {
    let is_key = |name: &HeaderName| authenticate::KEY_HEADERS.contains(name);
    let is_sidecars = |name: &HeaderName| [&pod_token::TOKEN, &pod_token::API_KEY, &ROUTE].contains(&name);
    let goes_along = |name: &HeaderName| {
        let passes = PASSED.contains(name) || PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix));
        passes && !is_sidecars(name) && !(has_token && is_key(name))
    };
    let mut headers = HeaderMap::with_capacity(from_caller.len() + 4);
    for (name, value) in from_caller.iter().filter(|(name, _)| goes_along(name)) {
        headers.append(name.clone(), value.clone());
    }
    headers
}

/// Whether a call is for this route, or says nothing of it. `found`: none where its model has none.
pub(crate) fn is_of_route(headers: &HeaderMap, found: Option<&str>) -> Result<(), String> {
    let mut chosen = headers.get_all(&ROUTE).iter();
    let other = chosen.find(|chosen| found.is_none_or(|found| chosen.as_bytes() != found.as_bytes()));
    other.map_or(Ok(()), |other| Err(String::from_utf8_lossy(other.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn what_is_the_sidecars_to_say_no_application_says() {
        let sent = map(&[
            ("authorization", "Bearer sk-vt-a"),
            ("x-vectoll-pod-token", "a.b.c"),
            ("x-vectoll-pod-key", "crm/bob"),
            ("x-vectoll-route", "crm/openai"),
            ("x-vectoll-max-wait", "3"),
            ("x-litellm-tags", "a"),
            ("x-litellm-tags", "b"),
            ("cookie", "c"),
            ("x-forwarded-for", "203.0.113.7"),
        ]);
        let names = |headers: HeaderMap| {
            let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_string()).collect();
            names.sort_unstable();
            names
        };
        let all = ["authorization", "x-litellm-tags", "x-litellm-tags", "x-vectoll-max-wait"];
        assert_eq!(names(of_caller(&sent, false)), all);
        assert_eq!(names(of_caller(&sent, true)), all[1..], "no key goes with a token");
    }

    #[test]
    fn a_route_that_was_chosen_is_served_or_nothing_is() {
        let chosen = map(&[("x-vectoll-route", "shop/openai")]);
        assert_eq!(is_of_route(&HeaderMap::new(), Some("shop/openai")), Ok(()));
        assert_eq!(is_of_route(&HeaderMap::new(), None), Ok(()));
        assert_eq!(is_of_route(&chosen, Some("shop/openai")), Ok(()));
        assert_eq!(is_of_route(&chosen, Some("shop/all")), Err("shop/openai".to_owned()));
        assert_eq!(is_of_route(&chosen, None), Err("shop/openai".to_owned()));
        let two = map(&[("x-vectoll-route", "shop/all"), ("x-vectoll-route", "shop/openai")]);
        assert!(is_of_route(&two, Some("shop/all")).is_err());
    }
}
