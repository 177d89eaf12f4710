//! The clouds at their own names, in a network of the test's own: those who issue credentials, and the providers that take them.
//!
//! Operator and sidecar are as users run them: the config says `oauth2.googleapis.com` and `169.254.169.254`, and that is whom they
//! find. [`namespace`] makes the network, in which `/etc/hosts` leads the names to loopback; [`Clouds`] speaks https with a
//! certificate for each name. An issuer is a [`Desk`]: one file a cloud, each written from its own reference.

mod authority;
pub mod aws;
mod desk;
pub mod entra;
pub mod google;
pub mod ibm;
mod names;
pub mod namespace;
pub mod openai;
mod server;
mod shared;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use tokio::{net::TcpListener, task::JoinHandle};

pub use desk::Desk;

use crate::native::{Account, Api, state::State};
use authority::Authority;
use shared::{Host, Shared};

/// The link-local address of a machine's metadata.
pub const METADATA: [u8; 4] = [169, 254, 169, 254];
/// That of EKS Pod Identity's agent.
pub const AGENT: [u8; 4] = [169, 254, 170, 23];

/// The clouds. Dropping them closes all.
pub struct Clouds {
    shared: Arc<Shared>,
    bundle: String,
    running: Vec<JoinHandle<()>>,
}

impl Clouds {
    /// Starts them, in a [`namespace`]. Issuers of the machine's own listen at their addresses, all others at `127.0.0.1:443`.
    pub async fn start(
        providers: Vec<(&'static str, Box<dyn Api>)>,
        issuers: Vec<Box<dyn Desk>>,
    ) -> anyhow::Result<Self> {
        let providers = providers.into_iter().map(|(host, api)| (host, Host::Provider(Arc::new(State::new(api)))));
        let issuers = issuers.into_iter().map(|desk| (desk.host(), Host::Issuer(desk.into())));
        let hosts: BTreeMap<_, _> = providers.chain(issuers).collect();
        let authority = Authority::new()?;
        let acceptor = authority.acceptor(hosts.keys().copied())?;
        let shared = Arc::new(Shared { hosts, inner: Mutex::default() });
        let mut running = vec![tokio::spawn(names::nothing(names::listen().await?))];
        let mut addresses = vec![(SocketAddr::from(([127, 0, 0, 1], 443)), Some(acceptor.clone()))];
        // Whoever comes here over TLS has lost the way, and is to be seen doing so.
        addresses.push((SocketAddr::from((METADATA, 443)), Some(acceptor)));
        addresses.extend([METADATA, AGENT].map(|address| (SocketAddr::from((address, 80)), None)));
        for (address, acceptor) in addresses {
            let listener =
                TcpListener::bind(address).await.with_context(|| format!("failed to listen at {address}"))?;
            running.push(tokio::spawn(server::run(listener, acceptor, shared.clone())));
        }
        Ok(Self { shared, bundle: authority.bundle(), running })
    }

    /// The certificate that programs have to trust, as PEM.
    pub fn bundle(&self) -> &str {
        &self.bundle
    }

    /// The account of the provider at a name since the last time.
    pub fn account(&self, host: &str) -> Account {
        match self.shared.hosts.get(host) {
            Some(Host::Provider(state)) => state.take(),
            Some(Host::Issuer(_)) | None => Account::default(),
        }
    }

    /// How many questions the issuer at a name was asked.
    pub fn asked(&self, host: &str) -> u64 {
        self.shared.inner().asked.get(host).copied().unwrap_or_default()
    }

    /// How long issuers think from now on.
    pub fn think(&self, latency: Duration) {
        self.shared.inner().latency = latency;
    }

    /// What went wrong anywhere, since the last time. Nothing must.
    pub fn violations(&self) -> Vec<String> {
        let mut all = std::mem::take(&mut self.shared.inner().violations);
        for (host, it) in &self.shared.hosts {
            if let Host::Provider(state) = it {
                let violations = state.take().violations;
                all.extend(violations.into_iter().map(|violation| format!("{host}: {violation}")));
            }
        }
        all
    }
}

impl Drop for Clouds {
    fn drop(&mut self) {
        for running in &self.running {
            running.abort();
        }
    }
}

impl std::fmt::Debug for Clouds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clouds").finish_non_exhaustive()
    }
}
