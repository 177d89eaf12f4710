//! Since which generation of a namespace's config each resource stands there as it is.
//!
//! That is what lets an edit of one key leave all others alone: a sidecar that serves by that generation or a later one has the
//! resource in its present state, whatever else has changed since. It is sound because generations of a namespace only grow, and
//! each config holds all of its resources. After a start nobody remembers; all of them are then held to the generation in force.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use vectoll_config::{ObjectName, v1};

use crate::{
    judge::NamespaceConfig,
    world::{Kind, ResourceRef},
};

/// A generation, and when it was made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) generation: u64,
    pub(super) at: Timestamp,
}

/// The resources of a config.
pub(super) type Parts = BTreeMap<ResourceRef, Since>;

/// The parts of a config: what stands as it stood in the last one keeps its generation, the rest has the new one. Keys that were
/// left out are no part of it.
pub(super) fn parts(
    config: &NamespaceConfig,
    left_out: &BTreeSet<ObjectName>,
    last: Option<(&NamespaceConfig, &Parts)>,
    new: Since,
) -> Parts {
    let before = last.map(|(config, _)| contents(config)).unwrap_or_default();
    let since = |of: ResourceRef, content: &Content<'_>| {
        let known = last.and_then(|(_, parts)| parts.get(&of)).filter(|_| before.get(&of) == Some(content));
        let since = known.copied().unwrap_or(new);
        (of, since)
    };
    let is_in = |of: &ResourceRef| of.kind != Kind::ApiKey || !left_out.contains(&of.name);
    contents(config).into_iter().filter(|(of, _)| is_in(of)).map(|(of, content)| since(of, &content)).collect()
}

/// What a resource makes of a config.
#[derive(PartialEq)]
enum Content<'a> {
    Key(&'a v1::Key),
    Team(&'a v1::Team),
    /// A route may stand there in several pieces; with the credentials that they name.
    Route(Vec<(&'a v1::Route, Vec<Option<&'a [u8]>>)>),
}

fn contents(config: &NamespaceConfig) -> HashMap<ResourceRef, Content<'_>> {
    let NamespaceConfig { config: all, credentials } = config;
    let of = |kind, name: &ObjectName| ResourceRef { kind, name: name.clone() };
    let mut contents = HashMap::new();
    contents.extend(all.keys.iter().map(|key| (of(Kind::ApiKey, &key.name), Content::Key(key))));
    contents.extend(all.teams.iter().map(|team| (of(Kind::Team, &team.name), Content::Team(team))));
    for route in &all.routes {
        let credential = |backend: &v1::Backend| {
            backend.provider.credential_file().and_then(|file| credentials.get(file)).map(Vec::as_slice)
        };
        let piece = (route, route.backends.iter().map(credential).collect());
        match contents.entry(of(Kind::ModelRoute, &route.name)).or_insert_with(|| Content::Route(Vec::new())) {
            Content::Route(pieces) => pieces.push(piece),
            Content::Key(_) | Content::Team(_) => {}
        }
    }
    contents
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
        let at = |generation| Since { generation, at: Timestamp::UNIX_EPOCH };
        let none = BTreeSet::new();
        let (first, second) = (config("one"), config("two"));
        let before = parts(&first, &none, None, at(1));
        let same = parts(&first, &none, Some((&first, &before)), at(2));
        assert_eq!(same.values().copied().collect::<Vec<_>>(), [at(1)]);
        let renewed = parts(&second, &none, Some((&first, &before)), at(2));
        assert_eq!(renewed.values().copied().collect::<Vec<_>>(), [at(2)]);
    }
}
