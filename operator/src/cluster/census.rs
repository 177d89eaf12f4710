//! What there is that the store keeps accounts of: for the sweeper, which removes what is gone. Pure.

use std::{collections::BTreeMap, time::Instant};

use super::cluster_state::ClusterState;
use crate::store::sweep::{Census, CountedTeam};

/// Counts what is known. None: something is yet to be listed in a namespace that does not refuse it. How long things are kept is not
/// its business.
pub(super) fn take(cluster: &ClusterState, scope: &str, now: Instant) -> Option<Census> {
    if !cluster.watches.are_synced() {
        return None;
    }
    let (mut claimed_teams, mut own_teams) = (BTreeMap::<String, CountedTeam>::new(), BTreeMap::new());
    for (name, seen) in cluster.teams.iter() {
        let team = &seen.value;
        // Of one that was never read nobody knows how many users it is to have.
        let most_users = if team.was_read() { u64::from(team.object.spec.max_users) } else { u64::MAX };
        let counted = CountedTeam { namespace: name.namespace().to_owned(), most_users };
        // Anybody can claim an account: whose it is has the say, and of several claims the larger one.
        if let Some(account) = &team.object.account {
            let known = claimed_teams.entry(account.to_string()).or_insert_with(|| counted.clone());
            if counted.most_users > known.most_users {
                *known = counted.clone();
            }
        }
        own_teams.insert(team.object.uid.to_string(), counted);
    }
    let mut teams = claimed_teams;
    teams.extend(own_teams);
    let keys = || cluster.api_keys.iter().map(|(name, seen)| (&seen.value.object, name.namespace()));
    let claimed_keys = keys().filter_map(|(key, namespace)| Some((key.account.as_ref()?, namespace)));
    let own_keys = keys().map(|(key, namespace)| (&key.uid, namespace));
    let keys = claimed_keys.chain(own_keys).map(|(uid, namespace)| (uid.to_string(), namespace.to_owned()));
    let routes = cluster.routes.iter().map(|(name, seen)| {
        let backends = seen.value.object.spec.backends.iter().map(|backend| backend.name.clone()).collect();
        (name.to_string(), (seen.value.unreadable.is_none()).then_some(backends))
    });
    let pods = cluster.pods.iter().map(|(name, _)| name.namespace());
    let with_keys = cluster.api_keys.iter().map(|(name, _)| name.namespace());
    Some(Census {
        scope: scope.to_owned(),
        teams,
        keys: keys.collect(),
        routes: routes.collect(),
        namespaces: pods.chain(with_keys).map(str::to_owned).collect(),
        unheard: cluster.watches.unheard(now),
        ..Census::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_config::ObjectName;
    use vectoll_crds::Team;

    use super::*;
    use crate::cluster::{cluster_state, raw::Raw, watches::WatchOf};

    #[test]
    fn whoever_claims_anothers_account_has_no_say_in_how_it_is_kept() {
        let mut cluster = ClusterState::default();
        for (version, namespace, uid, account, max_users) in [
            (1, "apps", "own", None, 300_000),
            (2, "zzz", "strange", Some("own"), 1),
            (3, "zzz2", "other", Some("gone"), 7),
        ] {
            let mut json = serde_json::json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "Team",
                "metadata": {"name": "team", "namespace": namespace, "uid": uid}, "spec": {"maxUsers": max_users}});
            if let Some(account) = account {
                json["metadata"]["annotations"] = serde_json::json!({"vectoll.dev/account": account});
            }
            let team: Raw<Team> = serde_json::from_value(json).unwrap();
            let name = ObjectName::new(namespace, "team");
            cluster.teams.put(name, version, cluster_state::tracked(team, None).unwrap());
        }
        let teams = take(&cluster, "one", Instant::now()).unwrap().teams;
        assert_eq!((&*teams["own"].namespace, teams["own"].most_users), ("apps", 300_000));
        assert_eq!((&*teams["gone"].namespace, teams["strange"].most_users), ("zzz2", 1));
    }

    #[test]
    fn a_namespace_that_refuses_to_be_listed_is_counted_as_unknown_and_the_others_as_they_are() {
        let of = |namespace: &str| WatchOf { what: "Team".to_owned(), namespace: Some(namespace.to_owned()) };
        let (mut cluster, now) = (ClusterState::default(), Instant::now());
        cluster.watches.begin(of("apps"));
        cluster.watches.begin(of("shut"));
        cluster.watches.failed(&of("shut"), true, now);
        assert_eq!(take(&cluster, "one", now), None, "nothing is known of a namespace that does not refuse");
        cluster.watches.on_answer(&of("apps"), true);
        let census = take(&cluster, "one", now).unwrap();
        assert_eq!(census.unheard, ["shut".to_owned()].into());
        assert!(census.covers(Some("apps")) && !census.covers(Some("shut")) && !census.covers(None));
    }
}
