//! The end of what listens.

use tokio::sync::watch;

/// Waits until it is time to stop.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could stop us is gone: stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
