//! Since which generation of a namespace's config each resource stands there as it is.
//!
//! That is what lets an edit of one key leave all others alone: a sidecar that serves by that generation or a later one has the
//! resource in its present state, whatever else has changed since. It is sound because generations of a namespace only grow, and
//! each config holds all of its resources. After a start nobody remembers; all of them are then held to the generation in force.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use vectoll_config::{KeyHash, ObjectName, v1};

use crate::{
    desired_state::NamespaceConfig,
    observed_state::{Kind, ResourceRef},
};

/// A generation, and when it was made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GenerationChange {
    pub(super) generation: u64,
    pub(super) at: Timestamp,
}

/// The resources of a config.
pub(super) type ResourceGenerations = BTreeMap<ResourceRef, GenerationChange>;

/// A sidecar that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Serves {
    /// Its pod; empty outside a cluster.
    pub(super) pod: String,
    pub(super) generation: u64,
}

/// How far a namespace's config has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) parts: Arc<ResourceGenerations>,
    /// Routes that do not fit in.
    pub(super) left_out: BTreeSet<ObjectName>,
    pub(super) serving: Vec<Serves>,
}

/// The same for several namespaces.
pub(super) type Deliveries = BTreeMap<String, Arc<Delivered>>;

/// The parts of a config: what stands as it stood in the last one keeps its generation, the rest has the new one. What was left
/// out is no part of it.
pub(super) fn parts(
    contents: &Contents,
    left_out: &BTreeSet<ResourceRef>,
    last: Option<(&Contents, &ResourceGenerations)>,
    new: GenerationChange,
) -> ResourceGenerations {
    let since = |of: &ResourceRef, content: &KeyHash| {
        let same = |(contents, parts): (&Contents, &ResourceGenerations)| {
            parts.get(of).copied().filter(|_| contents.by_resource.get(of) == Some(content))
        };
        last.and_then(same).unwrap_or(new)
    };
    let all = contents.by_resource.iter().filter(|(of, _)| !left_out.contains(of));
    all.map(|(of, content)| (of.clone(), since(of, content))).collect()
}

/// What a config is made of, as hashes: enough to tell whether it, or a resource's part of it, has changed, and small enough to be
/// kept for every namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    whole: KeyHash,
    by_resource: HashMap<ResourceRef, KeyHash>,
}

impl Contents {
    /// Of a config; its generation does not count.
    pub(super) fn of(config: &NamespaceConfig) -> serde_json::Result<Self> {
        let NamespaceConfig {
            config: v1::Config { version, generation: _, namespace, store, teams, keys, routes, complete },
            credentials,
        } = config;
        let named = |kind, name: &ObjectName| ResourceRef { kind, name: name.clone() };
        let mut pieces: Vec<(ResourceRef, KeyHash)> = Vec::with_capacity(keys.len() + teams.len() + routes.len());
        for key in keys {
            pieces.push((named(Kind::ApiKey, &key.name), KeyHash::of(&serde_json::to_vec(key)?)));
        }
        for team in teams {
            pieces.push((named(Kind::Team, &team.name), KeyHash::of(&serde_json::to_vec(team)?)));
        }
        for route in routes {
            // With the credentials that it names: a new one is a change of the route.
            let contents: Vec<Option<&Vec<u8>>> = route.files().map(|file| credentials.get(file)).collect();
            pieces.push((named(Kind::ModelRoute, &route.name), KeyHash::of(&serde_json::to_vec(&(route, contents))?)));
        }
        let rest = serde_json::to_vec(&(version, namespace, store, complete, credentials))?;
        let mut all = KeyHash::of(&rest).to_string();
        let mut by_resource: HashMap<ResourceRef, KeyHash> = HashMap::with_capacity(pieces.len());
        for (of, hash) in pieces {
            all.push_str(&hash.to_string());
            // A route may stand there in several pieces.
            let known = by_resource.get(&of).copied();
            let joined = known.map_or(hash, |known| KeyHash::of(format!("{known}{hash}").as_bytes()));
            by_resource.insert(of, joined);
        }
        Ok(Self { whole: KeyHash::of(all.as_bytes()), by_resource })
    }

    /// Whether a resource is part of it.
    pub(super) fn has(&self, of: &ResourceRef) -> bool {
        self.by_resource.contains_key(of)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    /// A config with one route to Cohere, whose key is in a file.
    fn config(key: &str) -> NamespaceConfig {
        let provider = json!({"native": {"baseURL": "https://api.cohere.com", "api": {"cohere": {}},
            "auth": {"bearer": {"file": "credential.c"}}}});
        let config = serde_json::from_value(json!({"version": "v1", "generation": 0, "namespace": "apps", "teams": [],
            "keys": [], "complete": true, "routes": [{"name": "apps/route", "models": ["m"], "backends": [{"name": "b",
                "weight": 1, "timeoutSeconds": 1, "tokens": {"factor": {"maxPerByte": 1, "maxPerInput": 0}},
                "provider": provider}]}]}));
        let credentials = BTreeMap::from([("credential.c".to_owned(), key.as_bytes().to_vec())]);
        NamespaceConfig { config: config.unwrap(), credentials }
    }

    #[test]
    fn a_new_key_of_a_provider_with_an_api_of_its_own_is_a_change_of_its_route() {
        let at = |generation| GenerationChange { generation, at: Timestamp::UNIX_EPOCH };
        let none = BTreeSet::new();
        let [first, second] = ["one", "two"].map(|key| Contents::of(&config(key)).unwrap());
        let before = parts(&first, &none, None, at(1));
        let same = parts(&first, &none, Some((&first, &before)), at(2));
        assert_eq!(same.values().copied().collect::<Vec<_>>(), [at(1)]);
        let renewed = parts(&second, &none, Some((&first, &before)), at(2));
        assert_eq!(renewed.values().copied().collect::<Vec<_>>(), [at(2)]);
    }
}
