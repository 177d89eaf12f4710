//! What there is that the store keeps accounts of: for the sweeper, which removes what is gone. Pure.

use std::{collections::BTreeMap, time::Instant};

use vectoll_config::Uid;

use super::observed::Observed;
use crate::store::sweep::{Census, CountedTeam};

/// Counts what is known. None: something is yet to be listed in a namespace that does not refuse it. How long things are kept is not
/// its business.
pub(super) fn take(observed: &Observed, scope: &str, now: Instant) -> Option<Census> {
    if !observed.watches.are_synced() {
        return None;
    }
    let mut teams = BTreeMap::new();
    for (name, seen) in observed.teams.iter() {
        let team = &seen.value;
        // Of one that was never read nobody knows how many users it is to have.
        let most_users = if team.was_read() { u64::from(team.object.spec.max_users) } else { u64::MAX };
        for account in accounts(&team.object.uid, team.object.account.as_ref()) {
            teams.insert(account, CountedTeam { namespace: name.namespace().to_owned(), most_users });
        }
    }
    let mut keys = BTreeMap::new();
    for (name, seen) in observed.api_keys.iter() {
        for account in accounts(&seen.value.object.uid, seen.value.object.account.as_ref()) {
            keys.insert(account, name.namespace().to_owned());
        }
    }
    let routes = observed.routes.iter().map(|(name, seen)| {
        let backends = seen.value.object.spec.backends.iter().map(|backend| backend.name.clone()).collect();
        (name.to_string(), (seen.value.fault.is_none()).then_some(backends))
    });
    let pods = observed.pods.iter().map(|(name, _)| name.namespace());
    let with_keys = observed.api_keys.iter().map(|(name, _)| name.namespace());
    Some(Census {
        scope: scope.to_owned(),
        teams,
        keys,
        routes: routes.collect(),
        namespaces: pods.chain(with_keys).map(str::to_owned).collect(),
        unheard: observed.watches.unheard(now),
        ..Census::default()
    })
}

/// What a resource is booked under: itself, and the account that it carries on.
fn accounts(uid: &Uid, account: Option<&Uid>) -> Vec<String> {
    [Some(uid), account].into_iter().flatten().map(Uid::to_string).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::cluster::watches::WatchOf;

    #[test]
    fn a_namespace_that_refuses_to_be_listed_is_counted_as_unknown_and_the_others_as_they_are() {
        let of = |namespace: &str| WatchOf { what: "Team".to_owned(), namespace: Some(namespace.to_owned()) };
        let (mut observed, now) = (Observed::default(), Instant::now());
        observed.watches.begin(of("apps"));
        observed.watches.begin(of("shut"));
        observed.watches.failed(&of("shut"), true, now);
        assert_eq!(take(&observed, "one", now), None, "nothing is known of a namespace that does not refuse");
        observed.watches.heard(&of("apps"), true);
        let census = take(&observed, "one", now).unwrap();
        assert_eq!(census.unheard, ["shut".to_owned()].into());
        assert!(census.covers(Some("apps")) && !census.covers(Some("shut")) && !census.covers(None));
    }
}
