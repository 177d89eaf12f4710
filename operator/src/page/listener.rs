//! Connections of the page: bounded in number, and none is waited for without end.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

/// How long a client may take for a request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may stand.
const MAX_CONNECTION_AGE: Duration = Duration::from_mins(10);
/// Connections at a time: a browser opens up to six.
const MAX_CONNECTIONS: usize = 256;
/// How long answers under way get to be sent.
const DRAIN: Duration = Duration::from_secs(5);
/// After a failure, most likely of too many files that are open.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` is true or its sender is gone.
pub(crate) async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Dropped at the end, and all that runs in it with it.
    let mut connections = JoinSet::new();
    while let Some(stream) = accept(&listener, &mut stop).await {
        // One beyond the number is closed at once.
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            connection(stream, router, stop).await;
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let _ = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
}

/// The next connection; none: it is time to stop.
async fn accept(listener: &TcpListener, stop: &mut watch::Receiver<bool>) -> Option<TcpStream> {
    loop {
        let accepted: io::Result<_> = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(stop) => return None,
        };
        match accepted {
            Ok((stream, _)) => return Some(stream),
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection to the page");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = std::pin::pin!(served);
    // Clients hang up in many ways; none of them is our error.
    tokio::select! {
        _ = served.as_mut() => return,
        () = stopped(&mut stop) => {}
        () = tokio::time::sleep(MAX_CONNECTION_AGE) => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = timeout(DRAIN, served).await;
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could stop us is gone: stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
