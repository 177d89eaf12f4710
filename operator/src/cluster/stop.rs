//! The end of the operator's tasks.

use tokio::sync::watch;

/// Waits until it is told to stop, or whoever could tell is gone.
pub(super) async fn cancelled(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
