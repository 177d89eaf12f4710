//! Connections of the page: bounded in number, and none is waited for without end.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use crate::listening::{serve_each, stopped};

/// How long a client may take for a request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may stand.
const MAX_CONNECTION_AGE: Duration = Duration::from_mins(10);
/// Connections at a time: a browser opens up to six.
const MAX_CONNECTIONS: usize = 256;
/// How long answers under way get to be sent.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until `stop` is true or its sender is gone.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) {
    let each = |stream| connection(stream, router.clone(), stop.clone());
    serve_each(listener, (MAX_CONNECTIONS, DRAIN), stop.clone(), each).await;
}

async fn connection(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
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
