//! What outlives the process: the journal, and beside it a checkpoint of the books and of the money taken of budgets, so that
//! a start need not read the journal from its beginning, and the journal need not be kept.
//!
//! A checkpoint is written when a segment of the journal has come to its end, at least every [`CHECKPOINT_PERIOD`] while something
//! changes, and at a graceful end.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    atomic_file,
    balance::{Balances, SavedBalance},
    books::{Books, Ledger},
    journal::{self, Covered, Journal, JournalMetrics, Open, OpenError, Options, Settled, Snapshot},
};

/// How often changes are written. It bounds what a start has to read, and what a machine that loses its power loses.
pub const CHECKPOINT_PERIOD: Duration = Duration::from_secs(10);
const FILE: &str = "spend.v1.json";
/// The checkpoint before. The journal is kept from there on, so that one that cannot be read costs nothing.
const PREVIOUS: &str = "spend.v1.json.previous";
/// Where what cannot be read is kept for people to look at.
const DAMAGED: &str = "damaged";
const LOCK: &str = "lock";

/// The file's content.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CheckpointContent {
    /// The last record of the journal that is contained. Files from before there was one have none of it.
    #[serde(default)]
    number: u64,
    /// The intents that had no end then, by number.
    #[serde(default)]
    open: BTreeMap<u64, Open>,
    books: Books,
    budgets: Vec<SavedBalance>,
}

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Not readable or writable.
    #[error("failed to use the state folder {folder}: {source}")]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else's.
    #[error("the state folder {folder} is kept by another sidecar: give each a folder of its own")]
    Taken {
        /// The folder.
        folder: PathBuf,
    },
    /// Not what was written, and there is nothing that would make up for it.
    #[error(
        "{path} is damaged ({source}), and there is no older one, nor all of the journal: move it away to start with the books that the journal still has"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The journal cannot be taken up.
    #[error("failed to take up the journal: {0}")]
    Journal(#[from] OpenError),
}

/// Keeps books and budgets in a folder.
#[derive(Debug)]
pub struct CheckpointWriter<B> {
    folder: PathBuf,
    ledger: Arc<Ledger>,
    balances: Arc<B>,
    journal: Arc<Journal>,
    /// The number of the last checkpoint.
    written: Option<u64>,
    /// What the checkpoint in the file covers, which is the previous one as soon as there is another.
    covered: u64,
    /// Held as long as this process keeps the folder: two of them would overwrite each other's books.
    lock: fs::File,
}

impl<B: Balances> CheckpointWriter<B> {
    /// Takes up what a former process left in the folder, which is made if need be.
    pub fn resume(folder: &Path, options: Options, metrics: JournalMetrics) -> Result<Self, KeepError> {
        let failed = |source| KeepError::Io { folder: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let lock = lock(folder)?;
        let CheckpointContent { number, open, books, budgets } = read(folder)?;
        let balances = Arc::new(B::default());
        balances.recall(budgets);
        let ledger = Arc::new(Ledger::resume(books));
        let book = |settled: &Settled| {
            let Settled { number: _, intent, settlement } = settled;
            ledger.book(intent.booking(), settlement.used(), intent.priced, settlement.overrun, settlement.certainty);
            balances.replay(&intent.charges, intent.admitted_at, settlement.money);
        };
        let journal = Arc::new(Journal::open(folder, options, Covered { number, open }, metrics, book)?);
        Ok(Self { folder: folder.to_owned(), ledger, balances, journal, written: None, covered: number, lock })
    }

    /// The books.
    pub fn ledger(&self) -> Arc<Ledger> {
        self.ledger.clone()
    }

    /// Who counts the money of budgets.
    pub fn balances(&self) -> Arc<B> {
        self.balances.clone()
    }

    /// The journal.
    pub fn journal(&self) -> Arc<Journal> {
        self.journal.clone()
    }

    /// Writes a checkpoint if anything has changed since the last one, and lets segments go. `now` is the time since the
    /// clock was started.
    pub fn save(&mut self, now: Duration) -> Result<(), KeepError> {
        if !atomic_file::leads_to(&self.folder.join(LOCK), &self.lock).is_ok_and(|leads| leads) {
            // The folder was taken away; the journal has begun it anew, or does so before the next call.
            fs::create_dir_all(&self.folder).map_err(|source| KeepError::Io { folder: self.folder.clone(), source })?;
            self.lock = lock(&self.folder)?;
            self.written = None;
        }
        if self.written != Some(self.journal.last()) {
            let number = self.write().map_err(|source| KeepError::Io { folder: self.folder.clone(), source })?;
            self.journal.covered(std::mem::replace(&mut self.covered, number));
            self.written = Some(number);
        }
        self.journal.sweep(now);
        Ok(())
    }

    fn write(&self) -> io::Result<u64> {
        let Snapshot { covered, content, files } =
            self.journal.cut(|| (self.ledger.copy(), self.balances.remember())).map_err(io::Error::other)?;
        // First what the checkpoint stands for: what it covers is removed, but the store may want it again.
        for file in files {
            file.sync_data()?;
        }
        let Covered { number, open } = covered;
        let (books, budgets) = content;
        let kept = CheckpointContent { number, open, books, budgets };
        let (path, previous) = (self.folder.join(FILE), self.folder.join(PREVIOUS));
        let content = serde_json::to_vec(&kept)?;
        // A second name first: at every moment one of them is whole.
        match fs::rename(&path, &previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        atomic_file::write(&path, &content)?;
        Ok(number)
    }
}

/// Takes a folder that is there.
fn lock(folder: &Path) -> Result<fs::File, KeepError> {
    let lock = fs::File::create(folder.join(LOCK));
    let lock = lock.map_err(|source| KeepError::Io { folder: folder.to_owned(), source })?;
    lock.try_lock().map_err(|_| KeepError::Taken { folder: folder.to_owned() })?;
    Ok(lock)
}

/// The checkpoint that can be read: the last one, or the one before. One that cannot be is set aside.
fn read(folder: &Path) -> Result<CheckpointContent, KeepError> {
    let (path, previous) = (folder.join(FILE), folder.join(PREVIOUS));
    match (read_file(folder, &path), previous.exists()) {
        (Ok(Some(kept)), _) => Ok(kept),
        // Between two names.
        (Ok(None), true) => Ok(read_file(folder, &previous)?.unwrap_or_default()),
        (Ok(None), false) => Ok(CheckpointContent::default()),
        (Err(KeepError::Damaged { path, source }), has_previous) if has_previous || journal::is_whole(folder) => {
            let kept = read_file(folder, &previous)?.unwrap_or_default();
            tracing::error!(
                file = %path.display(), error = %source,
                "the checkpoint is damaged: the journal has the books from the one before it on; the file is in `damaged`"
            );
            let aside = folder.join(DAMAGED);
            let moved = fs::create_dir_all(&aside).and_then(|()| fs::rename(&path, aside.join(FILE)));
            moved.map_err(|source| KeepError::Io { folder: folder.to_owned(), source })?;
            Ok(kept)
        }
        (Err(error), _) => Err(error),
    }
}

/// A checkpoint; none: there is none, or nothing in it.
fn read_file(folder: &Path, path: &Path) -> Result<Option<CheckpointContent>, KeepError> {
    let written = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(KeepError::Io { folder: folder.to_owned(), source }),
    };
    if written.is_empty() {
        return Ok(None);
    }
    let kept = serde_json::from_slice(&written);
    kept.map(Some).map_err(|source| KeepError::Damaged { path: path.to_owned(), source })
}
