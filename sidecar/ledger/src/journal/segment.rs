//! The journal's files: what they are called, how they are read, repaired and written.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use vectoll_config::Uid;

use super::{
    AppendError,
    frame::{Scan, SegmentWriter, encode, scan},
    names::Names,
    record::Record,
};
use crate::atomic_file;

const EXTENSION: &str = "vtj";
/// What the next segment is called until it is one: no start reads it.
const NEXT: &str = "next.new";
/// Damaged segments that are set aside. Those beyond are only repaired: what is kept for people to look at stays bounded.
const MAX_SET_ASIDE: usize = 16;

/// A segment's path, by the number of the first record that was new in it.
pub(super) fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.{EXTENSION}"))
}

/// The segments of a folder, oldest first. Other files are left alone.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let first = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let (Some(first), true) = (first, path.extension().is_some_and(|extension| extension == EXTENSION)) {
            found.push((first, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Removes the beginnings of a segment that never became one: all that is in it is in the segment before.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(NEXT)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What a segment has of a team.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TeamPart {
    /// The largest number of a settlement.
    pub(super) last: u64,
    /// How many there are.
    pub(super) settlements: u64,
}

impl TeamPart {
    /// Counts another settlement, whose number is to be put where this leads.
    pub(super) fn count(&mut self) -> &mut u64 {
        self.settlements += 1;
        &mut self.last
    }
}

/// A segment that is not written to any more.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) path: PathBuf,
    /// The largest number in it.
    pub(super) last: u64,
    pub(super) bytes: u64,
    /// What it has of each team.
    pub(super) teams: HashMap<Uid, TeamPart>,
    /// To be synchronised at the next checkpoint.
    pub(super) unsynced: Option<Arc<File>>,
    /// When it was first seen that the store has all of it.
    pub(super) acknowledged: Option<Duration>,
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) path: PathBuf,
    /// The length of what is whole in it.
    pub(super) bytes: u64,
    /// The part of it that was carried over.
    pub(super) carried: u64,
    /// What it has of each team.
    pub(super) teams: HashMap<Uid, TeamPart>,
    names: Names,
    file: Arc<File>,
    /// The file may end in a part of a record: it must be cut before anything else is written.
    ragged: bool,
}

impl Tail {
    /// Begins a segment. A file of that name can only be an attempt of this process that failed: numbers never come again.
    pub(super) fn begin(folder: &Path, first: u64) -> io::Result<Self> {
        Self::begin_at(path(folder, first))
    }

    /// Begins what will be a segment when it has taken its place ([`Self::take_place`]). There is one at a time.
    pub(super) fn begin_next(folder: &Path) -> io::Result<Self> {
        Self::begin_at(folder.join(NEXT))
    }

    fn begin_at(path: PathBuf) -> io::Result<Self> {
        let file = fs::OpenOptions::new().append(true).create(true).open(&path)?;
        file.set_len(0)?;
        let file = Arc::new(file);
        Ok(Self { path, bytes: 0, carried: 0, teams: HashMap::new(), names: Names::default(), file, ragged: false })
    }

    /// Makes it the segment that begins with this number, and what it has so far what was carried over.
    pub(super) fn take_place(&mut self, folder: &Path, first: u64) -> io::Result<()> {
        let path = path(folder, first);
        fs::rename(&self.path, &path)?;
        (self.path, self.carried) = (path, self.bytes);
        Ok(())
    }

    /// Removes what has not taken its place. It says nothing wrong, but it takes room.
    pub(super) fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Goes on in a segment of a former process, where no other can be begun.
    pub(super) fn reopen(sealed: Sealed) -> io::Result<Self> {
        let Sealed { path, last: _, bytes, teams, unsynced: _, acknowledged: _ } = sealed;
        let file = Arc::new(fs::OpenOptions::new().append(true).open(&path)?);
        Ok(Self { path, bytes, carried: 0, teams, names: Names::none(), file, ragged: false })
    }

    /// Appends a record. The buffer is room for its frame.
    pub(super) fn append(&mut self, record: &Record, buffer: &mut Vec<u8>) -> Result<(), AppendError> {
        self.encode(record, buffer)?;
        Ok(self.write(buffer)?)
    }

