//! Connections to a listener: bounded in number, and none is waited for without end.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

/// After a failure, most likely of too many files that are open.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves each connection by `serve` until `stop` is true or its sender is gone; then takes no more, and waits for those that stand for as
/// long as `drain`. One beyond `max` is closed at once: clients try again, and nobody can use up the memory.
pub(crate) async fn serve_each<F>(
    listener: TcpListener,
    (max, drain): (usize, Duration),
    mut stop: watch::Receiver<bool>,
    serve: impl Fn(TcpStream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(max));
    // Dropped at the end, and all that runs in it with it.
    let mut connections = JoinSet::new();
    while let Some(stream) = accept(&listener, &mut stop).await {
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let _ = stream.set_nodelay(true);
        let served = serve(stream);
        connections.spawn(async move {
            served.await;
            drop(place);
        });
        // Those that have ended are forgotten here: nobody waits for them.
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let _ = timeout(drain, async { while connections.join_next().await.is_some() {} }).await;
}

/// Waits until it is time to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could stop us is gone: stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
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
                let address = listener.local_addr().ok();
                tracing::warn!(%error, ?address, "failed to accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
