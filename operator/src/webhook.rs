//! The mutating webhook: HTTPS for the API server, which asks for every pod that is labelled for injection.
//!
//! [`serve`] answers on `POST /mutate-pods`, and `/mutate-pods-of-namespace`, with what [`inject`](crate::inject::inject) says. It keeps nothing and changes
//! nothing but its counters, so a dry run is like any other call.

pub mod certificate;
mod layers;
mod metrics;
mod namespaces;
mod review;
mod tls;

use std::{sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls::sign::CertifiedKey;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

pub use layers::{NAMESPACE_PATH, PATH};
pub use metrics::Metrics;
pub use namespaces::{FetchAnnotations, NamespaceAnnotations};

use crate::{
    inject::InjectionSettings,
    listening::{serve_each, stopped},
};

/// How long a client may take for a TLS handshake or for a request's headers.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at a time: an API server needs one or two, and there are a few of them.
const CONNECTIONS: usize = 512;
/// How long a new certificate waits for the API servers to have heard of its CA.
const CA_PROPAGATION: Duration = Duration::from_secs(10);
/// How long calls under way get to finish.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `stop` is true (or its sender is gone); then takes no more connections, lets calls under way finish
/// within ten seconds, and returns.
///
/// `certificate` is what clients are shown: see [`certificate::read`]. Until there is one, handshakes fail and the API
/// server tries again. The first is shown at once; a later one after ten seconds, in which the API servers hear of its
/// CA, and without an end to connections that stand. `settings` are for as long as this runs; `namespaces` are what is known at the
/// time of each call.
pub async fn serve(
    listener: TcpListener,
    settings: Arc<InjectionSettings>,
    namespaces: NamespaceAnnotations,
    certificate: watch::Receiver<Option<Arc<CertifiedKey>>>,
    metrics: Metrics,
    stop: watch::Receiver<bool>,
) -> Result<(), rustls::Error> {
    serve_after(CA_PROPAGATION, listener, settings, namespaces, certificate, metrics, stop).await
}

async fn serve_after(
    announcement: Duration,
    listener: TcpListener,
    settings: Arc<InjectionSettings>,
    namespaces: NamespaceAnnotations,
    certificate: watch::Receiver<Option<Arc<CertifiedKey>>>,
    metrics: Metrics,
    stop: watch::Receiver<bool>,
) -> Result<(), rustls::Error> {
    let shown = tls::Shown::default();
    let acceptor = TlsAcceptor::from(Arc::new(tls::config(shown.clone())?));
    let router = layers::router(settings, namespaces, metrics);
    // Ends when it is dropped.
    let mut following = JoinSet::new();
    following.spawn(tls::follow(certificate, shown, announcement));
    let each = |stream| connection(stream, acceptor.clone(), router.clone(), stop.clone());
    serve_each(listener, (CONNECTIONS, DRAIN), stop.clone(), each).await;
    Ok(())
}

/// One connection from its handshake to its end.
async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: axum::Router, mut stop: watch::Receiver<bool>) {
    let accepted = tokio::select! {
        accepted = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => accepted,
        () = stopped(&mut stop) => return,
    };
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            return;
        }
        Err(_) => return,
    };
    // By what was agreed on: to guess the protocol from the first bytes would be to wait for them without end.
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder =
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        .keep_alive_interval(HANDSHAKE_TIMEOUT)
        .keep_alive_timeout(HANDSHAKE_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    // Clients hang up in many ways; none of them is our error.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stopped(&mut stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests;
