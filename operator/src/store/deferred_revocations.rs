//! What is needed no more and is taken away only later: a sidecar may still have spend to tell. Pure.
//!
//! A key that is deleted, a Team that is no longer shared, a pod that goes: the calls before that have been charged, and the
//! sidecar that made them still has to book them. So grants and users outlive their need for a while. An operator that starts
//! cannot know how long they have, so for it the while begins anew; so it does after an outage, in which nobody could book.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::users::{UsersByName, ours, present};

/// How long.
pub const REVOCATION_DELAY: Duration = Duration::from_mins(10);

/// What lingers.
#[derive(Debug, Default)]
pub struct DeferredRevocations {
    /// What was wanted and lingered last.
    last: UsersByName,
    /// Since when something is not wanted: a grant of a namespace, or, without a pattern, its user.
    since: BTreeMap<(String, Option<String>), Instant>,
}

impl DeferredRevocations {
    /// The time before does not count.
    pub fn begin_anew(&mut self, now: Instant) {
        for since in self.since.values_mut() {
            *since = now;
        }
    }

    /// What is wanted, and what was wanted or is on one of the servers (their `ACL LIST`s) and has not lingered for long enough.
    pub fn with(&mut self, scope: &str, wanted: &UsersByName, lists: &[&[String]], now: Instant) -> UsersByName {
        let mut before = std::mem::take(&mut self.last);
        for (namespace, rules) in lists.iter().flat_map(|list| ours(scope, list)) {
            let there = present(namespace, rules);
            match before.get_mut(namespace) {
                Some(user) => user.keys.extend(there.keys),
                None => drop(before.insert(namespace.to_owned(), there)),
            }
        }
        let mut surplus = BTreeSet::new();
        let mut lingers = |namespace: &str, pattern: Option<&String>| {
            let what = (namespace.to_owned(), pattern.cloned());
            let since = *self.since.entry(what.clone()).or_insert(now);
            surplus.insert(what);
            now.duration_since(since) < REVOCATION_DELAY
        };
        let mut all = wanted.clone();
        for (namespace, user) in before {
            match all.get_mut(&namespace) {
                Some(wanted) => {
                    let not_wanted: Vec<&String> = user.keys.difference(&wanted.keys).collect();
                    let stay: Vec<String> =
                        not_wanted.into_iter().filter(|pattern| lingers(&namespace, Some(pattern))).cloned().collect();
                    wanted.keys.extend(stay);
                }
                None if lingers(&namespace, None) => drop(all.insert(namespace, user)),
                None => {}
            }
        }
        self.since.retain(|what, _| surplus.contains(what));
        self.last = all.clone();
        all
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_config::{KeyHash, Uid};

    use super::*;
    use crate::store::{Step, User, plan};

    fn user(teams: &[&str]) -> User {
        let teams: Vec<Uid> = teams.iter().map(|team| Uid::new(team)).collect();
        User::of("one", "apps", &teams, [KeyHash::of(b"password")])
    }

    fn wanted(teams: &[&str]) -> UsersByName {
        [("apps".to_owned(), user(teams))].into()
    }

    #[test]
    fn a_grant_outlives_its_need_for_a_while() {
        let (mut lingering, begin) = (DeferredRevocations::default(), Instant::now());
        assert_eq!(lingering.with("s", &wanted(&["a", "b"]), &[], begin), wanted(&["a", "b"]));
        let later = begin + Duration::from_hours(1);
        assert_eq!(lingering.with("s", &wanted(&["a"]), &[], later), wanted(&["a", "b"]));
        assert_eq!(lingering.with("s", &wanted(&["a"]), &[], later + REVOCATION_DELAY / 2), wanted(&["a", "b"]));
        assert_eq!(lingering.with("s", &wanted(&["a"]), &[], later + REVOCATION_DELAY), wanted(&["a"]));
        // Needed again in between: it begins anew.
        lingering.with("s", &wanted(&["a", "b"]), &[], later + REVOCATION_DELAY);
        assert_eq!(lingering.with("s", &wanted(&["a"]), &[], later + 2 * REVOCATION_DELAY), wanted(&["a", "b"]));
    }

    #[test]
    fn a_user_outlives_its_namespace_for_a_while() {
        let (mut lingering, begin) = (DeferredRevocations::default(), Instant::now());
        lingering.with("s", &wanted(&["a"]), &[], begin);
        assert_eq!(lingering.with("s", &UsersByName::new(), &[], begin), wanted(&["a"]));
        assert_eq!(lingering.with("s", &UsersByName::new(), &[], begin + REVOCATION_DELAY), UsersByName::new());
    }

    #[test]
    fn an_operator_that_starts_gives_what_it_finds_its_while() {
        let list = [format!("user vectoll-ns-s:apps {} ~*", user(&["a", "b"]).rules().join(" "))];
        let (mut lingering, begin) = (DeferredRevocations::default(), Instant::now());
        let found = lingering.with("s", &wanted(&["a"]), &[&list], begin);
        assert_eq!(found, wanted(&["a", "b"]), "and what is nobody's does not stay");
        assert!(matches!(plan("s", &found, &list).as_slice(), [Step::Set { .. }]));
        assert_eq!(lingering.with("s", &UsersByName::new(), &[&list], begin), wanted(&["a", "b"]));
        // As long as nobody could book, no time has passed.
        lingering.begin_anew(begin + REVOCATION_DELAY);
        assert_eq!(lingering.with("s", &UsersByName::new(), &[&list], begin + REVOCATION_DELAY), wanted(&["a", "b"]));
        assert_eq!(
            lingering.with("s", &UsersByName::new(), &[&list], begin + 2 * REVOCATION_DELAY),
            UsersByName::new()
        );
    }

    #[test]
    fn a_gateway_keeps_all_teams_when_an_operator_starts_that_has_not_looked_at_any_namespace_yet() {
        let gateway = User::of_all("s", "_gateway", [KeyHash::of(b"password")]);
        let list = [format!("user vectoll-ns-s:_gateway {}", gateway.rules().join(" "))];
        let found = DeferredRevocations::default().with("s", &UsersByName::new(), &[&list], Instant::now());
        assert_eq!(found, [("_gateway".to_owned(), gateway)].into());
    }
}
