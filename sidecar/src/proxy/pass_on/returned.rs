//! What comes back from the gateway, and what of it the caller gets: something may stand between, and add words of its own.

use http::{HeaderMap, HeaderName, header, response::Parts};

use crate::{answer, call_id::CALL_ID};

/// Headers of an answer that callers get, beside a provider's ([`answer::PASSED`]) and those that begin with [`PREFIXES`]. Cookies, other
/// addresses of the server, rules for a browser and all that is of the connection stay here.
static PASSED: [HeaderName; 3] =
    [header::RETRY_AFTER, header::WWW_AUTHENTICATE, HeaderName::from_static("x-should-retry")];
/// What the gateway itself says of a call.
const PREFIXES: [&str; 3] = ["x-litellm-", "x-ratelimit-", "x-vectoll-"];

/// Whether it is the gateway that answers: each of its answers has the call's ID, and none is a redirect.
pub(super) fn is_the_gateways(Parts { status, headers, .. }: &Parts) -> bool {
    headers.contains_key(CALL_ID) && !status.is_redirection() && !status.is_informational()
}

/// Those of the headers that the caller gets.
pub(super) fn headers(mut from_gateway: HeaderMap) -> HeaderMap {
    let others: Vec<HeaderName> = from_gateway.keys().filter(|name| !passes(name)).cloned().collect();
    for name in &others {
        from_gateway.remove(name);
    }
    from_gateway
}

fn passes(name: &HeaderName) -> bool {
    let has_prefix = || PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix));
    PASSED.contains(name) || answer::PASSED.contains(name) || has_prefix()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use http::{HeaderValue, Response};

    use super::*;

    #[test]
    fn what_stands_between_says_nothing_to_the_caller() {
        let theirs = [
            "set-cookie",
            "alt-svc",
            "strict-transport-security",
            "access-control-allow-origin",
            "proxy-authenticate",
            "proxy-connection",
            "connection",
            "x-named-by-connection",
            "location",
            "server",
            "via",
            "content-length",
        ];
        let gateways = [
            "content-type",
            "retry-after",
            "www-authenticate",
            "x-should-retry",
            "x-ratelimit-limit-requests",
            "x-litellm-call-id",
            "x-litellm-model-id",
            "x-vectoll-would-reject",
            "x-request-id",
            "openai-processing-ms",
        ];
        let names = theirs.iter().chain(&gateways);
        let sent: HeaderMap =
            names.map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x"))).collect();
        let got = headers(sent);
        assert!(theirs.iter().all(|name| !got.contains_key(*name)), "{got:?}");
        assert!(gateways.iter().all(|name| got.contains_key(*name)), "{got:?}");
    }

    #[test]
    fn an_answer_without_an_id_and_a_redirect_are_not_the_gateways() {
        let answered = |status: u16, has_id: bool| {
            let mut response = Response::builder().status(status);
            if has_id {
                response = response.header(CALL_ID, "x");
            }
            is_the_gateways(&response.body(()).unwrap().into_parts().0)
        };
        assert!(answered(200, true) && answered(404, true) && answered(503, true));
        assert!(!answered(200, false) && !answered(431, false) && !answered(502, false));
        assert!(!answered(302, true) && !answered(308, false));
    }
}
