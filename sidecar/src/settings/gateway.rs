//! Settings of a gateway: of a sidecar that serves many namespaces, and others than the pod's own.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::bail;
use clap::Args;
use ipnet::IpNet;

use crate::{client_address::network, server::tls::CertificateFiles};
use vectoll_upstream::provider::egress_policy::EgressPolicy;

/// Settings of a gateway.
#[derive(Clone, Debug, Args)]
pub struct GatewaySettings {
    /// Serves the keys of many namespaces: the config folder has one folder for each of them. Each key's calls go by its own namespace's
    /// config. Addresses beyond loopback are served with TLS
    #[arg(long, env = "VECTOLL_GATEWAY")]
    pub gateway: bool,

    /// The file of the certificate that addresses are served with, and of those that it was issued by, in PEM. It is read again when it
    /// changes
    #[arg(long, env = "VECTOLL_TLS_CERT", value_name = "FILE", requires_all = ["gateway", "tls_key"])]
    pub tls_cert: Option<PathBuf>,

    /// The file of the certificate's key, in PEM
    #[arg(long, env = "VECTOLL_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Serves addresses beyond loopback without TLS: where something before the gateway ends it, as an ingress or a mesh
    #[arg(long, env = "VECTOLL_PLAINTEXT", requires = "gateway", conflicts_with = "tls_cert")]
    pub plaintext: bool,

    /// Networks of proxies that are believed whom they call for (X-Forwarded-For), separated by commas; by default none
    #[arg(long, env = "VECTOLL_TRUSTED_PROXIES", value_name = "NETWORKS", value_delimiter = ',', value_parser = network, requires = "gateway")]
    pub trusted_proxies: Vec<IpNet>,

    /// The most connections of callers; by default as many as there are files that may be open, up to 8192. One address gets half of them
    #[arg(long, env = "VECTOLL_MAX_CONNECTIONS", value_name = "NUMBER", requires = "gateway", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub max_connections: Option<usize>,

    /// Seconds that a connection of a caller is used for further calls, give or take a tenth: then it is made anew, maybe to a replica that
    /// has come since
    #[arg(long, env = "VECTOLL_MAX_CONNECTION_AGE_SECONDS", value_name = "SECONDS", requires = "gateway", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_connection_age_seconds: u64,

    /// The most bytes that vectors take which are kept for the routes of all namespaces, whatever these routes say
    #[arg(long, env = "VECTOLL_MAX_CACHE_BYTES", value_name = "BYTES", requires = "gateway", default_value_t = 64 * 1024 * 1024)]
    pub max_cache_bytes: u64,

    /// The address for probes alone, which may be reached from outside the pod. /metrics is on the admin listener only
    #[arg(long, env = "VECTOLL_PROBE_LISTEN", value_name = "ADDRESS", requires = "gateway")]
    pub probe_listen: Option<SocketAddr>,

    /// Lets routes name providers on this machine's loopback addresses: where those who write routes are those whose machine it is
    #[arg(long, env = "VECTOLL_LOOPBACK_PROVIDERS", requires = "gateway")]
    pub loopback_providers: bool,
}

impl GatewaySettings {
    /// Whom routes may name.
    pub fn reach(&self) -> EgressPolicy {
        if self.loopback_providers { EgressPolicy::Providers } else { EgressPolicy::Tenants }
    }

    /// How long a connection is used for further calls; none: it is a pod's own.
    pub fn max_connection_age(&self) -> Option<Duration> {
        self.gateway.then_some(Duration::from_secs(self.max_connection_age_seconds))
    }

    /// The certificate.
    pub fn certificate(&self) -> Option<CertificateFiles> {
        let (certificate, key) = self.tls_cert.clone().zip(self.tls_key.clone())?;
        Some(CertificateFiles { certificate, key })
    }

    /// Keys go over no network that others may listen to.
    pub(super) fn must_be_safe(&self, listen: &[SocketAddr]) -> anyhow::Result<()> {
        let beyond = listen.iter().find(|address| !address.ip().to_canonical().is_loopback());
        match beyond {
            Some(address) if self.tls_cert.is_none() && !self.plaintext => bail!(
                "a gateway does not listen on {address} without TLS: set --tls-cert and --tls-key, or --plaintext where something before \
                 it ends TLS"
            ),
            Some(_) | None => Ok(()),
        }
    }
}
