//! Segments that are kept for a few settlements only: those that the store does not take are written again, the rest goes.
//!
//! Without this a team whose spend the store refuses would keep every segment, the spend of all others included, until the journal
//! is full. What is left of a team that has much of its own is bounded where it is written ([`State::is_over_its_share`]).

use std::{collections::HashMap, io, path::Path};

use vectoll_config::Uid;

use super::{
    Journal,
    frame::SegmentWriter,
    recent::Part,
    record::{Settled, records_of},
    retention::Progress,
    segment::{Sealed, TeamPart},
    state::State,
};
use crate::atomic_file;

/// A segment is written again if at least this part of its settlements can go.
const MIN_GAIN: (u64, u64) = (1, 4);
/// How many times as much as is free a team may have here that the store has not taken (the dynamic threshold of Choudhury and Hahne,
/// "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998): one such team leaves a fifth of the journal to the others, two
/// a ninth.
const MAX_OF_FREE: u64 = 4;

impl Sealed {
    /// The settlements of teams of which the store has not taken all, and those of all teams.
    fn held(&self, teams: &HashMap<Uid, Progress>) -> (u64, u64) {
        self.teams.iter().fold((0, 0), |(held, all), (team, part)| {
            let is_held = teams.get(team).is_none_or(|progress| progress.acknowledged < part.last);
            (held + if is_held { part.settlements } else { 0 }, all + part.settlements)
        })
    }
}

/// A part of so many bytes.
fn part_of(bytes: u64, (some, all): (u64, u64)) -> u64 {
    let part = u128::from(bytes) * u128::from(some) / u128::from(all.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

impl State {
    /// Whether more than half of what the journal may hold is spend that the store has not taken.
    pub(super) fn is_pressed(&self) -> bool {
        let held = |segment: &Sealed| part_of(segment.bytes, segment.held(&self.teams));
        self.sealed.iter().map(held).sum::<u64>() + self.tail.bytes > self.options.most_bytes / 2
    }

    /// Whether a team has so much here that the store has not taken that too little is left to the others.
    pub(super) fn is_over_its_share(&self, team: &Uid) -> bool {
        let free = self.options.most_bytes.saturating_sub(self.bytes());
        if self.bytes() <= MAX_OF_FREE * free {
            return false;
        }
        let acknowledged = self.teams.get(team).map_or(0, |progress| progress.acknowledged);
        let held = |bytes: u64, teams: &HashMap<Uid, TeamPart>| match teams.get(team) {
            Some(part) if part.last > acknowledged => {
                part_of(bytes, (part.settlements, teams.values().map(|part| part.settlements).sum()))
            }
            Some(_) | None => 0,
        };
        let sealed = self.sealed.iter().map(|segment| held(segment.bytes, &segment.teams)).sum::<u64>();
        sealed + held(self.tail.bytes, &self.tail.teams) > MAX_OF_FREE * free
    }

    /// The oldest segment that is worth to be written again, and up to which settlement the store has its teams'.
    fn worth_compacting(&self) -> Option<(Part, HashMap<Uid, u64>)> {
        let (some, all) = MIN_GAIN;
        let is_worth = |segment: &&Sealed| {
            let (held, settlements) = segment.held(&self.teams);
            segment.last <= self.covered && held > 0 && (settlements - held) * all >= settlements * some
        };
        let segment = self.sealed.iter().find(is_worth)?;
        let acknowledged = |team: &Uid| self.teams.get(team).map_or(0, |progress| progress.acknowledged);
        let upto = segment.teams.keys().map(|team| (team.clone(), acknowledged(team))).collect();
        Some((Part { path: segment.path.clone(), bytes: segment.bytes }, upto))
    }

    fn compacted(&mut self, path: &Path, bytes: u64, teams: HashMap<Uid, TeamPart>) {
        if let Some(segment) = self.sealed.iter_mut().find(|segment| segment.path == path) {
            (segment.bytes, segment.teams, segment.unsynced) = (bytes, teams, None);
        }
        self.metrics.bytes(self.bytes());
    }
}

impl Journal {
    /// Writes segments again until the journal is half empty, or nothing would be gained. Reads and writes files.
    pub(super) fn compact(&self) {
        loop {
            let worth = {
                let state = self.state();
                state.needs_room().then(|| state.worth_compacting()).flatten()
            };
            let Some((part, acknowledged)) = worth else { return };
            match rewrite(&part, &acknowledged) {
                Ok((bytes, teams)) => self.state().compacted(&part.path, bytes, teams),
                Err(error) => {
                    tracing::warn!(segment = %part.path.display(), %error, "a segment cannot be written again in less room");
                    return;
                }
            }
        }
    }
}

/// Writes a segment again with the settlements only that the store has not taken. Open intents need not stay: they were carried over
/// when it was sealed.
fn rewrite(part: &Part, acknowledged: &HashMap<Uid, u64>) -> io::Result<(u64, HashMap<Uid, TeamPart>)> {
    let (mut segment, mut teams) = (SegmentWriter::default(), HashMap::<Uid, TeamPart>::new());
    let has_it = |settled: &Settled| {
        settled.intent.owners().all(|owner| acknowledged.get(owner).is_some_and(|upto| *upto >= settled.number))
    };
    for settled in part.settled()?.iter().filter(|settled| !has_it(settled)) {
        for record in records_of(settled) {
            segment.push(&record).map_err(io::Error::other)?;
        }
        for owner in settled.intent.owners() {
            *teams.entry(owner.clone()).or_default().count() = settled.number;
        }
    }
    atomic_file::write(&part.path, segment.content())?;
    Ok((segment.content().len() as u64, teams))
}
