//! Names, looked up without a thread of its own for each, and without what must not be called of what they resolve to.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use hickory_resolver::{TokioResolver, config::LookupIpStrategy};
use hyper_util::client::legacy::connect::dns::Name;

use super::egress_policy::{EgressPolicy, Unreachable};

/// How long a name may take that a proxy looks up anyway.
const JUDGE_TIMEOUT: Duration = Duration::from_secs(2);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A resolver by the system's `resolv.conf` and `hosts`, read at the first look-up. A handle: clones share its cache.
#[derive(Clone, Debug)]
pub struct Resolver {
    reach: EgressPolicy,
    names: Arc<OnceLock<TokioResolver>>,
}

impl Resolver {
    /// One that finds who may be called by this reach.
    pub fn new(reach: EgressPolicy) -> Self {
        Self { reach, names: Arc::default() }
    }

    /// Shares the cache of names, but not the reach.
    #[must_use]
    pub fn with(&self, reach: EgressPolicy) -> Self {
        Self { reach, names: Arc::clone(&self.names) }
    }

    /// Who may be called.
    pub fn reach(&self) -> EgressPolicy {
        self.reach
    }

    async fn find(&self, name: &str) -> Result<std::vec::IntoIter<SocketAddr>, BoxError> {
        let found: Vec<IpAddr> = self.get()?.lookup_ip(name).await?.iter().collect();
        let found = self.reach.resolved(name, found)?;
        // The port is the connector's.
        Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)).collect::<Vec<_>>().into_iter())
    }

    /// Refuses a name that a proxy must not be asked for: some of what it resolves to here must not be called, and which of it the
    /// proxy would take nobody knows. A name that is not known here, as where a network resolves no outer names, is the proxy's to
    /// judge; an address was judged as it is written.
    pub async fn check(&self, host: &str) -> Result<(), Unreachable> {
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return Ok(());
        }
        let Ok(names) = self.get() else { return Ok(()) };
        match tokio::time::timeout(JUDGE_TIMEOUT, names.lookup_ip(host)).await {
            Ok(Ok(found)) => self.reach.all_of(host, found.iter()),
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    fn get(&self) -> Result<TokioResolver, BoxError> {
        if let Some(resolver) = self.names.get() {
            return Ok(resolver.clone());
        }
        let mut builder = TokioResolver::builder_tokio()?;
        // Both kinds: which of them works is found out by connecting.
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        let resolver = builder.build()?;
        Ok(self.names.get_or_init(|| resolver).clone())
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
        let resolver = self.clone();
        Box::pin(async move { resolver.find(name.as_str()).await })
    }
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.find(name.as_str()).await?;
            Ok(Box::new(found) as reqwest::dns::Addrs)
        })
    }
}
