//! What a namespace's objects say of others: which it looks at, and which Secrets it refers to.

use std::collections::BTreeSet;

use vectoll_config::ObjectName;
use vectoll_crds::{Backend, Provider};

use super::{cluster_state::ClusterState, index::Facts};

impl ClusterState {
    /// The facts of a namespace, as its objects say.
    pub(super) fn facts(&self, namespace: &str) -> Facts {
        let mut facts = Facts::default();
        for (_, seen) in self.api_keys.in_namespace(namespace) {
            let team = &seen.value.object.spec.team_ref;
            facts.teams.insert(ObjectName::new(team.namespace.as_deref().unwrap_or(namespace), &team.name));
        }
        for team in &facts.teams {
            facts.reads.insert(team.namespace().to_owned());
            let searched = self.teams.get(team).map(|seen| seen.value.object.spec.route_namespaces.as_slice());
            facts.reads.extend(searched.into_iter().flatten().cloned());
        }
        // The conditions of a Team tell of the routes where it looks.
        for (_, seen) in self.teams.in_namespace(namespace) {
            facts.reads.extend(seen.value.object.spec.route_namespaces.iter().cloned());
        }
        facts.reads.remove(namespace);
        facts.sidecars = self.pods.in_namespace(namespace).filter(|(_, seen)| seen.value.lives).count();
        let state = self.namespaces.get(&ObjectName::new("", namespace));
        facts.labels = state.map(|seen| seen.value.labels.clone()).unwrap_or_default();
        facts
    }

    /// The Secrets that the resources of a namespace refer to.
    pub(super) fn secrets_of(&self, namespace: &str) -> BTreeSet<ObjectName> {
        let mut secrets = BTreeSet::new();
        for (name, seen) in self.api_keys.in_namespace(namespace) {
            let spec = &seen.value.object.spec;
            let brought = spec.secret_ref.as_ref().map(|secret| &*secret.name);
            secrets.insert(ObjectName::new(namespace, brought.or(spec.secret_name.as_deref()).unwrap_or(name.name())));
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