    /// Appends records in one system call: all of them, or none. The buffer is room for a frame.
    pub(super) fn append_all(&mut self, records: &[Record], buffer: &mut Vec<u8>) -> Result<(), AppendError> {
        self.names.undo();
        let mut frames = Vec::new();
        for record in records {
            encode(record, &mut self.names, self.bytes + frames.len() as u64, buffer)?;
            frames.extend_from_slice(buffer);
        }
        Ok(self.write(&frames)?)
    }

    /// Puts a record's frame into the buffer, to be written next or never.
    ///
    /// A function of its own in the program as well: what a record costs is counted by its name.
    #[inline(never)]
    pub(super) fn encode(&mut self, record: &Record, buffer: &mut Vec<u8>) -> Result<(), AppendError> {
        self.names.undo();
        Ok(encode(record, &mut self.names, self.bytes, buffer)?)
    }

    /// Appends what was encoded last, in one system call. It is in the kernel's cache then, which outlives this process, however it ends.
    pub(super) fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.ragged {
            self.file.set_len(self.bytes)?;
            self.ragged = false;
        }
        self.names.attempt();
        if let Err(error) = (&*self.file).write_all(frame) {
            self.ragged = self.file.set_len(self.bytes).is_err();
            return Err(error);
        }
        self.bytes += frame.len() as u64;
        self.names.keep();
        Ok(())
    }

    /// Whether its path still leads to it.
    pub(super) fn is_in_place(&self) -> io::Result<bool> {
        atomic_file::leads_to(&self.path, &self.file)
    }

    /// The file, to be synchronised.
    pub(super) fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Ends the segment at its last record.
    pub(super) fn seal(self, last: u64) -> Sealed {
        let Self { path, bytes, carried: _, teams, names: _, file, ragged: _ } = self;
        Sealed { path, last, bytes, teams, unsynced: Some(file), acknowledged: None }
    }

    /// Says that the file may end in a part of a record.
    #[cfg(test)]
    pub(super) fn mark_ragged(&mut self) {
        self.ragged = true;
    }

    /// Writes to another file from now on, for tests of disks that refuse.
    #[cfg(test)]
    pub(super) fn swap(&mut self, file: Arc<File>) -> Arc<File> {
        std::mem::replace(&mut self.file, file)
    }
}

/// A segment of a former process, read and repaired.
#[derive(Debug)]
pub(super) struct RepairedSegment {
    pub(super) scan: Scan,
    /// Its length after the repair.
    pub(super) bytes: u64,
}

/// Reads a segment of a former process and repairs it: a record that was never finished is cut off; a damaged stretch is
/// taken out, and the file as it was is set aside in `aside`.
pub(super) fn repair(path: &Path, aside: &Path) -> io::Result<RepairedSegment> {
    let bytes = fs::read(path)?;
    let scan = scan(&bytes);
    let end = scan.torn.unwrap_or(bytes.len());
    if scan.damaged.is_empty() {
        if scan.torn.is_some() {
            let file = fs::OpenOptions::new().write(true).open(path)?;
            file.set_len(end as u64)?;
            file.sync_all()?;
        }
        return Ok(RepairedSegment { scan, bytes: end as u64 });
    }
    set_aside(path, &bytes, aside)?;
    // Written again, and not cut out: what is gone may have had a copy of a name.
    let mut whole = SegmentWriter::default();
    for record in &scan.records {
        whole.push(record).map_err(io::Error::other)?;
    }
    atomic_file::write(path, whole.content())?;
    Ok(RepairedSegment { scan, bytes: whole.content().len() as u64 })
}

fn set_aside(path: &Path, bytes: &[u8], aside: &Path) -> io::Result<()> {
    fs::create_dir_all(aside)?;
    let Some(name) = path.file_name() else { return Ok(()) };
    if fs::read_dir(aside)?.count() < MAX_SET_ASIDE {
        fs::write(aside.join(name), bytes)?;
    }
    Ok(())
}
