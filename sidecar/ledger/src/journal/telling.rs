//! What a store is told of the journal, and what it has of it.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use vectoll_config::Uid;

use super::{Journal, Settled, recent::Part, retention::Progress, segment::TeamPart};

impl Journal {
    /// The teams with settlements that the store does not have.
    pub fn teams(&self) -> Vec<Uid> {
        let state = self.state();
        state.teams.iter().filter(|(_, team)| team.last > team.acknowledged).map(|(uid, _)| uid.clone()).collect()
    }

    /// The settlements of a team with a number after this one, in order, at most so many: recent ones from memory, older ones
    /// from the segments. Reads files: for a thread that may wait. Only what is written is told, so that no restart books it
    /// under another number.
    pub fn settled_after(&self, team: &Uid, after: u64, most: usize) -> Vec<Arc<Settled>> {
        let parts = {
            let state = self.state();
            if let Some(recent) = state.recent.of(team, after, most) {
                return recent;
            }
            let may_have = |teams: &HashMap<Uid, TeamPart>| teams.get(team).is_some_and(|part| part.last > after);
            let sealed = state.sealed.iter().filter(|segment| may_have(&segment.teams));
            let mut parts: Vec<Part> =
                sealed.map(|segment| Part { path: segment.path.clone(), bytes: segment.bytes }).collect();
            if may_have(&state.tail.teams) {
                parts.push(Part { path: state.tail.path.clone(), bytes: state.tail.bytes });
            }
            parts
        };
        self.reader.settled_after(&parts, team, after, most)
    }

    /// Every settlement that is left of these teams, in order. Reads one segment after the other, and holds no more than one: the
    /// journal may be as large as the memory.
    pub fn each_settled(&self, of: &[Uid], mut each: impl FnMut(&Settled)) {
        let parts: Vec<Part> = {
            let state = self.state();
            let may_have = |teams: &HashMap<Uid, TeamPart>| of.iter().any(|team| teams.contains_key(team));
            let sealed = state.sealed.iter().filter(|segment| may_have(&segment.teams));
            let sealed = sealed.map(|segment| Part { path: segment.path.clone(), bytes: segment.bytes });
            let tail =
                may_have(&state.tail.teams).then(|| Part { path: state.tail.path.clone(), bytes: state.tail.bytes });
            sealed.chain(tail).collect()
        };
        for part in &parts {
            match part.settled() {
                Ok(settled) => {
                    let is_one = |settled: &&Arc<Settled>| settled.intent.owners().any(|owner| of.contains(owner));
                    settled.iter().filter(is_one).for_each(|one| each(one));
                }
                Err(error) => {
                    tracing::error!(segment = %part.path.display(), %error, "a segment of the journal cannot be read");
                }
            }
        }
    }

    /// Settlements of calls that earlier processes admitted since then, as far as they are still there. Reads the segments that were
    /// written since, one after the other.
    pub fn each_admitted_before(&self, since: Timestamp, mut each: impl FnMut(&Settled)) {
        let parts: Vec<Part> = {
            let state = self.state();
            let sealed = state.sealed.iter().map(|segment| (&segment.path, segment.bytes));
            let all = sealed.chain([(&state.tail.path, state.tail.bytes)]);
            all.map(|(path, bytes)| Part { path: path.clone(), bytes }).collect()
        };
        for part in parts.iter().filter(|part| part.may_be_written_since(since)) {
            match part.settled() {
                Ok(settled) => {
                    let is_one =
                        |it: &&Arc<Settled>| it.settlement.intent < self.first && it.intent.admitted_at >= since;
                    settled.iter().filter(is_one).for_each(|one| each(one));
                }
                Err(error) => {
                    tracing::error!(segment = %part.path.display(), %error, "a segment of the journal cannot be read");
                }
            }
        }
    }

    /// The settlements of a team that the store is not known to have: those after the first number, up to the second one. None:
    /// it has all.
    pub fn untold(&self, team: &Uid) -> Option<(u64, u64)> {
        let state = self.state();
        let Progress { last, acknowledged, is_refused: _ } = *state.teams.get(team)?;
        (last > acknowledged).then_some((acknowledged, last))
    }

    /// Whether more than half of it is spend that the store has not taken. What is only kept in case the store loses it does not
    /// count: it goes by itself where room is needed.
    pub fn is_pressed(&self) -> bool {
        self.state().is_pressed()
    }

    /// The store has a team's settlements up to this number. A smaller one than before takes that back: the store has lost
    /// some, and gets them again.
    pub fn acknowledged(&self, team: &Uid, upto: u64) {
        if let Some(team) = self.state().teams.get_mut(team) {
            team.is_refused &= upto <= team.acknowledged;
            team.acknowledged = upto;
        }
    }
}
