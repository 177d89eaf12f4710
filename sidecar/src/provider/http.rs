//! The HTTP clients for all providers. Their connections outlive reloads.
//!
//! None follows a redirect, which would carry the inputs to a host that nobody configured, or knows a proxy from the
//! environment, which would see every input.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::sync::Semaphore;

use super::{dns::Resolver, pool::HttpPool, reach::Reach};
use crate::descriptors;

pub use super::pool::Error;
/// A response's body.
pub use hyper::body::Incoming as Body;

/// Name of this program, for providers.
pub const USER_AGENT: &str = concat!("vectoll/", env!("CARGO_PKG_VERSION"));

/// The clients. A handle: clones share the connections.
#[derive(Clone, Debug)]
pub struct Clients {
    /// For providers.
    pub providers: HttpPool,
    /// For the machine's own servers, which the others do not reach. Its connections are its own: a provider gets none of them.
    pub machine: HttpPool,
}

impl Clients {
    /// New clients.
    pub fn new() -> Result<Self, rustls::Error> {
        let mut tls = ClientConfig::with_platform_verifier()?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (names, tls) = (Resolver::new(Reach::Providers), Arc::new(tls));
        let places = Arc::new(Semaphore::new(descriptors::share()));
        let machine = HttpPool::new(names.with(Reach::Machine), tls.clone(), places.clone());
        Ok(Self { providers: HttpPool::new(names, tls, places), machine })
    }
}
