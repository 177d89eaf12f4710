//! The HTTP clients: for providers, and for those who issue what providers are called with. Their connections outlive reloads.
//!
//! None follows a redirect, which would carry the inputs to a host that nobody configured. A proxy is asked only where this program's
//! settings name one, and never for the machine's own servers.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::sync::Semaphore;

use super::{
    dns::Resolver,
    egress::Egress,
    egress_policy::EgressPolicy,
    pool::{CONNECT_TIMEOUT, HttpPool, IDLE_TIMEOUT},
    trust::Trust,
};
use crate::descriptors;

pub use super::{pool::Error, user_agent::USER_AGENT};
/// A response's body.
pub use hyper::body::Incoming as Body;

/// The clients. A handle: clones share the connections.
#[derive(Clone, Debug)]
pub struct Clients {
    /// For providers: one that knows what became of a request on a connection that broke.
    pub providers: HttpPool,
    /// For the gateway, which no proxy is asked for.
    pub gateways: HttpPool,
    /// For those who issue credentials.
    pub issuers: reqwest::Client,
    /// For the machine's own servers, which the others do not reach. Its connections are its own: an issuer gets none of them.
    pub machine: reqwest::Client,
    /// Through what they leave.
    pub(super) egress: Egress,
    /// Who judges the names that a proxy is asked for.
    pub(super) names: Resolver,
}

/// Why there are no clients.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The system's certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The clients for issuers.
    #[error(transparent)]
    Issuers(#[from] reqwest::Error),
}

impl Clients {
    /// New clients.
    pub fn new(egress: Egress) -> Result<Self, SetupError> {
        Self::reaching(EgressPolicy::Providers, egress)
    }

    /// The same, which call providers by this policy.
    pub fn reaching(providers: EgressPolicy, egress: Egress) -> Result<Self, SetupError> {
        let trust = Trust::well_known()?;
        let names = Resolver::new(providers);
        let issuers = through(asking(names.clone(), &trust.tls), &egress).build()?;
        let machine = asking(names.with(EgressPolicy::Machine), &trust.tls).build()?;
        let places = Arc::new(Semaphore::new(descriptors::share()));
        let gateways = HttpPool::new(names.clone(), trust.clone(), places.clone());
        let providers = HttpPool::new(names.clone(), trust, places).through(egress.clone());
        Ok(Self { providers, gateways, issuers, machine, egress, names })
    }
}

/// A client for a server that this program's own settings name, wherever that is, as of the collector of its telemetry.
pub fn named_by_settings(egress: &Egress) -> Result<reqwest::Client, SetupError> {
    let trust = Trust::well_known()?;
    Ok(through(asking(Resolver::new(EgressPolicy::Machine), &trust.tls), egress).build()?)
}

fn through(client: reqwest::ClientBuilder, egress: &Egress) -> reqwest::ClientBuilder {
    if egress.is_none() {
        return client;
    }
    let egress = egress.clone();
    client.proxy(reqwest::Proxy::custom(move |url| egress.url_of(url)))
}

/// A client that asks now and then. The certificates of the system are in memory once.
fn asking(names: Resolver, tls: &ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .dns_resolver(names)
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(1)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use bytes::Bytes;
    use http::Request;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn issuers_are_asked_through_the_proxy_and_the_machine_never_is() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://user:pass@{}", listener.local_addr().unwrap());
        let seen = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut read).await.unwrap();
            }
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            String::from_utf8(read).unwrap()
        });
        let clients = Clients::new(Egress::new(Some(&proxy), Some(&proxy), None).unwrap()).unwrap();
        let ask = |reach: EgressPolicy, url: &str| {
            let request = Request::post(url).body(Bytes::from_static(b"{}")).unwrap();
            let clients = clients.clone();
            async move { clients.ask(reach, request).await }
        };
        // Nobody has this name: the machine's client looks it up and leaves it at that.
        assert!(ask(EgressPolicy::Machine, "http://metadata.invalid/token").await.is_err());
        assert!(!seen.is_finished());
        // What must not be called is not asked of a proxy either.
        assert!(ask(EgressPolicy::Providers, "https://169.254.169.254/token").await.is_err());
        assert!(!seen.is_finished());
        assert!(ask(EgressPolicy::Providers, "https://issuer.invalid/token").await.is_err());
        let head = seen.await.unwrap();
        assert!(head.starts_with("CONNECT issuer.invalid:443 HTTP/1.1\r\n"), "{head}");
        assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz\r\n"), "{head}");
    }
}
