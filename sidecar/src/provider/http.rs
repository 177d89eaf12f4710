//! The HTTP clients: for providers, and for those who issue what providers are called with. Their connections outlive reloads.
//!
//! None follows a redirect, which would carry the inputs to a host that nobody configured, or knows a proxy from the
//! environment, which would see every input.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::sync::Semaphore;

use super::{
    dns::Resolver,
    pool::{CONNECT_TIMEOUT, HttpPool, IDLE_TIMEOUT},
    reach::Reach,
};
use crate::descriptors;

pub use super::pool::Error;
/// A response's body.
pub use hyper::body::Incoming as Body;

/// Name of this program, for providers.
pub const USER_AGENT: &str = concat!("vectoll/", env!("CARGO_PKG_VERSION"));

/// The clients. A handle: clones share the connections.
#[derive(Clone, Debug)]
pub struct Clients {
    /// For providers: one that knows what became of a request on a connection that broke.
    pub providers: HttpPool,
    /// For those who issue credentials.
    pub issuers: reqwest::Client,
    /// For the machine's own servers, which the others do not reach. Its connections are its own: an issuer gets none of them.
    pub machine: reqwest::Client,
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
    pub fn new() -> Result<Self, SetupError> {
        let mut tls = ClientConfig::with_platform_verifier()?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let names = Resolver::new(Reach::Providers);
        let issuers = asking(names.clone(), &tls).build()?;
        let machine = asking(names.with(Reach::Machine), &tls).build()?;
        let places = Arc::new(Semaphore::new(descriptors::share()));
        Ok(Self { providers: HttpPool::new(names, Arc::new(tls), places), issuers, machine })
    }
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
