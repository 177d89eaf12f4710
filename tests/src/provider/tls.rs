//! https with what `OpenAI` offers by ALPN: h2 and http/1.1.

use std::sync::Arc;

use anyhow::Context;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// An acceptor for this certificate chain and key, both PEM.
pub(super) fn acceptor(cert: &str, key: &str) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(cert.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .context("failed to read the certificate chain")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("failed to read the private key")?;
    // The process's default is not ours to set: a test may set its own.
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("failed to choose the TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("failed to use the certificate with its key")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
