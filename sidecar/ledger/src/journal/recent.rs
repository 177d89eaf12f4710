//! Settlements for the store: the newest from memory, older ones from the segments.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use vectoll_config::Uid;

use super::{frame::scan, record::Settled, replay::settled_in, retention::Retention};

/// Settlements held in memory, of all teams together: a few megabytes at most. Those before them are read again.
const MAX_RECENT: usize = 4_096;

/// The newest settlements.
#[derive(Debug)]
pub(super) struct Recent {
    /// In the order of their numbers.
    kept: VecDeque<Arc<Settled>>,
    /// Every settlement with a larger number is held.
    after: u64,
}

impl Recent {
    /// Nothing is held of what was written up to a number.
    pub(super) fn after(after: u64) -> Self {
        Self { kept: VecDeque::new(), after }
    }

    /// Holds a settlement, where there is a store that will ask for it.
    pub(super) fn push(&mut self, settled: Arc<Settled>, retention: Retention) {
        match retention {
            Retention::Checkpoint => {
                self.kept.clear();
                self.after = settled.number;
            }
            Retention::Acknowledged { keep: _ } => {
                self.kept.push_back(settled);
                if self.kept.len() > MAX_RECENT
                    && let Some(oldest) = self.kept.pop_front()
                {
                    self.after = oldest.number;
                }
            }
        }
    }

    /// All that is held, in the order of their numbers, and the number after which nothing is missing.
    pub(super) fn all(&self) -> (u64, Vec<Arc<Settled>>) {
        (self.after, self.kept.iter().cloned().collect())
    }

    /// The settlements of a team after a number; none if some of them are not held any more.
    pub(super) fn of(&self, team: &Uid, after: u64, most: usize) -> Option<Vec<Arc<Settled>>> {
        if after < self.after {
            return None;
        }
        let from = self.kept.partition_point(|settled| settled.number <= after);
        Some(self.kept.range(from..).filter(|settled| settled.intent.is_of(team)).take(most).cloned().collect())
    }
}

/// A segment to be read: its file as far as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl Part {
    /// Whether something may have been written to it since then.
    pub(super) fn may_be_written_since(&self, since: Timestamp) -> bool {
        let modified = std::fs::metadata(&self.path).and_then(|metadata| metadata.modified());
        modified.ok().and_then(|at| Timestamp::try_from(at).ok()).is_none_or(|at| at >= since)
    }

    /// Its settlements.
    pub(super) fn settled(&self) -> std::io::Result<Vec<Arc<Settled>>> {
        let mut bytes = std::fs::read(&self.path)?;
        // What is beyond is being written at this moment.
        bytes.truncate(usize::try_from(self.bytes).unwrap_or(usize::MAX));
        Ok(settled_in(scan(&bytes).records))
    }
}

/// Reads settlements from segments. The last segment read is held: a store that catches up asks for it many times.
#[derive(Debug, Default)]
pub(super) struct Reader {
    last: Mutex<Option<(Part, Settlements)>>,
}

/// Those of one segment.
type Settlements = Arc<Vec<Arc<Settled>>>;

impl Reader {
    /// The settlements of a team after a number. `parts` are all segments that may hold them, oldest first. A segment that
    /// cannot be read ends the list before its time: none is left out between two others.
    pub(super) fn settled_after(&self, parts: &[Part], team: &Uid, after: u64, most: usize) -> Vec<Arc<Settled>> {
        let mut found = Vec::new();
        for part in parts {
            let settled = match self.read(part) {
                Ok(settled) => settled,
                Err(error) => {
                    tracing::error!(segment = %part.path.display(), %error, "a segment of the journal cannot be read");
                    return found;
                }
            };
            let of_team = settled.iter().filter(|each| each.number > after && each.intent.is_of(team));
            found.extend(of_team.take(most - found.len()).cloned());
            if found.len() >= most {
                break;
            }
        }
        found
    }

    fn read(&self, part: &Part) -> std::io::Result<Settlements> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, settled)) = &*last
            && read == part
        {
            return Ok(settled.clone());
        }
        let settled = Arc::new(part.settled()?);
        *last = Some((part.clone(), settled.clone()));
        Ok(settled)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vectoll_config::PicoUsd;

    use super::*;
    use crate::{
        books::Certainty,
        journal::{Settlement, tests::intent},
    };

    #[test]
    fn memory_is_bounded_and_knows_what_it_does_not_hold() {
        let team = Uid::new("a");
        let intent = Arc::new(intent("a", 1));
        let mut recent = Recent::after(0);
        let settled = |number| {
            let (money, certainty) = (PicoUsd::ZERO, Certainty::Known);
            let settlement = Settlement { intent: 1, tokens: 1, money, certainty, overrun: 0 };
            Arc::new(Settled { number, intent: intent.clone(), settlement })
        };
        for number in 1..=MAX_RECENT as u64 {
            recent.push(settled(number * 2), Retention::Acknowledged { keep: Duration::ZERO });
        }
        assert_eq!(recent.of(&team, 0, usize::MAX).unwrap().len(), MAX_RECENT);
        recent.push(settled(1_000_000), Retention::Acknowledged { keep: Duration::ZERO });
        assert_eq!(recent.of(&team, 1, 5), None, "the one with number 2 is not held any more");
        assert_eq!(recent.of(&team, 2, usize::MAX).unwrap().len(), MAX_RECENT);
        assert_eq!(recent.of(&team, 2, 5).unwrap()[0].number, 4);
        assert_eq!(recent.of(&Uid::new("b"), 2, 5), Some(Vec::new()));
        // Where nobody asks nothing is held.
        recent.push(settled(1_000_002), Retention::Checkpoint);
        assert_eq!((recent.kept.len(), recent.of(&team, 1_000_001, 5)), (0, None));
    }
}
