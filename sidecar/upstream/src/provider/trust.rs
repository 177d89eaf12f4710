//! Whose certificates are trusted.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::ConfigVerifierExt;

use crate::credential::keyring::Fingerprint;

/// How servers are spoken to over TLS, and by whom their certificates must be signed. A handle.
#[derive(Clone)]
pub struct Trust {
    pub(super) tls: Arc<ClientConfig>,
    /// Which CAs; none: the well-known ones.
    pub(super) cas: Option<Fingerprint>,
}

/// Why CAs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not PEM.
    #[error("it is not PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// Not a certificate.
    #[error("it holds what is no certificate of a CA: {0}")]
    Certificate(#[from] rustls::Error),
    /// Nothing.
    #[error("it has no certificate")]
    Empty,
}

impl Trust {
    /// In the CAs that the system knows.
    pub fn well_known() -> Result<Self, rustls::Error> {
        Ok(Self { tls: spoken(ClientConfig::with_platform_verifier()?), cas: None })
    }

    /// In the CAs of a PEM file and in no others.
    pub fn only(pem: &[u8]) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate?)?;
        }
        if roots.is_empty() {
            return Err(TrustError::Empty);
        }
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: spoken(tls), cas: Some(Fingerprint::of([pem])) })
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trust").field(&self.cas).finish()
    }
}

fn spoken(mut tls: ClientConfig) -> Arc<ClientConfig> {
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(tls)
}

/// A certificate that is not trusted. It has no source: this is the innermost reason.
#[derive(Debug, thiserror::Error)]
#[error("its certificate is not trusted ({reason}): {cure}")]
pub(super) struct Untrusted {
    reason: String,
    cure: &'static str,
}

impl Untrusted {
    /// What is wrong with it.
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }
}

/// What a failed handshake says: of a certificate that is not trusted, what cures it.
pub(super) fn explained(error: std::io::Error, trust: &Trust) -> Box<dyn std::error::Error + Send + Sync> {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            let reason = reason.to_string();
            // As `openssl req -x509` makes them, unless it is told otherwise.
            let cure = if reason.contains("CaUsedAsEndEntity") {
                "it is a CA's own (CA:TRUE): give the server one that a CA has signed, or one with CA:FALSE, and name its signer in the \
                 backend's caSecretRef"
            } else if trust.cas.is_some() {
                "the CAs in the backend's caSecretRef have not signed it for this host"
            } else {
                "name the CA that has signed it in the backend's caSecretRef"
            };
            Box::new(Untrusted { reason, cure })
        }
        Some(_) | None => error.into(),
    }
}
