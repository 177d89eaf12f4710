//! The way to a server through a proxy: a tunnel (`CONNECT`, RFC 9110, section 9.3.6) for TLS, and absolute URIs without (RFC 9112,
//! section 3.2.2).

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::super::{dns::Resolver, egress::EgressProxy, egress_policy::Unreachable, user_agent::USER_AGENT};

/// The longest head of a proxy's answer, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// A proxy, and who judges what it is asked for.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) proxy: EgressProxy,
    pub(super) names: Resolver,
}

/// Why a proxy leads nowhere. None has a source: each is the innermost reason that a caller is told.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    #[error("the proxy {proxy} is not reached: {reason}")]
    Unreached { proxy: String, reason: String },
    #[error(
        "the proxy {proxy} refuses its credentials (407): set them in HTTPS_PROXY, as http://USER:PASSWORD@HOST:PORT"
    )]
    Credentials { proxy: String },
    #[error("the proxy {proxy} does not connect to {to}: it answers {status}")]
    Refused { proxy: String, to: String, status: String },
    #[error("the proxy {proxy} does not answer as one")]
    NotOne { proxy: String },
}

impl Route {
    /// Refuses a server that must not be called. A proxy would look its name up by itself.
    pub(super) async fn check(&self, server: &Uri) -> Result<(), Unreachable> {
        self.names.check(server.host().unwrap_or_default()).await
    }

    /// A connection to the proxy did not come about.
    pub(super) fn unreached(&self, error: &(dyn std::error::Error + 'static)) -> TunnelError {
        let innermost = std::iter::successors(Some(error), |error| error.source()).last();
        let reason = innermost.map(ToString::to_string).unwrap_or_default();
        TunnelError::Unreached { proxy: self.proxy.to_string(), reason }
    }

    /// Has the proxy connect a stream to a server.
    pub(super) async fn connect(&self, stream: &mut TcpStream, server: &Uri) -> Result<(), TunnelError> {
        let proxy = || self.proxy.to_string();
        let unreached = |error: std::io::Error| self.unreached(&error);
        let (host, port) = (server.host().unwrap_or_default(), server.port_u16().unwrap_or(443));
        let to = format!("{host}:{port}");
        let mut head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: {USER_AGENT}\r\n").into_bytes();
        if let Some(authorization) = &self.proxy.authorization {
            head.extend([b"Proxy-Authorization: ", authorization.as_bytes(), b"\r\n"].concat());
        }
        head.extend(b"\r\n");
        stream.write_all(&head).await.map_err(unreached)?;
        let mut answer = Vec::new();
        // The server says nothing before it is spoken to: what comes is the proxy's head and nothing behind it.
        while !answer.ends_with(b"\r\n\r\n") {
            let read = stream.read_buf(&mut answer).await.map_err(unreached)?;
            if read == 0 || answer.len() > MAX_HEAD {
                return Err(TunnelError::NotOne { proxy: proxy() });
            }
            if !answer.starts_with(b"HTTP/1.".get(..answer.len().min(7)).unwrap_or_default()) {
                return Err(TunnelError::NotOne { proxy: proxy() });
            }
            // A refusal may have a body.
            if let Some(status) = refusal(&answer) {
                return Err(match status.as_str() {
                    status if status.starts_with("407") => TunnelError::Credentials { proxy: proxy() },
                    _ => TunnelError::Refused { proxy: proxy(), to, status },
                });
            }
        }
        Ok(())
    }

    /// A request for a server without TLS, as the proxy reads it.
    pub(super) fn absolute(&self, mut request: Request<Full<Bytes>>, server: &Uri) -> Request<Full<Bytes>> {
        let mut parts = server.clone().into_parts();
        parts.path_and_query = request.uri().path_and_query().cloned();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        if let Some(authorization) = &self.proxy.authorization {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        request
    }
}

/// The status of an answer that is no success, once its first line is there.
fn refusal(answer: &[u8]) -> Option<String> {
    let end = answer.windows(2).position(|two| two == b"\r\n")?;
    let line = String::from_utf8_lossy(answer.get(..end)?).into_owned();
    let status = line.split_once(' ').map(|(_, status)| status.trim()).unwrap_or_default();
    (!status.starts_with('2')).then(|| status.chars().take(100).collect())
}
