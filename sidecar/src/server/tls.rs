//! TLS with a certificate in files, which may be replaced under way.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use prometheus::{IntGauge, Registry};
use rustls::{
    ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// How often the files are read again.
const POLL: Duration = Duration::from_secs(5);

/// The files of a certificate, in PEM.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The chain, the server's own first.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there.
    #[error("failed to read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{path} does not hold {what} in PEM: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
        /// Why it is none.
        source: pem::Error,
    },
    /// They do not fit together, or cannot be used.
    #[error("the certificate in {path} cannot be used with its key: {source}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// TLS cannot be set up at all.
    #[error("failed to set up TLS: {0}")]
    Setup(#[source] rustls::Error),
}

/// The certificate that clients are shown, kept in step with its files.
#[derive(Debug)]
pub struct ServedCertificate {
    files: CertificateFiles,
    shown: Shown,
    /// What the files held that is shown.
    content: [Vec<u8>; 2],
    stale: IntGauge,
    /// The last failure, so that a lasting one is logged once.
    failing: Option<String>,
}

#[derive(Clone, Debug)]
struct Shown(Arc<ArcSwap<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ServedCertificate {
    /// Reads the files. TLS 1.2 and 1.3 by ring, HTTP/2 and HTTP/1.1.
    pub fn load(files: CertificateFiles) -> Result<(Self, Arc<ServerConfig>), TlsError> {
        let content = read(&files)?;
        let shown = Shown(Arc::new(ArcSwap::from_pointee(certified(&files, &content)?)));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let help = "1 while the certificate's files cannot be used and the one that was read before is shown.";
        let stale = IntGauge::new("vectoll_tls_certificate_stale", help)
            .map_err(|error| TlsError::Setup(rustls::Error::General(error.to_string())))?;
        let this = Self { files, shown, content, stale, failing: None };
        Ok((this, Arc::new(config)))
    }

    /// Has Prometheus see it.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.stale.clone()))
    }

    /// Reads the files again and again, for ever: connections that come see what is new, and one that cannot be used changes nothing.
    pub async fn watch(mut self) {
        loop {
            tokio::time::sleep(POLL).await;
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(back) => self = back,
                Err(_) => return,
            }
        }
    }

    fn look(&mut self) {
        let renewed = read(&self.files).and_then(|content| {
            let is_new = content != self.content;
            if is_new {
                self.shown.0.store(Arc::new(certified(&self.files, &content)?));
                self.content = content;
            }
            Ok(is_new)
        });
        match renewed {
            Ok(is_new) => {
                if is_new {
                    tracing::info!(file = %self.files.certificate.display(), "certificate renewed");
                }
                self.failing = None;
                self.stale.set(0);
            }
            Err(error) => {
                let message = error.to_string();
                if self.failing.as_ref() != Some(&message) {
                    tracing::error!(error = message, "certificate refused: the one before it stays");
                    self.failing = Some(message);
                }
                self.stale.set(1);
            }
        }
    }
}

fn read(files: &CertificateFiles) -> Result<[Vec<u8>; 2], TlsError> {
    let of = |path: &Path| std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source });
    Ok([of(&files.certificate)?, of(&files.key)?])
}

fn certified(files: &CertificateFiles, [certificate, key]: &[Vec<u8>; 2]) -> Result<CertifiedKey, TlsError> {
    let not = |path: &Path, what, source| TlsError::Pem { path: path.to_owned(), what, source };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(|error| not(&files.certificate, "a certificate", error))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| not(&files.key, "a private key", error))?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map_err(|source| TlsError::Unusable { path: files.certificate.clone(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn write(folder: &Path, names: [&str; 2], pair: &rcgen::CertifiedKey<rcgen::KeyPair>) -> CertificateFiles {
        let [certificate, key] = names.map(|name| folder.join(name));
        std::fs::write(&certificate, pair.cert.pem()).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        CertificateFiles { certificate, key }
    }

    fn pair() -> rcgen::CertifiedKey<rcgen::KeyPair> {
        rcgen::generate_simple_self_signed(vec!["gateway.example".to_owned()]).unwrap()
    }

    #[test]
    fn a_new_certificate_is_shown_and_one_that_does_not_fit_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (pair(), pair());
        let files = write(folder.path(), ["tls.crt", "tls.key"], &one);
        let (mut served, _) = ServedCertificate::load(files.clone()).unwrap();
        let shown = |served: &ServedCertificate| served.shown.0.load().cert.first().unwrap().to_vec();
        assert_eq!(shown(&served), one.cert.der().to_vec());
        // Half of a renewal: the key is still the old one's.
        std::fs::write(&files.certificate, other.cert.pem()).unwrap();
        served.look();
        assert_eq!((shown(&served), served.stale.get()), (one.cert.der().to_vec(), 1));
        std::fs::write(&files.key, other.signing_key.serialize_pem()).unwrap();
        served.look();
        assert_eq!((shown(&served), served.stale.get()), (other.cert.der().to_vec(), 0));
        std::fs::remove_file(&files.key).unwrap();
        served.look();
        assert_eq!((shown(&served), served.stale.get()), (other.cert.der().to_vec(), 1));
    }

    #[test]
    fn what_is_no_certificate_is_told_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), ["tls.crt", "tls.key"], &pair());
        let swapped = CertificateFiles { certificate: files.key.clone(), key: files.certificate.clone() };
        for (files, expected) in [
            (CertificateFiles { key: folder.path().join("none"), ..files.clone() }, "failed to read"),
            (swapped, "does not hold a certificate in PEM"),
            (
                CertificateFiles { key: files.certificate.clone(), ..files.clone() },
                "does not hold a private key in PEM",
            ),
        ] {
            let error = ServedCertificate::load(files).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
