//! A request as it came.

use http::{HeaderMap, Method};

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, percent-encoded as it was sent.
    pub path: &'a str,
    /// The query; empty: none.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// From its head and its body.
    pub(crate) fn of(head: &'a http::request::Parts, body: &'a [u8]) -> Self {
        Self {
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            headers: &head.headers,
            body,
        }
    }
}
