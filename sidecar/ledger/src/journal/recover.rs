//! A journal taken up at the start: segments read and repaired, settlements booked, calls without an end settled.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    AppendError, Covered, OpenError, Options,
    frame::Scan,
    identity::{Epoch, Identity},
    place::Place,
    recent::Recent,
    record::{Kind, Open, Record, Settled},
    replay::{Replay, ReplayResult, settled_in},
    retention::Progress,
    segment::{self, RepairedSegment, Sealed, Tail, TeamPart},
    state::{State, carry, reach},
};
use crate::journal::JournalMetrics;

const JOURNAL: &str = "journal";
const DAMAGED: &str = "damaged";

/// What a journal begins with.
pub(super) struct Recovered {
    pub(super) identity: Identity,
    pub(super) epoch: u64,
    /// The first number of this process.
    pub(super) first: u64,
    pub(super) state: State,
}

/// Whether the journal of a state folder goes back to its first record.
pub(crate) fn is_whole(folder: &Path) -> bool {
    segment::path(&folder.join(JOURNAL), Epoch(1).first_number()).exists()
}

/// Takes up the journal of a state folder. `book` gets every settlement that the checkpoint does not contain, in order; those
/// of calls that had no end are written before they are booked.
pub(super) fn recover(
    folder: &Path,
    options: Options,
    covered: Covered,
    metrics: JournalMetrics,
    mut book: impl FnMut(&Settled),
) -> Result<Recovered, OpenError> {
    let identity = Identity::of(folder)?;
    let journal = folder.join(JOURNAL);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    fs::create_dir_all(&journal).map_err(failed(&journal))?;
    let number = covered.number;
    let mut replay = Replay::new(covered);
    let mut sealed = VecDeque::new();
    let mut teams: HashMap<_, Progress> = HashMap::new();
    let (mut reached, mut booked) = (number, 0_u64);
    segment::remove_unfinished(&journal).map_err(failed(&journal))?;
    for (first, path) in segment::list(&journal).map_err(failed(&journal))? {
        let RepairedSegment { scan, bytes } = segment::repair(&path, &folder.join(DAMAGED)).map_err(failed(&path))?;
        log_findings(&path, &scan, &metrics);
        let found = summary(path, first, bytes, &scan.records);
        reached = reached.max(found.last);
        for (team, part) in &found.teams {
            reach(&mut teams, team, part.last, |progress| &mut progress.last);
        }
        sealed.push_back(found);
        for settled in scan.records.into_iter().filter_map(|record| replay.take(record)) {
            booked += 1;
            book(&settled);
        }
    }
    let ReplayResult { last, open, orphans } = replay.end();
    if orphans > 0 {
        metrics.damaged(orphans);
        tracing::error!(
            settlements = orphans,
            "calls of a damaged part of the journal cannot be booked: whose they were is unknown"
        );
    }
    let epoch = Epoch::next(folder, reached.max(last));
    let next = epoch.first_number().max(reached.max(last).saturating_add(1));
    let handle = Arc::new(fs::File::open(&journal).map_err(failed(&journal))?);
    let mut buffer = Vec::new();
    let begun = begin(folder, epoch, (&journal, next), &open, &mut buffer);
    let (tail, unwritten_epoch) = match (begun, sealed.pop_back()) {
        (Ok(tail), last) => {
            sealed.extend(last);
            (tail, None)
        }
        // The books are known, and whoever asks is told why calls are refused. The last segment has every open intent.
        (Err(error), Some(last)) if is_full(&error) => {
            tracing::error!(%error, "the disk is full: calls are refused until it takes the journal again");
            let path = last.path.clone();
            (Tail::reopen(last).map_err(failed(&path))?, Some((folder.to_owned(), epoch)))
        }
        (Err(error), _) => return Err(OpenError::Append(error)),
    };
    let mut state = State {
        place: Place::new(folder, identity, epoch),
        folder: journal,
        handle,
        retention: options.retention,
        options,
        next,
        tail,
        next_segment: None,
        sealed,
        owed: VecDeque::new(),
        teams,
        recent: Recent::after(next - 1),
        covered: number,
        open: open.clone(),
        buffer,
        failing: unwritten_epoch.is_some(),
        unwritten_epoch,
        metrics,
    };
    let without_end = open.len();
    for (number, open) in open {
        book(&state.settle(open.intent.clone(), open.unsettled(number)));
    }
    if without_end > 0 {
        tracing::warn!(
            calls = without_end,
            "calls of a former process had no end: they are booked at their reservation, as unsettled"
        );
    }
    state.metrics.bytes(state.bytes());
    state.metrics.max_bytes(state.options.most_bytes);
    let Epoch(epoch) = epoch;
    tracing::info!(%identity, epoch, segments = state.sealed.len(), booked, "the journal was taken up");
    Ok(Recovered { identity, epoch, first: next, state })
}

/// Begins the epoch and its first segment.
fn begin(
    folder: &Path,
    epoch: Epoch,
    (journal, next): (&Path, u64),
    open: &BTreeMap<u64, Open>,
    buffer: &mut Vec<u8>,
) -> Result<Tail, AppendError> {
    epoch.write(folder)?;
    let mut tail = Tail::begin(journal, next)?;
    match carry(&mut tail, open, buffer) {
        Ok(()) => Ok(tail),
        Err(error) => {
            tail.discard();
            Err(error)
        }
    }
}

/// Whether it is room that is missing.
fn is_full(error: &AppendError) -> bool {
    let AppendError::Unavailable(error) = error else { return false };
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// Says what was wrong with a segment.
fn log_findings(path: &Path, scan: &Scan, metrics: &JournalMetrics) {
    let Scan { records: _, damaged, torn } = scan;
    if let Some(at) = torn {
        tracing::warn!(segment = %path.display(), at, "the last record was never finished: it was cut off");
    }
    metrics.damaged(damaged.len() as u64);
    for stretch in damaged {
        tracing::error!(
            segment = %path.display(), from = stretch.start, to = stretch.end,
            "a part of the journal is damaged: what can be read of it is, and the file as it was is in `damaged`"
        );
    }
}

fn summary(path: PathBuf, first: u64, bytes: u64, records: &[Record]) -> Sealed {
    let own = |Record(number, kind): &Record| match kind {
        Kind::Carried(_) => None,
        Kind::Intent(_) | Kind::Refine(_) | Kind::Settlement(_) | Kind::Void(_) => Some(*number),
    };
    let last = records.iter().filter_map(own).max().unwrap_or(first.saturating_sub(1));
    let mut teams = HashMap::new();
    for settled in settled_in(records.iter().cloned()) {
        for owner in settled.intent.owners() {
            reach(&mut teams, owner, settled.number, TeamPart::count);
        }
    }
    Sealed { path, last, bytes, teams, unsynced: None, acknowledged: None }
}
