//! How long a segment is kept.

use std::{collections::HashMap, time::Duration};

use vectoll_config::Uid;

use super::segment::{Sealed, TeamPart};

/// What a segment is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Until a checkpoint covers it.
    Checkpoint,
    /// Until the store has had all of its settlements for so long, too: a store that fails over may have lost the last of
    /// them, and wants them again.
    Acknowledged {
        /// How long after the acknowledgement.
        keep: Duration,
    },
}

/// How far a team's settlements have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The number of the last one.
    pub(super) last: u64,
    /// Up to which the store has them.
    pub(super) acknowledged: u64,
    /// Its calls are refused since the store last took something: there is too much of it here.
    pub(super) is_refused: bool,
}

impl Retention {
    /// Whether a segment is needed no more. Open intents do not hold it: they were carried over when it was sealed.
    /// `covered` is the checkpoint's number, `now` the time since the clock was started.
    pub(super) fn lets_go(
        self,
        segment: &mut Sealed,
        covered: u64,
        teams: &HashMap<Uid, Progress>,
        now: Duration,
    ) -> bool {
        let is_covered = segment.last <= covered;
        match self {
            Self::Checkpoint => is_covered,
            Self::Acknowledged { keep } => {
                let has_it = |(team, part): (&Uid, &TeamPart)| {
                    teams.get(team).is_some_and(|team| team.acknowledged >= part.last)
                };
                if !segment.teams.iter().all(has_it) {
                    segment.acknowledged = None;
                    return false;
                }
                let since = *segment.acknowledged.get_or_insert(now);
                is_covered && now.saturating_sub(since) >= keep
            }
        }
    }
}
