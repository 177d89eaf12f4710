//! TLS with a certificate that changes under way.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::sync::watch;

/// The certificate that clients are shown; none: handshakes fail.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown(Arc<ArcSwapOption<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// TLS 1.2 and 1.3 by ring, HTTP/2 and HTTP/1.1.
pub(super) fn config(shown: Shown) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Shows each certificate that comes: the first at once, a later one when its CA was announced. Returns when no more
/// can come.
pub(super) async fn follow(
    mut certificates: watch::Receiver<Option<Arc<CertifiedKey>>>,
    Shown(shown): Shown,
    announcement: Duration,
) {
    loop {
        let next = certificates.borrow_and_update().clone();
        // None is no reason to stop showing what there is.
        if let Some(next) = next {
            let known = shown.load_full();
            if known.is_some_and(|known| known.cert != next.cert) {
                tokio::time::sleep(announcement).await;
            }
            // What has come meanwhile is newer, and has its own turn.
            shown.store(Some(next));
        }
        if certificates.changed().await.is_err() {
            return;
        }
    }
}
