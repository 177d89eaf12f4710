//! Headers that a route may not set on requests to its provider.

/// Names that the sidecar or the way to the provider decides on.
const NAMES: [&str; 24] = [
    "accept",
    "accept-encoding",
    "api-key",
    "authorization",
    "connection",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "openai-organization",
    "openai-project",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-api-key",
    "x-auth-token",
    "x-goog-api-key",
    "x-request-id",
    "date",
];
/// Beginnings of such names: of bodies, of proxies, of AWS's signatures, and what callers say to the sidecar.
const BEGINNINGS: [&str; 5] = ["content-", "proxy-", "x-amz-", "x-litellm-", "x-forwarded-"];

/// Whether a header is one that a route may not set, in whatever letters: it says who calls, how the body reads or where the
/// request goes, or it is put on the request anyway.
pub fn is_ours(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.contains(&&*name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn what_says_who_calls_or_how_a_body_reads_is_no_routes() {
        for name in ["Authorization", "content-type", "Content-Encoding", "HOST", "x-litellm-tags", "X-Amz-Date", "te"]
        {
            assert!(is_ours(name), "{name}");
        }
        for name in ["helicone-property-team", "X-Title", "HTTP-Referer", "anthropic-version", "x-content"] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
