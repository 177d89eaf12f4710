//! What a provider behind https shows, and what those who call it trust.

use std::sync::Arc;

use anyhow::Context;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The name in the certificate, for those who do not verify addresses.
pub const NAME: &str = "localhost";

/// A certificate for 127.0.0.1 and [`NAME`] that is its own authority, with its key; both PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    key: String,
}

impl Certificate {
    /// Makes one.
    pub fn generate() -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1", NAME].map(str::to_owned));
        let rcgen::CertifiedKey { cert, signing_key } = made.context("failed to make a certificate")?;
        Ok(Self { certificate: cert.pem(), key: signing_key.serialize_pem() })
    }

    /// A server's side of TLS, for HTTP/1.1: both proxies speak it to the responder.
    pub fn server(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).context("failed to read the private key")?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("failed to choose the TLS versions")?
            .with_no_client_auth()
            .with_single_cert(chain.context("failed to read the certificate")?, key)
            .context("failed to use the certificate with its key")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
