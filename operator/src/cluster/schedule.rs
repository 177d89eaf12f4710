//! Which namespace is judged next. Pure: times are arguments.
//!
//! Namespaces are judged one by one, so that each costs only itself. Whoever takes long, or changes all the time, waits for three times
//! as long as it took: the time of the one loop is shared out among all of them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Changes come in flocks: judging waits so long for the rest of them.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How many times as long as it took a namespace waits until it is judged again.
const COOLDOWN_FACTOR: u32 = 3;
/// What waits for so long is as urgent as what people do.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Every namespace is looked at so often, although nothing has changed.
pub(super) const RESYNC_PERIOD: Duration = Duration::from_mins(10);

/// Why a namespace is to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// There was more to do in it than one plan takes on.
    Rest,
    /// Something that was counted, or that others have changed.
    Normal,
    /// Somebody has changed something in it, or its time has come.
    High,
}

#[derive(Debug)]
struct Entry {
    wanted: Option<(Urgency, Instant)>,
    /// It is being judged: never twice at a time, or an older plan could take the place of a newer one.
    judging: bool,
    not_before: Instant,
    /// When to look again though nothing changes.
    due: Option<Instant>,
    /// When it was judged last.
    judged: Option<Instant>,
}

/// When which namespace is to be judged.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: BTreeMap<String, Entry>,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Judge this one.
    Judge(String),
    /// Look again at this time.
    Wait(Instant),
}

impl Schedule {
    /// A namespace is to be judged.
    pub(super) fn want(&mut self, namespace: &str, urgency: Urgency, now: Instant) {
        if let Some(entry) = self.entries.get_mut(namespace) {
            entry.wanted = Some(match entry.wanted {
                // Whoever has waited keeps its place.
                Some((known, since)) if known >= urgency => (known, since),
                Some(_) | None => (urgency, now),
            });
        } else {
            let entry =
                Entry { wanted: Some((urgency, now)), judging: false, not_before: now, due: None, judged: None };
            self.entries.insert(namespace.to_owned(), entry);
        }
    }

    /// The namespace that is judged next. `rest` says whether there is room for what one plan could not take on.
    pub(super) fn next(&mut self, rest: bool, now: Instant) -> Next {
        let mut best: Option<(Urgency, Instant, &str)> = None;
        let mut wait = now + RESYNC_PERIOD;
        for (namespace, entry) in self.entries.iter().filter(|(_, entry)| !entry.judging) {
            let due = entry.due.map(|due| (Urgency::High, due));
            let resync = entry.judged.map(|judged| (Urgency::Normal, judged + RESYNC_PERIOD));
            let wanted = entry.wanted.filter(|(urgency, _)| rest || *urgency > Urgency::Rest);
            // Nothing waits for ever behind those that change all the time.
            let aged = |(urgency, since): (Urgency, Instant)| {
                let is_old = urgency == Urgency::Normal && now.saturating_duration_since(since) >= MAX_WAIT;
                (if is_old { Urgency::High } else { urgency }, since)
            };
            let wanted = wanted
                .map(aged)
                .map(|(urgency, since)| (urgency, if urgency == Urgency::High { since + DEBOUNCE } else { since }));
            for (urgency, from) in [wanted, due, resync].into_iter().flatten() {
                let from = from.max(entry.not_before);
                if from > now {
                    wait = wait.min(from);
                } else if best.is_none_or(|(most, since, _)| urgency > most || urgency == most && from < since) {
                    best = Some((urgency, from, namespace));
                }
            }
        }
        match best.map(|(_, _, namespace)| namespace.to_owned()) {
            Some(namespace) => {
                if let Some(entry) = self.entries.get_mut(&namespace) {
                    entry.wanted = None;
                    entry.due = None;
                    entry.judging = true;
                }
                Next::Judge(namespace)
            }
            None => Next::Wait(wait),
        }
    }

    /// A namespace was judged in so much time, and is to be looked at again when that is due.
    pub(super) fn judged(&mut self, namespace: &str, took: Duration, due: Option<Instant>, now: Instant) {
        if let Some(entry) = self.entries.get_mut(namespace) {
            entry.judging = false;
            entry.not_before = now + COOLDOWN_FACTOR * took;
            entry.due = due;
            entry.judged = Some(now);
        }
    }

    /// It could not be judged: again after a pause.
    pub(super) fn failed(&mut self, namespace: &str, pause: Duration, now: Instant) {
        self.want(namespace, Urgency::High, now);
        if let Some(entry) = self.entries.get_mut(namespace) {
            entry.judging = false;
            entry.not_before = now + pause;
        }
    }

