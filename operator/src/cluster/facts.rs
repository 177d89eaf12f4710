//! What a namespace's objects say of others: which it looks at, and which Secrets it refers to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vectoll_config::{ModelPattern, ObjectName, v1::MAX_TREE_DEPTH};
use vectoll_crds::{AllowedNamespaces, Backend, Provider, TeamSpec};

use super::{cluster_state::ClusterState, index::Facts};
use crate::{consent::allows, key_secret::value_place, model_set::ModelSet, reachable_models::reachable_models};

impl ClusterState {
    /// The facts of a namespace, as its objects say.
    pub(super) fn facts(&self, namespace: &str) -> Facts {
        let teams = self.teams_of(namespace);
        let reads = self.reads_of(namespace, &teams);
        let labels = self.labels(namespace).cloned().unwrap_or_default();
        let keys = self.api_keys.in_namespace(namespace).map(|(_, seen)| &seen.value.object.spec);
        let reachable_models = reachable_models(namespace, &labels, keys, |name| self.team_spec(name));
        let sidecars = self.pods.in_namespace(namespace).filter(|(_, seen)| seen.value.lives).count();
        Facts { reads, sidecars, labels, reachable_models, serves: self.serves_to(namespace, &teams), teams }
    }

    /// Tells the index of all namespaces at once. Who looks at a namespace is known then before any is reconciled: otherwise what is said
    /// of Teams and routes would turn, and turn again, until all have been.
    pub(super) fn index_all(&mut self) {
        for namespace in self.all_namespaces() {
            let facts = self.facts(&namespace);
            self.index.put(&namespace, facts);
        }
    }

    /// The Teams that a namespace's keys name.
    fn teams_of(&self, namespace: &str) -> BTreeSet<ObjectName> {
        let refs = self.api_keys.in_namespace(namespace).map(|(_, seen)| &seen.value.object.spec.team_ref);
        // Thousands of keys name the same few.
        let distinct: BTreeSet<(&str, &str)> =
            refs.map(|team| (team.namespace.as_deref().unwrap_or(namespace), team.name.as_str())).collect();
        distinct.into_iter().map(|(of, name)| ObjectName::new(of, name)).collect()
    }

    /// The namespaces that a namespace looks at.
    pub(super) fn reads(&self, namespace: &str) -> BTreeSet<String> {
        self.reads_of(namespace, &self.teams_of(namespace))
    }

    fn reads_of(&self, namespace: &str, teams: &BTreeSet<ObjectName>) -> BTreeSet<String> {
        let mut reads = BTreeSet::new();
        // Those above hold its keys to their limits, and its own Teams' conditions tell of the way up.
        let own = self.teams.in_namespace(namespace).map(|(name, _)| name);
        for team in teams.iter().chain(own) {
            reads.extend(self.above(team).into_iter().map(|above| above.namespace().to_owned()));
        }
        for team in teams {
            reads.insert(team.namespace().to_owned());
            let searched = self.team_spec(team).map(|team| team.route_namespaces.as_slice());
            reads.extend(searched.into_iter().flatten().cloned());
        }
        // The conditions of a Team tell of the routes where it looks.
        for (_, seen) in self.teams.in_namespace(namespace) {
            reads.extend(seen.value.object.spec.route_namespaces.iter().cloned());
        }
        reads.remove(namespace);
        reads
    }

    /// The Teams above one, the nearest first, as their specs say: also where they are not there, or do not allow it.
    pub(super) fn above(&self, team: &ObjectName) -> Vec<ObjectName> {
        let mut above: Vec<ObjectName> = Vec::new();
        let mut at = team.clone();
        while above.len() < MAX_TREE_DEPTH
            && let Some(parent) = self.team_spec(&at).and_then(|spec| spec.parent_ref.as_ref())
        {
            at = ObjectName::new(parent.namespace.as_deref().unwrap_or(at.namespace()), &parent.name);
            above.push(at.clone());
        }
        above
    }

    /// The Teams above one that hold its keys, as [`Lineages`](crate::resolve::Lineages) finds them: every Team on the way up is there and
    /// allows the one below it, and the way ends. Else none: whoever is not allowed says nothing about Teams above.
    pub(super) fn allowed_above(&self, team: &ObjectName) -> Vec<ObjectName> {
        let above = self.above(team);
        let below = std::iter::once(team).chain(&above);
        let allows = |(parent, below): (&ObjectName, &ObjectName)| {
            self.team_spec(parent).is_some_and(|spec| self.allows(&spec.allowed_namespaces, parent, below.namespace()))
        };
        // A circle is longer than any way may be.
        let holds = above.len() < MAX_TREE_DEPTH && above.iter().zip(below).all(allows);
        if holds { above } else { Vec::new() }
    }

    /// The namespaces whose keys name a Team that allows them.
    pub(super) fn allowed_users<'a>(&'a self, team: &'a ObjectName) -> impl Iterator<Item = &'a str> {
        let spec = self.team_spec(team);
        let is_allowed = move |user: &&str| spec.is_some_and(|spec| self.allows(&spec.allowed_namespaces, team, user));
        self.index.users(team).filter(is_allowed)
    }

