//! Teams whose exchanges the store does not take, and until when they are left alone.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use vectoll_config::Uid;

/// Those Teams.
#[derive(Debug, Default)]
pub(super) struct Backoff(BTreeMap<Uid, Why>);

#[derive(Debug)]
struct Why {
    words: String,
    since: Instant,
    until: Instant,
}

impl Backoff {
    /// Leaves a Team alone for a while. Returns whether this reason is news.
    pub(super) fn leave(&mut self, team: &Uid, why: &str, pause: Duration) -> bool {
        let now = Instant::now();
        let before = self.0.remove(team);
        let is_new = before.as_ref().is_none_or(|before| before.words != why);
        let since = before.map_or(now, |before| before.since);
        self.0.insert(team.clone(), Why { words: why.to_owned(), since, until: now + pause });
        is_new
    }

    /// For how much longer; none: it is not.
    pub(super) fn still(&self, team: &Uid) -> Option<Duration> {
        let pause = self.0.get(team)?.until.saturating_duration_since(Instant::now());
        (pause > Duration::ZERO).then_some(pause)
    }

    /// For how long it has been, pauses and all.
    pub(super) fn so_far(&self, team: &Uid) -> Duration {
        self.0.get(team).map_or(Duration::ZERO, |why| why.since.elapsed())
    }

    /// It was answered, or is forgotten.
    pub(super) fn no_more(&mut self, team: &Uid) {
        self.0.remove(team);
    }
}
