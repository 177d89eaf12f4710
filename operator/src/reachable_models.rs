//! What keys may use, and where they look for it: from specs alone, so that it is known without resolving anything. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vectoll_config::{ObjectName, v1::MAX_TREE_DEPTH};
use vectoll_crds::{ApiKeySpec, TeamSpec};

use crate::{consent::allows, model_set::ModelSet, observed_state::ReachableModels};

/// What the keys of a namespace may use in each namespace where they look for routes. A key whose Team is not there, or does not allow the
/// namespace, may use nothing.
pub(crate) fn reachable_models<'a>(
    namespace: &str,
    labels: &BTreeMap<String, String>,
    keys: impl Iterator<Item = &'a ApiKeySpec>,
    team_of: impl Fn(&ObjectName) -> Option<&'a TeamSpec>,
) -> ReachableModels {
    // Of thousands of keys most say the same.
    let distinct: BTreeSet<(&str, &str, Option<&[String]>)> = keys
        .map(|key| {
            let of = key.team_ref.namespace.as_deref().unwrap_or(namespace);
            (of, key.team_ref.name.as_str(), key.models.as_deref())
        })
        .collect();
    let mut models_by_namespace: BTreeMap<String, ModelSet> = BTreeMap::new();
    for (of, name, models) in distinct {
        let Some(team) = team_of(&ObjectName::new(of, name)) else { continue };
        if !allows(&team.allowed_namespaces, of, namespace, Some(labels)) {
            continue;
        }
        let mut models = ModelSet::of_list(models).and(&ModelSet::of_list(team.models.as_deref()));
        // A list of a Team above holds as well. Whether it allows this one is for its conditions to say.
        let (mut at, mut below) = (ObjectName::new(of, name), team);
        for _ in 0..MAX_TREE_DEPTH {
            let Some(parent) = &below.parent_ref else { break };
            at = ObjectName::new(parent.namespace.as_deref().unwrap_or(at.namespace()), &parent.name);
            let Some(above) = team_of(&at) else { break };
            models = models.and(&ModelSet::of_list(above.models.as_deref()));
            below = above;
        }
        let searched: BTreeSet<&str> =
            [namespace, of].into_iter().chain(team.route_namespaces.iter().map(String::as_str)).collect();
        for target in searched {
            models_by_namespace.entry(target.to_owned()).or_default().extend(models.clone());
        }
    }
    models_by_namespace.into_iter().map(|(target, models)| (target, Arc::new(models))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn keys_reach_what_their_lists_and_their_teams_allow_where_they_look() {
        let key = |text: &str| -> ApiKeySpec { serde_yaml::from_str(text).unwrap() };
        let team: TeamSpec = serde_yaml::from_str(
            "{models: ['small*', large], routeNamespaces: [models], allowedNamespaces: {from: Selector, selector: {matchLabels: {tier: gold}}}}",
        )
        .unwrap();
        let keys = [
            key("{teamRef: {name: search, namespace: platform}, models: [small-1, other]}"),
            key("{teamRef: {name: search, namespace: platform}, models: ['l*']}"),
            key("{teamRef: {name: gone, namespace: platform}}"),
        ];
        let known = ObjectName::new("platform", "search");
        let reachable = |labels: BTreeMap<String, String>| {
            reachable_models("shop", &labels, keys.iter(), |name| (*name == known).then_some(&team))
        };
        let found = reachable(BTreeMap::from([("tier".to_owned(), "gold".to_owned())]));
        assert_eq!(found.keys().collect::<Vec<_>>(), ["models", "platform", "shop"]);
        let expected = ModelSet::of_list(Some(&["small-1".to_owned(), "large".to_owned()]));
        assert!(found.values().all(|models| **models == expected), "{found:?}");
        assert!(reachable(BTreeMap::new()).is_empty(), "the Team does not allow it");
    }
}