    fn allows(&self, allowed: &AllowedNamespaces, owner: &ObjectName, user: &str) -> bool {
        allows(allowed, owner.namespace(), user, self.labels(user))
    }

    /// A namespace's labels as they are now, whether or not it has been reconciled since they changed: by them Teams and routes elsewhere
    /// allow it, and those who depend on that are reconciled in any order.
    pub(super) fn labels(&self, namespace: &str) -> Option<&BTreeMap<String, String>> {
        Some(&self.namespaces.get(&ObjectName::new("", namespace))?.value.labels)
    }

    fn team_spec(&self, name: &ObjectName) -> Option<&TeamSpec> {
        Some(&self.teams.get(name)?.value.object.spec)
    }

    /// What a namespace's own routes serve, where a Team elsewhere that its keys name has a list to be held against.
    fn serves_to(&self, namespace: &str, teams: &BTreeSet<ObjectName>) -> Arc<ModelSet> {
        let has_list = |team: &ObjectName| self.team_spec(team).is_some_and(|team| team.models.is_some());
        if !teams.iter().any(|team| team.namespace() != namespace && has_list(team)) {
            return Arc::default();
        }
        let routes = self.routes.in_namespace(namespace).flat_map(|(_, seen)| &seen.value.object.spec.models);
        Arc::new(routes.filter_map(|model| model.parse::<ModelPattern>().ok()).collect())
    }

    /// The Secrets that the resources of a namespace refer to.
    pub(super) fn secrets_of(&self, namespace: &str) -> BTreeSet<ObjectName> {
        let mut secrets = BTreeSet::new();
        for (name, seen) in self.api_keys.in_namespace(namespace) {
            let place = value_place(&seen.value.object.spec, name.name());
            secrets.extend(place.map(|(secret, _)| ObjectName::new(namespace, secret)));
        }
        for (_, seen) in self.routes.in_namespace(namespace) {
            let backends = &seen.value.object.spec.backends;
            let credentials = backends.iter().flat_map(Backend::providers).flat_map(Provider::credentials);
            let cas = backends.iter().filter_map(|backend| backend.ca_secret_ref.as_ref());
            let named = credentials.map(|credential| credential.secret).chain(cas.map(|reference| &*reference.name));
            secrets.extend(named.map(|secret| ObjectName::new(namespace, secret)));
        }
        secrets
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeSet;

    use serde_json::{Value, json};
    use vectoll_config::ObjectName;
    use vectoll_crds::{ApiKey, ModelRoute, Team};

    use super::super::{cluster_state, cluster_state::ClusterState, raw::Raw};
    use crate::model_set::ModelSet;

    fn object(kind: &str, namespace: &str, name: &str, spec: &Value) -> Value {
        json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "uid": name}, "spec": spec})
    }

    fn cluster(list: &Value) -> ClusterState {
        let mut cluster = ClusterState::default();
        let spec = json!({"allowedNamespaces": {"from": "All"}, "routeNamespaces": ["models"], "models": list});
        let team: Raw<Team> = serde_json::from_value(object("Team", "platform", "team", &spec)).unwrap();
        cluster.teams.put(ObjectName::new("platform", "team"), 1, cluster_state::tracked(team, None).unwrap());
        for name in ["alice", "bob"] {
            let spec = json!({"teamRef": {"name": "team", "namespace": "platform"}, "models": ["small", "own"]});
            let key: Raw<ApiKey> = serde_json::from_value(object("ApiKey", "shop", name, &spec)).unwrap();
            cluster.api_keys.put(ObjectName::new("shop", name), 1, cluster_state::tracked(key, None).unwrap());
        }
        let spec = json!({"models": ["own"], "backends": [{"name": "a", "builtin": {}}]});
        let route: Raw<ModelRoute> = serde_json::from_value(object("ModelRoute", "shop", "own", &spec)).unwrap();
        cluster.routes.put(ObjectName::new("shop", "own"), 1, cluster_state::tracked(route, None).unwrap());
        cluster
    }

    #[test]
    fn who_looks_at_whom_for_what_is_known_of_all_at_once() {
        let mut cluster = cluster(&json!(["s*", "own"]));
        cluster.index_all();
        assert_eq!(cluster.index.readers("models").collect::<BTreeSet<_>>(), BTreeSet::from(["platform", "shop"]));
        let facts = cluster.index.of("shop").unwrap();
        let small = ModelSet::of_list(Some(&["small".to_owned(), "own".to_owned()]));
        assert!(["models", "platform", "shop"].iter().all(|at| *facts.reachable_models[*at] == small), "{facts:?}");
        assert_eq!(
            *facts.serves,
            ModelSet::of_list(Some(&["own".to_owned()])),
            "the Team has a list to be held against"
        );
        assert_eq!(*self::cluster(&Value::Null).facts("shop").serves, ModelSet::default(), "nobody asks");
    }
}
