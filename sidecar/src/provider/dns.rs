//! Names of providers, looked up without a thread of its own for each.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use hickory_resolver::{TokioResolver, config::LookupIpStrategy};
use hyper_util::client::legacy::connect::dns::Name;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A resolver by the system's `resolv.conf` and `hosts`, read at the first look-up. A handle: clones share its cache.
#[derive(Clone, Debug, Default)]
pub struct Resolver(Arc<OnceLock<TokioResolver>>);

impl Resolver {
    fn get(&self) -> Result<TokioResolver, BoxError> {
        if let Some(resolver) = self.0.get() {
            return Ok(resolver.clone());
        }
        let mut builder = TokioResolver::builder_tokio()?;
        // Both kinds: which of them works is found out by connecting.
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        let resolver = builder.build()?;
        Ok(self.0.get_or_init(|| resolver).clone())
    }
}

impl tower_service::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.get();
        Box::pin(async move {
            let found = resolver?.lookup_ip(name.as_str()).await?;
            // The port is the connector's.
            Ok(found.iter().map(|address| SocketAddr::new(address, 0)).collect::<Vec<_>>().into_iter())
        })
    }
}
