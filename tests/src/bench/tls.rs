//! What a provider behind https, or a gateway, shows, and what those who call it trust.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::CryptoProvider};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The name in the certificate, for those who do not verify addresses.
pub const NAME: &str = "localhost";

/// The protocols that TLS chooses from, by their registered names (ALPN).
pub const HTTP1: &[u8] = b"http/1.1";
/// The same of HTTP/2.
pub const HTTP2: &[u8] = b"h2";

/// Where a certificate and its key are.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A certificate for 127.0.0.1 and [`NAME`] that is its own authority, with its key; both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).context("failed to read the private key")?;
        let mut config = ServerConfig::builder_with_provider(cryptography())
            .with_safe_default_protocol_versions()
            .context("failed to choose the TLS versions")?
            .with_no_client_auth()
            .with_single_cert(self.chain()?, key)
            .context("failed to use the certificate with its key")?;
        config.alpn_protocols = vec![HTTP1.to_vec()];
        Ok(Arc::new(config))
    }

    /// The side of a client that trusts this certificate and nobody else, for one protocol.
    pub fn client(&self, protocol: &[u8]) -> anyhow::Result<Arc<ClientConfig>> {
        let mut trusted = RootCertStore::empty();
        for certificate in self.chain()? {
            trusted.add(certificate).context("failed to trust the certificate")?;
        }
        let mut config = ClientConfig::builder_with_provider(cryptography())
            .with_safe_default_protocol_versions()
            .context("failed to choose the TLS versions")?
            .with_root_certificates(trusted)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }

    /// Writes it and its key to a folder.
    pub fn write(&self, folder: &Path) -> anyhow::Result<CertificateFiles> {
        let write = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
            anyhow::Ok(file)
        };
        Ok(CertificateFiles { certificate: write("tls.crt", &self.certificate)?, key: write("tls.key", &self.key)? })
    }

    fn chain(&self) -> anyhow::Result<Vec<CertificateDer<'static>>> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
        chain.context("failed to read the certificate")
    }
}

fn cryptography() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
