//! Teams whose exchanges the store does not take, and until when they are left alone.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use vectoll_config::Uid;

/// Why, and until when.
#[derive(Debug, Default)]
pub(super) struct LeftAlone(BTreeMap<Uid, (String, Instant)>);

impl LeftAlone {
    /// Leaves a Team alone for a while. Returns whether this reason is news.
    pub(super) fn leave(&mut self, team: &Uid, why: &str, pause: Duration) -> bool {
        let before = self.0.insert(team.clone(), (why.to_owned(), Instant::now() + pause));
        before.is_none_or(|(before, _)| before != why)
    }

    /// For how much longer; none: it is not.
    pub(super) fn still(&self, team: &Uid) -> Option<Duration> {
        let (_, until) = self.0.get(team)?;
        let pause = until.saturating_duration_since(Instant::now());
        (pause > Duration::ZERO).then_some(pause)
    }

    /// It was answered.
    pub(super) fn no_more(&mut self, team: &Uid) {
        self.0.remove(team);
    }
}