    /// There is nothing in it any more.
    pub(super) fn forget(&mut self, namespace: &str) {
        if self.entries.get(namespace).is_some_and(|entry| entry.wanted.is_none()) {
            self.entries.remove(namespace);
        }
    }

    /// How many namespaces are to be judged.
    pub(super) fn waiting(&self) -> usize {
        self.entries.values().filter(|entry| entry.wanted.is_some()).count()
    }

    /// Another replica acts now.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(namespace: &str) -> Next {
        Next::Judge(namespace.to_owned())
    }

    #[test]
    fn what_people_do_goes_first_and_whoever_waits_longest_among_equals() {
        let begin = Instant::now();
        let later = |millis: u64| begin + Duration::from_millis(millis);
        let mut schedule = Schedule::default();
        schedule.want("counted", Urgency::Normal, begin);
        schedule.want("second", Urgency::High, later(2));
        schedule.want("first", Urgency::High, later(1));
        schedule.want("second", Urgency::Normal, later(3));
        schedule.want("mass", Urgency::Rest, begin);
        assert_eq!(schedule.next(true, later(10)), judge("counted"), "the others may not be all");
        assert_eq!(schedule.next(true, later(30)), judge("first"));
        assert_eq!(schedule.next(true, later(30)), judge("second"));
        schedule.judged("first", Duration::ZERO, None, later(30));
        assert!(matches!(schedule.next(false, later(30)), Next::Wait(_)), "there is no room");
        assert_eq!(schedule.next(true, later(30)), judge("mass"));
        assert!(matches!(schedule.next(true, later(30)), Next::Wait(_)));
    }

    #[test]
    fn whoever_takes_long_waits_for_long() {
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        let mut schedule = Schedule::default();
        schedule.want("large", Urgency::High, begin);
        let now = begin + second;
        assert_eq!(schedule.next(true, now), judge("large"));
        schedule.judged("large", second, None, now);
        schedule.want("large", Urgency::High, now);
        schedule.want("small", Urgency::High, now + second);
        assert_eq!(schedule.next(true, now + 2 * second), judge("small"));
        assert_eq!(schedule.next(true, now + 2 * second), Next::Wait(now + 3 * second));
        assert_eq!(schedule.next(true, now + 3 * second), judge("large"));
    }

    #[test]
    fn what_is_due_and_what_was_not_looked_at_for_long_is_judged_although_nothing_changed() {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        schedule.want("apps", Urgency::High, begin);
        let now = begin + DEBOUNCE;
        assert_eq!(schedule.next(true, now), judge("apps"));
        let due = now + Duration::from_mins(1);
        schedule.judged("apps", Duration::ZERO, Some(due), now);
        assert_eq!(schedule.next(true, now), Next::Wait(due));
        assert_eq!(schedule.next(true, due), judge("apps"));
        schedule.judged("apps", Duration::ZERO, None, due);
        assert_eq!(schedule.next(true, due), Next::Wait(due + RESYNC_PERIOD));
        assert_eq!(schedule.next(true, due + RESYNC_PERIOD), judge("apps"));
        schedule.judged("apps", Duration::ZERO, None, due + RESYNC_PERIOD);
        schedule.forget("apps");
        assert!(matches!(schedule.next(true, due + 2 * RESYNC_PERIOD), Next::Wait(_)));
    }

    #[test]
    fn a_namespace_is_judged_once_at_a_time() {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        schedule.want("apps", Urgency::High, begin);
        let now = begin + DEBOUNCE;
        assert_eq!(schedule.next(true, now), judge("apps"));
        schedule.want("apps", Urgency::High, now);
        assert!(
            matches!(schedule.next(true, now + MAX_WAIT), Next::Wait(_)),
            "an older plan must not come after a newer one"
        );
        schedule.judged("apps", Duration::ZERO, None, now);
        assert_eq!(schedule.next(true, now + MAX_WAIT), judge("apps"));
        schedule.want("apps", Urgency::High, now);
        schedule.failed("apps", MAX_WAIT, now);
        assert_eq!(schedule.next(true, now + MAX_WAIT), judge("apps"));
    }

    #[test]
    fn what_is_counted_does_not_wait_for_ever_behind_what_changes_all_the_time() {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        schedule.want("counted", Urgency::Normal, begin);
        schedule.want("busy", Urgency::High, begin);
        let soon = begin + DEBOUNCE;
        assert_eq!(schedule.next(true, soon), judge("busy"));
        schedule.judged("busy", Duration::ZERO, None, soon);
        schedule.want("busy", Urgency::High, soon);
        assert_eq!(schedule.next(true, begin + MAX_WAIT), judge("counted"));
    }
}
