//! Calls on a connection that others share, and what it says of the connection that one of them gets no answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A call on a connection that others share. Dropped without an answer, while no other one was answered either, nobody else is to be sent
/// there: who never answers is not asked again. Calls that are under way there go on.
pub(super) struct Unanswered<F: Fn()> {
    /// How many calls the connection has answered, and how many it had before this one; none: it is known what became of this one.
    answers: Option<(Arc<AtomicU64>, u64)>,
    since: Instant,
    patience: Duration,
    /// Sees to it that nobody else is sent there.
    retire: F,
}

impl<F: Fn()> Unanswered<F> {
    /// For a call that is about to be sent. Dropped within `patience`, it says nothing of the connection.
    pub(super) fn new(answers: Arc<AtomicU64>, patience: Duration, retire: F) -> Self {
        let so_far = answers.load(Ordering::Relaxed);
        Self { answers: Some((answers, so_far)), since: Instant::now(), patience, retire }
    }

    /// It was answered, or it failed: then the connection is not for others.
    pub(super) fn ended(mut self, is_answered: bool) {
        self.answers = None;
        if !is_answered {
            (self.retire)();
        }
    }
}

impl<F: Fn()> Drop for Unanswered<F> {
    fn drop(&mut self) {
        let Some((answers, so_far)) = &self.answers else { return };
        if answers.load(Ordering::Relaxed) == *so_far && self.since.elapsed() >= self.patience {
            (self.retire)();
        }
    }
}
