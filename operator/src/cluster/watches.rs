//! How the watches fare: whether everything has been listed, and whose trouble it is where something cannot be. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// A leader that has not been able to watch for so long gives the Lease up: another replica may be able to.
const GIVE_UP_AFTER: Duration = Duration::from_mins(2);
/// Errors that are further apart than this, twice the longest pause between two attempts, have nothing to do with each other.
const ERROR_GAP: Duration = Duration::from_mins(1);

/// What is watched: a kind, in one namespace or in all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WatchOf {
    pub(super) what: String,
    /// The namespace; none: all of them.
    pub(super) namespace: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    /// Everything was listed once.
    synced: bool,
    /// The first and the last of the errors that came one after the other.
    errors: Option<(Instant, Instant)>,
    /// When this namespace alone was last refused.
    refused: Option<Instant>,
}

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Watches(BTreeMap<WatchOf, State>);

impl Watches {
    /// Something is to be watched.
    pub(super) fn begin(&mut self, of: WatchOf) {
        self.0.insert(of, State::default());
    }

    /// Something was heard; `listed`: everything was.
    pub(super) fn on_answer(&mut self, of: &WatchOf, listed: bool) {
        let state = self.0.entry(of.clone()).or_default();
        state.synced |= listed;
        state.errors = None;
        state.refused = None;
    }

    /// It failed. `refused`: what may not be seen is this namespace alone.
    pub(super) fn failed(&mut self, of: &WatchOf, refused: bool, now: Instant) {
        let state = self.0.entry(of.clone()).or_default();
        let first =
            state.errors.filter(|(_, last)| now.duration_since(*last) < ERROR_GAP).map_or(now, |(first, _)| first);
        state.errors = Some((first, now));
        if refused && of.namespace.is_some() {
            state.refused = Some(now);
        }
    }

    /// Whether all there is has been heard of at least once, but for namespaces that refuse to be seen.
    pub(super) fn are_synced(&self) -> bool {
        self.0.values().all(|state| state.synced || state.refused.is_some())
    }

    /// Whether what is known of a namespace is all there is. What stands there stays as it is while it is not.
    pub(super) fn is_heard(&self, namespace: &str, now: Instant) -> bool {
        self.0.iter().filter(|(of, _)| of.namespace.as_deref() == Some(namespace)).all(|(_, state)| {
            let is_refused = state.refused.is_some_and(|at| !state.synced || now.duration_since(at) < ERROR_GAP);
            !is_refused
        })
    }

    /// The namespaces of which it is not known what there is.
    pub(super) fn unheard(&self, now: Instant) -> BTreeSet<String> {
        let namespaces = self.0.keys().filter_map(|of| of.namespace.as_deref());
        namespaces.filter(|namespace| !self.is_heard(namespace, now)).map(str::to_owned).collect()
    }

    /// Whether this replica has been unable to watch for too long to act. A namespace that refuses to be seen is its own trouble.
    pub(super) fn have_failed(&self, now: Instant) -> bool {
        let has_failed = |state: &State| {
            state.refused.is_none()
                && state.errors.is_some_and(|(first, last)| {
                    last.duration_since(first) >= GIVE_UP_AFTER && now.duration_since(last) < ERROR_GAP
                })
        };
        self.0.values().any(has_failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(namespace: Option<&str>) -> WatchOf {
        WatchOf { what: "ApiKey".to_owned(), namespace: namespace.map(str::to_owned) }
    }

    #[test]
    fn a_namespace_that_refuses_to_be_seen_holds_nobody_else_up() {
        let begin = Instant::now();
        let mut watches = Watches::default();
        watches.begin(of(Some("apps")));
        watches.begin(of(Some("shut")));
        assert!(!watches.are_synced());
        watches.on_answer(&of(Some("apps")), true);
        watches.failed(&of(Some("shut")), true, begin);
        assert!(watches.are_synced() && watches.is_heard("apps", begin));
        assert_eq!(watches.unheard(begin), ["shut".to_owned()].into());
        let later = begin + Duration::from_hours(1);
        assert!(!watches.is_heard("shut", later), "nothing was ever listed there");
        assert!(!watches.have_failed(later));
        watches.on_answer(&of(Some("shut")), true);
        assert!(watches.is_heard("shut", later) && watches.unheard(later).is_empty());
        // Refused later, and let in again without a word: nothing may have happened there.
        watches.failed(&of(Some("shut")), true, later);
        assert!(!watches.is_heard("shut", later + Duration::from_secs(59)));
        assert!(watches.is_heard("shut", later + ERROR_GAP));
    }

    #[test]
    fn who_cannot_watch_for_two_minutes_gives_up_and_one_error_is_none() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut watches = Watches::default();
        watches.begin(of(None));
        watches.on_answer(&of(None), true);
        watches.failed(&of(None), true, at(0));
        assert!(watches.is_heard("apps", at(0)), "all of them are refused: that is nobody's own trouble");
        assert!(!watches.have_failed(at(119)));
        for seconds in [30, 60, 90] {
            watches.failed(&of(None), false, at(seconds));
        }
        assert!(!watches.have_failed(at(90)));
        watches.failed(&of(None), false, at(120));
        assert!(watches.have_failed(at(121)));
        assert!(!watches.have_failed(at(181)), "it is not tried any more in vain: it is quiet");
        watches.on_answer(&of(None), false);
        assert!(!watches.have_failed(at(122)));
        // Errors that are far apart.
        watches.failed(&of(None), false, at(200));
        watches.failed(&of(None), false, at(400));
        assert!(!watches.have_failed(at(401)));
    }
}
