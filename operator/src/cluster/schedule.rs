//! Which namespace is reconciled next. Pure: times are arguments.
//!
//! Namespaces are reconciled one by one, so that each costs only itself. Whoever takes long, or changes all the time, waits for three times
//! as long as it took: the time of the one loop is shared out among all of them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::ledger::SPEND_READ_PERIOD;

/// Changes come in flocks: reconciling waits so long for the rest of them.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How many times as long as it took a namespace waits until it is reconciled again.
const COOLDOWN_FACTOR: u32 = 3;
/// What waits for so long takes turns with what people do.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// What is only due for a report waits so long after the reconciliation before: thousands of keys that spend all the time have each a moment
/// of its own. The ledger is read as seldom: more often would tell nothing new, and take the loop's time from edits.
const REPORT_PERIOD: Duration = SPEND_READ_PERIOD;
/// Every namespace is looked at so often, although nothing has changed.
pub(super) const RESYNC_PERIOD: Duration = Duration::from_mins(10);

/// Why a namespace is to be reconciled.
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
    /// It is being reconciled: never twice at a time, or an older plan could take the place of a newer one.
    reconciling: bool,
    not_before: Instant,
    /// When to look again though nothing changes.
    due: Due,
    /// When it was reconciled last.
    reconciled: Option<Instant>,
}

/// When to look at a namespace again though nothing changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Something begins or ends then: a key, a value, a password.
    pub(super) change: Option<Instant>,
    /// Something is to be reported then.
    pub(super) report: Option<Instant>,
}

/// When which namespace is to be reconciled.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: BTreeMap<String, Entry>,
    /// What was reconciled last had waited for so long that it took a turn.
    has_yielded: bool,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Reconcile this one.
    Reconcile(String),
    /// Look again at this time.
    Wait(Instant),
}

impl Schedule {
    /// A namespace is to be reconciled.
    pub(super) fn request(&mut self, namespace: &str, urgency: Urgency, now: Instant) {
        if let Some(entry) = self.entries.get_mut(namespace) {
            entry.wanted = Some(match entry.wanted {
                // Whoever has waited keeps its place.
                Some((known, since)) if known >= urgency => (known, since),
                Some(_) | None => (urgency, now),
            });
        } else {
            let entry = Entry {
                wanted: Some((urgency, now)),
                reconciling: false,
                not_before: now,
                due: Due::default(),
                reconciled: None,
            };
            self.entries.insert(namespace.to_owned(), entry);
        }
    }

    /// The namespace that is reconciled next. `rest` says whether there is room for what one plan could not take on.
    pub(super) fn next(&mut self, rest: bool, now: Instant) -> Next {
        let mut best: Option<(Urgency, Instant, &str)> = None;
        // Of what is not urgent, what has waited longest, and too long.
        let mut aged: Option<(Instant, &str)> = None;
        let mut wait = now + RESYNC_PERIOD;
        for (namespace, entry) in self.entries.iter().filter(|(_, entry)| !entry.reconciling) {
            let due = entry.due.change.map(|due| (Urgency::High, due));
            let begun = entry.reconciled.map(|reconciled| reconciled + REPORT_PERIOD);
            let report = entry.due.report.map(|due| (Urgency::Normal, begun.map_or(due, |begun| due.max(begun))));
            let resync = entry.reconciled.map(|reconciled| (Urgency::Normal, reconciled + RESYNC_PERIOD));
            let wanted = entry.wanted.filter(|(urgency, _)| rest || *urgency > Urgency::Rest);
            let wanted = wanted
                .map(|(urgency, since)| (urgency, if urgency == Urgency::High { since + DEBOUNCE } else { since }));
            for (urgency, since) in [wanted, due, report, resync].into_iter().flatten() {
                let from = since.max(entry.not_before);
                if from > now {
                    wait = wait.min(from);
                    continue;
                }
                let is_old = urgency == Urgency::Normal && now.saturating_duration_since(since) >= MAX_WAIT;
                if is_old && aged.is_none_or(|(other, _)| since < other) {
                    aged = Some((since, namespace));
                }
                if best.is_none_or(|(most, since, _)| urgency > most || urgency == most && from < since) {
                    best = Some((urgency, from, namespace));
                }
            }
        }
        // Nothing waits for ever behind those that change all the time, and what people do waits for one of those that wait at most.
        let yields = aged.filter(|_| !self.has_yielded && best.is_some_and(|(urgency, ..)| urgency == Urgency::High));
        let chosen = yields.map(|(_, namespace)| namespace).or(best.map(|(_, _, namespace)| namespace));
        match chosen.map(str::to_owned) {
            Some(namespace) => {
                self.has_yielded = yields.is_some();
                if let Some(entry) = self.entries.get_mut(&namespace) {
                    entry.wanted = None;
                    entry.due = Due::default();
                    entry.reconciling = true;
                }
                Next::Reconcile(namespace)
            }
            None => Next::Wait(wait),
        }
    }

