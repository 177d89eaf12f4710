//! A certificate authority of the test's own, and a certificate for each name.

use std::sync::Arc;

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{ServerConfig, crypto::ring, server::ResolvesServerCertUsingSni, sign::CertifiedKey};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

pub(super) struct Authority {
    bundle: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate().context("failed to make a key")?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "Clouds of a test");
        let bundle = params.self_signed(&key).context("failed to make the authority's certificate")?.pem();
        Ok(Self { bundle, issuer: Issuer::new(params, key) })
    }

    pub(super) fn bundle(&self) -> String {
        self.bundle.clone()
    }

    /// An acceptor for connections that name one of these hosts; others get no certificate. It offers what the clouds do: h2 and
    /// http/1.1.
    pub(super) fn acceptor(&self, hosts: impl Iterator<Item = &'static str>) -> anyhow::Result<TlsAcceptor> {
        let mut certificates = ResolvesServerCertUsingSni::new();
        for host in hosts {
            // Those at an address have none: nobody speaks TLS there.
            if host.parse::<std::net::IpAddr>().is_ok() {
                continue;
            }
            let key = KeyPair::generate().context("failed to make a key")?;
            let params = CertificateParams::new(vec![host.to_owned()]).context("not a host")?;
            let certificate = params.signed_by(&key, &self.issuer).context("failed to sign a certificate")?;
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let key = ring::sign::any_supported_type(&key).context("failed to use the key")?;
            let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
            certificates.add(host, certified).with_context(|| format!("failed to add {host}"))?;
        }
        // The process's default is not ours to set: a test may set its own.
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("failed to choose the TLS versions")?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
