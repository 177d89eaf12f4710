//! A request before it is signed.

use http::{HeaderMap, Method};
use url::Url;

use super::Payload;

/// A request before it is signed. Its debug output has neither headers nor body: they hold the caller's inputs.
pub struct Unsigned<'a> {
    /// The method.
    pub method: &'a Method,
    /// The full URL, as it will be sent: names in its path are percent-encoded.
    pub url: &'a Url,
    /// The headers. Those that a signature covers (`Content-Type`, `Content-Length` and Amazon's) are as they will be sent.
    pub headers: &'a mut HeaderMap,
    /// The whole body.
    pub body: &'a Payload,
}

impl std::fmt::Debug for Unsigned<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unsigned")
            .field("method", self.method)
            .field("url", &format_args!("{}", self.url))
            .finish_non_exhaustive()
    }
}
