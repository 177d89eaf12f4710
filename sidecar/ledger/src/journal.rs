//! What a call may cost is written down before it is sent, and what it did cost before its answer's last byte goes out.
//!
//! The journal is a folder of append-only segments ([`frame`]) of numbered records ([`record`]). An [`Intent`] is written
//! before a provider is called, and one [`Settlement`] or `Void` ends it. A call that has no end when the process has, is
//! booked at the next start at what it held, as unsettled ([`recover`]). So the books never fall short of what providers
//! charged, whenever the process is killed.
//!
//! **What a record costs.** One `write(2)` into the kernel's cache, and no `fsync`: what the kernel has outlives the process,
//! however it ends. It does not outlive a machine that loses its power; a checkpoint has the disk take all that it covers.
//!
//! **Who waits for the disk.** Nobody but a checkpoint: `fdatasync`, the files that go with it, and removing and rewriting segments are done
//! without the lock, on a thread of their own. Under the lock there is what a record needs: to be encoded, one `write`, and at the end of a
//! segment a few open intents at a time (`State::carry_on`). A record that is appended while its file is synchronised is in that or in
//! the next one: the checkpoint covers what had a number when it was cut, all of which was written before, so whatever the order
//! in which the disk takes the rest, nothing that a checkpoint stands for is missing behind it.
//!
//! **How books and journal agree.** A settlement gets its number, is appended and is booked under one lock, and
//! [`Journal::cut`] copies the books under the same lock, together with the last number given. So a checkpoint's books
//! contain exactly the settlements up to its number. It lists the intents that were open then, so that nothing before its
//! number has to be read again. A start takes the checkpoint and follows the records after it ([`replay`]).
//!
//! **Where it ends.** The segments hold at most so many bytes. A full journal and a disk that takes nothing refuse a call
//! before it is sent. The end of a call is never refused: what the disk does not take is owed to it and written first as soon
//! as it can be; until then no call is sent. A folder that is taken away under a running sidecar is started again ([`begin_anew`]).

mod begin_anew;
mod compact;
mod error;
mod frame;
mod identity;
mod metrics;
mod names;
mod options;
mod payload;
mod place;
mod recent;
mod record;
mod recover;
mod replay;
mod retention;
mod segment;
mod state;
mod telling;

