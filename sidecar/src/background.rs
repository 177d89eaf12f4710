//! Work that nobody waits for, until the end.

use std::{future::poll_fn, pin::pin, task::Poll};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A set of tasks. A handle: clones add to the same set.
#[derive(Clone, Debug, Default)]
pub struct Background {
    tasks: TaskTracker,
    end: CancellationToken,
}

impl Background {
    /// Runs a future until it is done or [`Background::end`] drops it.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let end = self.end.clone();
        self.tasks.spawn(async move {
            let (mut ended, mut work) = (pin!(end.cancelled()), pin!(work));
            let mut is_polled = false;
            poll_fn(|cx| {
                // Polled once, the end wakes the task when it comes. Before that there is no need to poll it again.
                if !is_polled || end.is_cancelled() {
                    is_polled = true;
                    if ended.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(());
                    }
                }
                work.as_mut().poll(cx)
            })
            .await;
        });
    }

    /// Waits until all work is done, also what is begun meanwhile.
    pub async fn done(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Drops all work that is not done, and what is begun from now on.
    pub fn end(&self) {
        self.end.cancel();
    }
}
