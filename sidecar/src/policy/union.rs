//! The policies of many namespaces as one.
//!
//! A key knows its Team, and the Team its routes, as its own namespace's config has them: once a call's key is found, the call goes by
//! that view and by no other. So a gateway needs no more than one table of all keys.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use vectoll_config::{KeyHash, Uid};

use super::{Credential, Policy, Team};

/// Two keys that hold one value. Neither of them works, so that no namespace can act for another one, or draw its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    /// `namespace/name` of both.
    pub keys: [Arc<str>; 2],
}

/// Joins policies, in the order of which the first that has a Team of its own namespace says what its figures are named by. Generation
/// and store are the caller's to set.
pub fn union<'p>(policies: impl Iterator<Item = &'p Arc<Policy>>) -> (Policy, Vec<Ambiguous>) {
    let mut all = Policy::default();
    let mut found = Vec::new();
    let mut teams: HashMap<Uid, Arc<Team>> = HashMap::new();
    for policy in policies {
        for (hash, credential) in &policy.keys {
            add(&mut all, *hash, credential, &mut found);
        }
        all.all_keys.extend(policy.all_keys.iter().cloned());
        all.limited.extend(policy.limited.iter().cloned());
        all.namespaces.insert(policy.namespace.clone(), policy.clone());
        for (uid, team) in &policy.teams {
            match teams.entry(uid.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(team.clone());
                }
                // Its own namespace has the newest word on it.
                Entry::Occupied(mut entry) if team.guest.is_none() && entry.get().guest.is_some() => {
                    all.other_views.push(entry.insert(team.clone()));
                }
                Entry::Occupied(_) => all.other_views.push(team.clone()),
            }
        }
    }
    all.teams = teams;
    (all, found)
}

fn add(all: &mut Policy, hash: KeyHash, credential: &Credential, found: &mut Vec<Ambiguous>) {
    if all.ambiguous.contains(&hash) {
        return;
    }
    match all.keys.entry(hash) {
        Entry::Vacant(entry) => {
            entry.insert(credential.clone());
        }
        Entry::Occupied(entry) => {
            let (hash, other) = entry.remove_entry();
            found.push(Ambiguous { keys: [other.key.name.clone(), credential.key.name.clone()] });
            all.ambiguous.insert(hash);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_upstream::{health::BackendMetrics, provider::egress::Egress};

    use super::*;
    use crate::policy::{CredentialFiles, Identity, SharedState, compile};

    /// A namespace with a key of this value, of the Team `shared/team`, which is a guest's elsewhere.
    fn policy(namespace: &str, value: &str) -> Arc<Policy> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let hash = KeyHash::of(value.as_bytes());
        let yaml = format!(
            "version: v1\ngeneration: 1\nnamespace: {namespace}\nteams:\n- {{name: shared/team, uid: t, routeNamespaces: [{namespace}], \
             maxUsers: 10}}\nkeys:\n- {{name: {namespace}/alice, uid: k-{namespace}, team: shared/team, credentials: [{{sha256: \
             {hash}}}]}}\nroutes: []\ncomplete: true\n"
        );
        let metrics = BackendMetrics::unseen().unwrap();
        let lasting = SharedState::new(Identity::default(), Egress::default(), metrics).unwrap();
        let config = vectoll_config::read_v1(&yaml).unwrap();
        Arc::new(compile(config, &CredentialFiles::new(), &lasting, None).unwrap())
    }

    #[test]
    fn a_value_that_keys_of_two_namespaces_hold_is_neither_ones() {
        let all = [policy("a", "one"), policy("b", "two"), policy("c", "one"), policy("d", "one")];
        let (union, found) = union(all.iter());
        assert!(!union.keys.contains_key(&KeyHash::of(b"one")) && union.ambiguous.contains(&KeyHash::of(b"one")));
        assert_eq!(&*union.keys[&KeyHash::of(b"two")].key.name, "b/alice");
        // By name each is its own namespace's, and no other's.
        let named = |namespace: &str, key: &str| union.namespaces[namespace].by_name.contains_key(key);
        assert!(named("a", "a/alice") && named("d", "d/alice") && !named("a", "b/alice"));
        assert_eq!(found, [Ambiguous { keys: ["a/alice".into(), "c/alice".into()] }]);
        // When the others are gone it is the first one's again.
        let (union, found) = super::union(all.iter().take(2));
        assert_eq!((&*union.keys[&KeyHash::of(b"one")].key.name, found.len()), ("a/alice", 0));
    }

    #[test]
    fn a_team_of_several_namespaces_is_there_once_as_its_own_has_it() {
        let all = [policy("a", "one"), policy("shared", "two"), policy("z", "three")];
        let (union, _) = union(all.iter());
        assert!(union.teams[&Uid::new("t")].guest.is_none());
        let guests = union.views().filter_map(|team| Some(&*team.guest.as_ref()?.namespace));
        let mut guests: Vec<&str> = guests.collect();
        guests.sort_unstable();
        assert_eq!(guests, ["a", "z"]);
        for key in &union.all_keys {
            let guest = key.team.guest.as_ref().map_or("shared", |guest| &*guest.namespace);
            assert!(key.name.starts_with(guest), "{} goes by {guest}'s view", key.name);
        }
    }
}
