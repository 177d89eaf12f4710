//! What every answer of the page has, and what is refused before it is looked at.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, uri::Authority};

/// Nothing but the page's own three files runs or is shown in it, it is shown in no other page, and what it says is kept by nobody on the way.
fn headers() -> [(HeaderName, &'static str); 9] {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
                  form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";
    [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ]
}

/// Adds the headers of every answer.
pub(super) async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in headers() {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Where no token is asked for, whoever calls must mean this machine: a web page elsewhere may have a name of its own point here (DNS
/// rebinding), and would be let in by the browser.
pub(super) async fn guard(State(on_loopback): State<bool>, request: Request, next: Next) -> Response {
    if on_loopback && !is_local(request.headers()) {
        let message = "this page is for this machine: call it by localhost or 127.0.0.1\n";
        return (StatusCode::MISDIRECTED_REQUEST, message).into_response();
    }
    next.run(request).await
}

/// Whether the one `Host` is this machine.
fn is_local(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_this_machine_is_this_machine() {
        let of = |hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            is_local(&headers)
        };
        for host in ["localhost:8082", "localhost", "127.0.0.1:8082", "[::1]:8082"] {
            assert!(of(&[host]), "{host}");
        }
        for host in ["localhost.evil.example", "evil.example:8082", "127.0.0.1.evil.example", "10.0.0.1", ""] {
            assert!(!of(&[host]), "{host}");
        }
        assert!(!of(&[]) && !of(&["localhost", "evil.example"]));
    }
}
