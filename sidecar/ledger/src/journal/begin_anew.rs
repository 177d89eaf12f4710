//! A state folder that is gone is started again.
//!
//! The books are in memory and go into the next checkpoint, which is asked for at once. Calls under way are carried over, as
//! into any segment, and of what a store has not acknowledged everything that memory has.

use std::{
    fs::{self, File},
    sync::Arc,
    time::Instant,
};

use vectoll_config::Uid;

use super::{
    AppendError,
    place::LOOK_PERIOD,
    record::records_of,
    segment::{Tail, TeamPart},
    state::{State, carry, reach},
};

impl State {
    /// Makes sure that what is written is found at the next start.
    pub(super) fn ensure_in_place(&mut self) -> Result<(), AppendError> {
        if self.place.looked.elapsed() >= LOOK_PERIOD {
            if !self.tail.is_in_place()? {
                self.begin_anew()?;
            }
            self.place.looked = Instant::now();
        }
        Ok(())
    }

    fn begin_anew(&mut self) -> Result<(), AppendError> {
        tracing::error!(
            folder = %self.place.folder.display(),
            "the state folder was removed while it was in use: it is made again from the books in memory"
        );
        self.abandon_next();
        fs::create_dir_all(&self.folder)?;
        self.place.identity.write(&self.place.folder)?;
        self.place.epoch.write(&self.place.folder)?;
        self.handle = Arc::new(File::open(&self.folder)?);
        let mut tail = Tail::begin(&self.folder, self.next)?;
        // Before the open intents, whose numbers may be larger: a start follows numbers as they grow.
        self.keep_recent(&mut tail)?;
        carry(&mut tail, &self.open, &mut self.buffer)?;
        let former = std::mem::replace(&mut self.tail, tail).seal(self.next - 1);
        self.sealed.push_back(former);
        // Where the folder came back as a copy, its segments are there.
        self.sealed.retain(|segment| segment.path.exists());
        self.options.rotated.notify_one();
        Ok(())
    }

    /// Writes down again what the store has not acknowledged.
    fn keep_recent(&mut self, tail: &mut Tail) -> Result<(), AppendError> {
        let (complete_after, recent) = self.recent.all();
        for settled in &recent {
            let has_it =
                |owner: &Uid| self.teams.get(owner).is_some_and(|progress| progress.acknowledged >= settled.number);
            if settled.intent.owners().all(has_it) {
                continue;
            }
            for record in records_of(settled) {
                tail.append(&record, &mut self.buffer)?;
            }
            for owner in settled.intent.owners() {
                reach(&mut tail.teams, owner, settled.number, TeamPart::count);
            }
        }
        for (team, progress) in &self.teams {
            if progress.acknowledged < progress.last.min(complete_after) {
                tracing::error!(%team, "the store may never learn of what went with the folder; the books here have it");
            }
        }
        Ok(())
    }
}