    /// A namespace was reconciled in so much time, and is to be looked at again when that is due.
    pub(super) fn reconciled(&mut self, namespace: &str, took: Duration, due: Due, now: Instant) {
        if let Some(entry) = self.entries.get_mut(namespace) {
            entry.reconciling = false;
            entry.not_before = now + COOLDOWN_FACTOR * took;
            entry.due = due;
            entry.reconciled = Some(now);
        }
    }

    /// It could not be reconciled: again after a pause.
    pub(super) fn failed(&mut self, namespace: &str, pause: Duration, now: Instant) {
        self.request(namespace, Urgency::High, now);
        if let Some(entry) = self.entries.get_mut(namespace) {
            entry.reconciling = false;
            entry.not_before = now + pause;
        }
    }

    /// There is nothing in it any more.
    pub(super) fn forget(&mut self, namespace: &str) {
        if self.entries.get(namespace).is_some_and(|entry| entry.wanted.is_none()) {
            self.entries.remove(namespace);
        }
    }

    /// How many namespaces are to be reconciled.
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

    fn reconcile(namespace: &str) -> Next {
        Next::Reconcile(namespace.to_owned())
    }

    #[test]
    fn what_people_do_goes_first_and_whoever_waits_longest_among_equals() {
        let begin = Instant::now();
        let later = |millis: u64| begin + Duration::from_millis(millis);
        let mut schedule = Schedule::default();
        schedule.request("counted", Urgency::Normal, begin);
        schedule.request("second", Urgency::High, later(2));
        schedule.request("first", Urgency::High, later(1));
        schedule.request("second", Urgency::Normal, later(3));
        schedule.request("mass", Urgency::Rest, begin);
        assert_eq!(schedule.next(true, later(10)), reconcile("counted"), "the others may not be all");
        assert_eq!(schedule.next(true, later(30)), reconcile("first"));
        assert_eq!(schedule.next(true, later(30)), reconcile("second"));
        schedule.reconciled("first", Duration::ZERO, Due::default(), later(30));
        assert!(matches!(schedule.next(false, later(30)), Next::Wait(_)), "there is no room");
        assert_eq!(schedule.next(true, later(30)), reconcile("mass"));
        assert!(matches!(schedule.next(true, later(30)), Next::Wait(_)));
    }

    #[test]
    fn whoever_takes_long_waits_for_long() {
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        let mut schedule = Schedule::default();
        schedule.request("large", Urgency::High, begin);
        let now = begin + second;
        assert_eq!(schedule.next(true, now), reconcile("large"));
        schedule.reconciled("large", second, Due::default(), now);
        schedule.request("large", Urgency::High, now);
        schedule.request("small", Urgency::High, now + second);
        assert_eq!(schedule.next(true, now + 2 * second), reconcile("small"));
        assert_eq!(schedule.next(true, now + 2 * second), Next::Wait(now + 3 * second));
        assert_eq!(schedule.next(true, now + 3 * second), reconcile("large"));
    }

