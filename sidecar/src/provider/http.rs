//! The HTTP clients for all providers. Their connections outlive reloads.
//!
//! None follows a redirect, which would carry the inputs to a host that nobody configured, or knows a proxy from the
//! environment, which would see every input.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    dns::Resolver,
    plain::{self, Plain},
    reach::Reach,
};

/// Name of this program, for providers.
pub const USER_AGENT: &str = concat!("vectoll/", env!("CARGO_PKG_VERSION"));
/// How long a connection may take to come about.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next call.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// The clients. A handle: clones share the connections.
#[derive(Clone, Debug)]
pub struct Clients {
    /// For `https:` URLs, with HTTP/2 where the server offers it.
    pub tls: reqwest::Client,
    /// For `http:` URLs.
    pub plain: Plain,
    /// For the machine's own servers, which the others do not reach. Its connections are its own: a provider gets none of them.
    pub machine: Plain,
}

impl Clients {
    /// New clients.
    pub fn new() -> reqwest::Result<Self> {
        let names = Resolver::new(Reach::Providers);
        let tls = reqwest::Client::builder()
            .dns_resolver(names.clone())
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .http2_adaptive_window(true)
            .build()?;
        let machine = Plain::new(names.with(Reach::Machine));
        Ok(Self { tls, plain: Plain::new(names), machine })
    }
}

/// Why a call got no response.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Over TLS.
    #[error(transparent)]
    Tls(#[from] reqwest::Error),
    /// Without.
    #[error(transparent)]
    Plain(#[from] plain::Error),
}

impl Error {
    /// Whether no connection came about: the call was not sent.
    pub fn is_connect(&self) -> bool {
        match self {
            Self::Tls(error) => error.is_connect(),
            Self::Plain(error) => matches!(error, plain::Error::Connect(_)),
        }
    }
}

/// A response's body.
#[derive(Debug)]
pub enum Body {
    /// Over TLS.
    Tls(reqwest::Body),
    /// Without.
    Plain(Incoming),
}

/// The body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Over TLS.
    #[error(transparent)]
    Tls(#[from] reqwest::Error),
    /// Without.
    #[error(transparent)]
    Plain(#[from] hyper::Error),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(match self.get_mut() {
            Self::Tls(body) => ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into)),
            Self::Plain(body) => ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into)),
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Tls(body) => body.is_end_stream(),
            Self::Plain(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Tls(body) => body.size_hint(),
            Self::Plain(body) => body.size_hint(),
        }
    }
}
