//! What there is that the store keeps accounts of: for the sweeper, which removes what is gone. Pure.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use vectoll_config::{ObjectName, v1::MAX_TREE_DEPTH};
use vectoll_crds::{TeamSpec, TeamStatus};

use super::{cluster_state::ClusterState, tracked::Tracked};
use crate::{
    allocation::{Allocation, Allocations},
    store::sweep::{Census, CountedTeam},
};

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
        allocations: Arc::new(allocations(cluster)),
        ..Census::default()
    })
}

/// What keys spend for, by the accounts of their Teams and their own. Whoever claims an account says so only where nobody else has it.
fn allocations(cluster: &ClusterState) -> Allocations {
    let (mut own, mut claimed) = (Allocations::new(), Vec::new());
    for (name, seen) in cluster.api_keys.iter() {
        let key = &seen.value;
        let of = &key.object.spec.team_ref;
        let teams = lineage(cluster, ObjectName::new(of.namespace.as_deref().unwrap_or(name.namespace()), &of.name));
        let Some(team) = teams.first() else { continue };
        let of_teams = teams.iter().map(|team| (team.object.spec.cost_center.as_deref(), &*team.labels));
        let of_key = (key.object.spec.cost_center.as_deref(), &*key.labels);
        let says: Vec<_> = [of_key].into_iter().chain(of_teams).collect();
        let allocation = Allocation::of(&says, &cluster.spend_labels);
        for team_account in [Some(&team.object.uid), team.object.account.as_ref()].into_iter().flatten() {
            own.entry(team_account.clone()).or_default().insert(key.object.uid.clone(), allocation.clone());
            claimed.extend(
                key.object.account.as_ref().map(|account| (team_account.clone(), account.clone(), allocation.clone())),
            );
        }
    }
    for (team, key, allocation) in claimed {
        own.entry(team).or_default().entry(key).or_insert(allocation);
    }
    own
}

/// A Team and those above it.
fn lineage(cluster: &ClusterState, team: ObjectName) -> Vec<&Tracked<TeamSpec, TeamStatus>> {
    let (mut found, mut next) = (Vec::new(), Some(team));
    // Who stands above himself is stopped elsewhere.
    while let Some(name) = next.take().filter(|_| found.len() < MAX_TREE_DEPTH) {
        let Some(seen) = cluster.teams.get(&name) else { break };
        let team = &seen.value;
        let above = team.object.spec.parent_ref.as_ref();
        next = above.map(|above| ObjectName::new(above.namespace.as_deref().unwrap_or(name.namespace()), &above.name));
        found.push(team);
    }
    found
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
    fn keys_spend_for_what_they_say_or_else_for_what_their_team_or_those_above_say() {
        let mut cluster = ClusterState { spend_labels: ["app".to_owned()].into(), ..ClusterState::default() };
        let teams = [
            ("org", serde_json::json!({"costCenter": "1000"}), serde_json::json!({"app": "all"})),
            ("web", serde_json::json!({"parentRef": {"name": "org"}}), serde_json::json!({"other": "x"})),
        ];
        for (version, (name, spec, labels)) in (1..).zip(teams) {
            let team: Raw<Team> = serde_json::from_value(serde_json::json!({"metadata":
                {"name": name, "namespace": "apps", "uid": format!("T-{name}"), "labels": labels}, "spec": spec}))
            .unwrap();
            cluster.teams.put(ObjectName::new("apps", name), version, cluster_state::tracked(team, None).unwrap());
        }
        let keys = [
            ("alice", serde_json::json!({"teamRef": {"name": "web"}}), None),
            ("bob", serde_json::json!({"teamRef": {"name": "web"}, "costCenter": "4711"}), Some("K-gone")),
            ("claims", serde_json::json!({"teamRef": {"name": "web"}, "costCenter": "666"}), Some("K-alice")),
            ("stray", serde_json::json!({"teamRef": {"name": "gone"}, "costCenter": "1"}), None),
        ];
        for (version, (name, spec, account)) in (10..).zip(keys) {
            let mut json = serde_json::json!({"metadata": {"name": name, "namespace": "apps", "uid": format!("K-{name}")}, "spec": spec});
            if let Some(account) = account {
                json["metadata"]["annotations"] = serde_json::json!({"vectoll.dev/account": account});
            }
            let key: Raw<vectoll_crds::ApiKey> = serde_json::from_value(json).unwrap();
            cluster.api_keys.put(ObjectName::new("apps", name), version, cluster_state::tracked(key, None).unwrap());
        }
        let found = allocations(&cluster);
        let of_web: Vec<String> =
            found.values().next().unwrap().iter().map(|(key, allocation)| format!("{key} {allocation}")).collect();
        assert_eq!(found.len(), 1);
        let (own, of_key) =
            (r#"{"costCenter":"1000","labels":{"app":"all"}}"#, r#"{"costCenter":"4711","labels":{"app":"all"}}"#);
        let claims = r#"{"costCenter":"666","labels":{"app":"all"}}"#;
        // Whoever claims the account of a key that is there has no say in what it spends for.
        let expected = [("K-alice", own), ("K-bob", of_key), ("K-claims", claims), ("K-gone", of_key)];
        assert_eq!(of_web, expected.map(|(key, says)| format!("{key} {says}")));
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
