//! What outlives the process: the books and the money taken of budgets, in one file of the state folder.
//!
//! Written a few times a second while something changes, and at the end. Killed without warning, the sidecar loses what
//! was booked since the last writing: at most [`EVERY`] and the time that the writing takes.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    counters::{Memory, Remembered},
    ledger::{Books, Ledger},
};

/// How often changes are written.
pub const EVERY: Duration = Duration::from_millis(250);
const FILE: &str = "spend.v1.json";
const LOCK: &str = "lock";

/// The file's content.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    books: Books,
    budgets: Vec<Remembered>,
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
    /// Not what was written.
    #[error("{path} is damaged ({source}): move it away to start with empty books")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// Keeps books and budgets in a folder.
#[derive(Debug)]
pub struct Keeper {
    folder: PathBuf,
    ledger: Arc<Ledger>,
    counters: Arc<Memory>,
    /// What the last writing contained.
    written: Option<(u64, u64)>,
    /// Held as long as this process keeps the folder: two of them would overwrite each other's books.
    _lock: fs::File,
}

impl Keeper {
    /// Takes up what a former process left in the folder, which is made if need be.
    pub fn resume(folder: &Path) -> Result<Self, KeepError> {
        let failed = |source| KeepError::Io { folder: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let lock = fs::File::create(folder.join(LOCK)).map_err(failed)?;
        lock.try_lock().map_err(|_| KeepError::Taken { folder: folder.to_owned() })?;
        let path = folder.join(FILE);
        let written = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let kept: Kept = if written.is_empty() {
            Kept::default()
        } else {
            serde_json::from_slice(&written).map_err(|source| KeepError::Damaged { path, source })?
        };
        let counters = Arc::new(Memory::default());
        counters.recall(kept.budgets);
        let ledger = Arc::new(Ledger::resume(kept.books));
        Ok(Self { folder: folder.to_owned(), ledger, counters, written: None, _lock: lock })
    }

    /// The books.
    pub fn ledger(&self) -> Arc<Ledger> {
        self.ledger.clone()
    }

    /// The counters.
    pub fn counters(&self) -> Arc<Memory> {
        self.counters.clone()
    }

    /// Writes what has changed since the last time: into a file beside it first, so that a crash leaves the old or the new.
    pub fn save(&mut self) -> Result<(), KeepError> {
        let failed = |source| KeepError::Io { folder: self.folder.clone(), source };
        // Read before the content: what changes in between is written the next time.
        let changes = (self.ledger.changes(), self.counters.changes());
        if self.written == Some(changes) {
            return Ok(());
        }
        let kept = Kept { books: self.ledger.copy(), budgets: self.counters.remember() };
        let bytes = serde_json::to_vec(&kept).map_err(|error| failed(error.into()))?;
        let beside = self.folder.join(format!("{FILE}.new"));
        let mut file = fs::File::create(&beside).map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.sync_data()).map_err(failed)?;
        fs::rename(&beside, self.folder.join(FILE)).map_err(failed)?;
        fs::File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        self.written = Some(changes);
        Ok(())
    }
}