    #[test]
    fn what_is_due_and_what_was_not_looked_at_for_long_is_judged_although_nothing_changed() {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        schedule.request("apps", Urgency::High, begin);
        let now = begin + DEBOUNCE;
        assert_eq!(schedule.next(true, now), reconcile("apps"));
        let due = now + Duration::from_mins(1);
        schedule.reconciled("apps", Duration::ZERO, Due { change: Some(due), report: None }, now);
        assert_eq!(schedule.next(true, now), Next::Wait(due));
        assert_eq!(schedule.next(true, due), reconcile("apps"));
        schedule.reconciled("apps", Duration::ZERO, Due::default(), due);
        assert_eq!(schedule.next(true, due), Next::Wait(due + RESYNC_PERIOD));
        assert_eq!(schedule.next(true, due + RESYNC_PERIOD), reconcile("apps"));
        schedule.reconciled("apps", Duration::ZERO, Due::default(), due + RESYNC_PERIOD);
        schedule.forget("apps");
        assert!(matches!(schedule.next(true, due + 2 * RESYNC_PERIOD), Next::Wait(_)));
    }

    #[test]
    fn a_namespace_is_judged_once_at_a_time() {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        schedule.request("apps", Urgency::High, begin);
        let now = begin + DEBOUNCE;
        assert_eq!(schedule.next(true, now), reconcile("apps"));
        schedule.request("apps", Urgency::High, now);
        assert!(
            matches!(schedule.next(true, now + MAX_WAIT), Next::Wait(_)),
            "an older plan must not come after a newer one"
        );
        schedule.reconciled("apps", Duration::ZERO, Due::default(), now);
        assert_eq!(schedule.next(true, now + MAX_WAIT), reconcile("apps"));
        schedule.request("apps", Urgency::High, now);
        schedule.failed("apps", MAX_WAIT, now);
        assert_eq!(schedule.next(true, now + MAX_WAIT), reconcile("apps"));
    }

    #[test]
    fn what_is_counted_does_not_wait_for_ever_behind_what_changes_all_the_time() {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        schedule.request("counted", Urgency::Normal, begin);
        schedule.request("busy", Urgency::High, begin);
        let soon = begin + DEBOUNCE;
        assert_eq!(schedule.next(true, soon), reconcile("busy"));
        schedule.reconciled("busy", Duration::ZERO, Due::default(), soon);
        schedule.request("busy", Urgency::High, soon);
        assert_eq!(schedule.next(true, begin + MAX_WAIT), reconcile("counted"));
    }

    #[test]
    fn what_people_do_waits_for_one_of_those_that_wait_at_most() {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        for namespace in ["a", "b", "c"] {
            schedule.request(namespace, Urgency::Normal, begin);
        }
        let now = begin + 2 * MAX_WAIT;
        for namespace in ["edited", "edited-too"] {
            schedule.request(namespace, Urgency::High, now);
        }
        let soon = now + DEBOUNCE;
        let order: Vec<Next> = (0..5).map(|_| schedule.next(true, soon)).collect();
        assert_eq!(order, ["a", "edited", "b", "edited-too", "c"].map(reconcile));
    }

    #[test]
    fn reports_of_a_namespace_come_as_often_as_the_ledger_is_read_at_most_and_changes_when_they_are_due() {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        schedule.request("apps", Urgency::High, begin);
        let now = begin + DEBOUNCE;
        assert_eq!(schedule.next(true, now), reconcile("apps"));
        let soon = now + Duration::from_millis(1);
        schedule.reconciled("apps", Duration::ZERO, Due { change: None, report: Some(soon) }, now);
        assert_eq!(schedule.next(true, soon), Next::Wait(now + REPORT_PERIOD));
        assert_eq!(schedule.next(true, now + REPORT_PERIOD), reconcile("apps"));
        let now = now + REPORT_PERIOD;
        let soon = now + Duration::from_millis(1);
        schedule.reconciled("apps", Duration::ZERO, Due { change: Some(soon), report: Some(soon) }, now);
        assert_eq!(schedule.next(true, soon), reconcile("apps"));
    }
}
