//! Work that goes on when nobody waits for it any more.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use crate::background::Background;

/// Runs with whoever polls it. Dropped before its end, it is finished as a task of its own: a caller that hangs up does
/// not keep us from learning what the provider charges.
pub struct DetachOnDrop<F: Future<Output: Send> + Send + 'static> {
    work: Option<Pin<Box<F>>>,
    tasks: Background,
    left: Arc<AtomicBool>,
}

impl<F: Future<Output: Send> + Send + 'static> DetachOnDrop<F> {
    /// Wraps a future; `tasks` takes it over if need be, and `left` is set then.
    pub fn new(work: F, tasks: Background, left: Arc<AtomicBool>) -> Self {
        Self { work: Some(Box::pin(work)), tasks, left }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for DetachOnDrop<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = self.work.as_mut() else { return Poll::Pending };
        let done = std::task::ready!(work.as_mut().poll(cx));
        self.work = None;
        Poll::Ready(done)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for DetachOnDrop<F> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.left.store(true, Ordering::Relaxed);
            self.tasks.spawn(async move {
                drop(work.await);
            });
        }
    }
}