use std::{
    fs::File,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use vectoll_config::PicoUsd;

use self::{
    recent::{Reader, Recent},
    recover::{Recovered, recover},
    state::State,
};
use crate::{books::Certainty, used::Used};

pub use error::{AppendError, OpenError};
pub use identity::Identity;
pub use metrics::JournalMetrics;
pub use options::Options;
pub use payload::NotARecord;
pub use record::{Intent, Kind, Named, Open, Record, Refine, Settled, Settlement, Void};
pub(crate) use recover::is_whole;
pub use replay::Covered;
pub use retention::Retention;

/// The proof that an intent is written. It must be settled or voided; lost, the call is unsettled after the next start.
#[derive(Debug)]
#[must_use = "a call that was announced has an end"]
pub struct OpenIntent {
    number: u64,
    intent: Arc<Intent>,
}

impl OpenIntent {
    /// The intent's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The intent.
    pub fn intent(&self) -> &Arc<Intent> {
        &self.intent
    }
}

/// What a checkpoint is made of.
#[derive(Debug)]
pub struct Snapshot<T> {
    /// How far it reaches.
    pub covered: Covered,
    /// The copy of the books.
    pub content: T,
    /// What the disk must have before the checkpoint may stand there: segments, and the folder that names them.
    pub files: Vec<Arc<File>>,
}

/// The journal of a state folder. One process has it at a time: see [`crate::checkpoint`].
#[derive(Debug)]
pub struct Journal {
    identity: Identity,
    epoch: u64,
    /// The first number of this process.
    first: u64,
    state: Mutex<State>,
    reader: Reader,
    rotated: Arc<Notify>,
}

impl Journal {
    /// Takes up the journal of a state folder, or begins it. `book` gets every settlement that the checkpoint does not
    /// contain, in order.
    pub fn open(
        folder: &Path,
        options: Options,
        covered: Covered,
        metrics: JournalMetrics,
        book: impl FnMut(&Settled),
    ) -> Result<Self, OpenError> {
        let rotated = options.rotated.clone();
        let Recovered { identity, epoch, first, state } = recover(folder, options, covered, metrics, book)?;
        Ok(Self { identity, epoch, first, state: Mutex::new(state), reader: Reader::default(), rotated })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves whole records: every statement that changes the files is the last of its step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who keeps it: the same for as long as the state folder.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Which start of the sidecar this is; grows with each.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Writes that a call is about to be sent. Only then may it be.
    pub fn intend(&self, intent: Intent) -> Result<OpenIntent, AppendError> {
        let intent = Arc::new(intent);
        let number = self.state().intend(intent.clone())?;
        Ok(OpenIntent { number, intent })
    }

    /// Writes that a call holds less than was thought: what it is booked at if it has no end. More is not taken.
    pub fn refine(&self, opened: &OpenIntent, tokens: u64, money: PicoUsd) {
        self.state().refine(Refine { intent: opened.number, tokens, money });
    }

    /// Writes what a call cost. `book` books it, in the same step: no checkpoint comes between.
    pub fn settle(
        &self,
        opened: OpenIntent,
        used: Used,
        certainty: Certainty,
        overrun: u64,
        book: impl FnOnce(&Settled),
    ) {
        let OpenIntent { number, intent } = opened;
        let Used { tokens, money } = used;
        let settlement = Settlement { intent: number, tokens, money, certainty, overrun };
        let mut state = self.state();
        let settled = state.settle(intent, settlement);
        book(&settled);
    }

    /// Writes that a call was not sent after all.
    pub fn void(&self, opened: OpenIntent) {
        let OpenIntent { number, intent } = opened;
        self.state().void(Void { intent: number });
        drop(intent);
    }

    /// Copies the books for a checkpoint, at a moment that the journal knows. Where a store is to learn of spend there is none while
    /// the disk does not take what it is owed: a settlement that only the books have no start would tell the store of.
    pub fn cut<T>(&self, copy: impl FnOnce() -> T) -> Result<Snapshot<T>, AppendError> {
        let mut state = self.state();
        match (state.pay(), state.retention) {
            (Ok(()), _) => {}
            (Err(error), Retention::Acknowledged { keep: _ }) => return Err(error),
            // It is in the books: there must be no intent left of it after the checkpoint.
            (Err(error), Retention::Checkpoint) => tracing::debug!(%error, "the journal is still owed records"),
        }
        let covered = Covered { number: state.next - 1, open: state.open.clone() };
        let sealed = state.sealed.iter().filter_map(|segment| segment.unsynced.clone());
        let files = sealed.chain([state.tail.file(), state.handle.clone()]).collect();
        Ok(Snapshot { covered, content: copy(), files })
    }

    /// The last number that was given: what changes whenever there is something new to keep.
    pub fn last(&self) -> u64 {
        self.state().next - 1
    }

    /// A checkpoint up to this number is on the disk, and everything that it was made of.
    pub fn covered(&self, number: u64) {
        let mut state = self.state();
        state.covered = state.covered.max(number);
        for segment in state.sealed.iter_mut().filter(|segment| segment.last <= number) {
            segment.unsynced = None;
        }
    }

    /// Removes the segments that are needed no more, and where room is needed what is not needed in others. `now` is the time since the clock was started.
    pub fn sweep(&self, now: Duration) {
        let mut gone = Vec::new();
        {
            let mut state = self.state();
            let State { sealed, teams, retention, covered, .. } = &mut *state;
            sealed.retain_mut(|segment| {
                let goes = retention.lets_go(segment, *covered, teams, now);
                if goes {
                    gone.push(segment.path.clone());
                }
                !goes
            });
            // The time after the acknowledgement is kept while there is room for it: a full journal would refuse calls.
            while state.needs_room()
                && let covered = state.covered
                && let Some(at) = state.sealed.iter().position(|it| it.acknowledged.is_some() && it.last <= covered)
                && let Some(oldest) = state.sealed.remove(at)
            {
                gone.push(oldest.path);
            }
            state.metrics.bytes(state.bytes());
        }
        for path in gone {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(segment = %path.display(), %error, "a segment that is needed no more cannot be removed");
            }
        }
        self.compact();
    }

    /// Waits until a segment has come to its end: a checkpoint lets it go.
    pub async fn rotated(&self) {
        self.rotated.notified().await;
    }

    /// Changes what segments are kept for. What goes to a store after this is held in memory as far as there is room.
    pub fn retain(&self, retention: Retention) {
        let mut state = self.state();
        if state.retention != retention {
            state.recent = Recent::after(state.next - 1);
            state.retention = retention;
        }
    }
}

#[cfg(test)]
mod tests;
