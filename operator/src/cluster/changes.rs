//! What has changed since it was last asked, by namespace.

use std::collections::BTreeSet;

use vectoll_config::{ObjectName, Uid, store::is_backend_account};

use super::{cluster_state::ClusterState, names};
use crate::{
    ledger::{LedgerChanges, LedgerEvent},
    observed_state::Object,
};

/// Namespaces in which something changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Something that concerns the namespace itself.
    pub(super) own: BTreeSet<String>,
    /// Something that those who look at it are concerned by as well: its Teams, its routes, the Secrets they refer to.
    pub(super) offers: BTreeSet<String>,
    /// What sidecars acknowledge or have spent: not as urgent as what people do.
    pub(super) dependent: BTreeSet<String>,
}

impl ClusterState {
    /// Takes them: what is returned now is not returned again.
    pub(super) fn take_changes(&mut self) -> Changes {
        let mut changes = Changes { dependent: std::mem::take(&mut self.dependent), ..Changes::default() };
        let of = |names: BTreeSet<ObjectName>| names.into_iter().map(|name| name.namespace().to_owned());
        changes.own.extend(of(self.api_keys.take_changed()));
        changes.own.extend(of(self.key_secrets.take_changed()));
        changes.own.extend(of(self.configs.take_changed()));
        changes.own.extend(of(self.pods.take_changed()));
        for name in self.namespaces.take_changed() {
            // By its labels Teams elsewhere allow those of its Teams that name them, and so what these offer.
            let mut teams = self.teams.in_namespace(name.name());
            if teams.any(|(_, seen)| seen.value.object.spec.parent_ref.is_some()) {
                changes.offers.insert(name.name().to_owned());
            }
            changes.own.insert(name.name().to_owned());
        }
        changes.offers.extend(of(self.teams.take_changed()));
        changes.offers.extend(of(self.routes.take_changed()));
        for secret in self.other_secrets.take_changed() {
            if self.index.refers_to(&secret) {
                changes.offers.insert(secret.namespace().to_owned());
            } else if secret.name() == names::CONFIG_SECRET {
                changes.own.insert(secret.namespace().to_owned());
            }
        }
        changes
    }

    /// All namespaces in which there is anything.
    pub(super) fn all_namespaces(&self) -> BTreeSet<String> {
        let keys = self.api_keys.iter().map(|(name, _)| name);
        let teams = self.teams.iter().map(|(name, _)| name);
        let routes = self.routes.iter().map(|(name, _)| name);
        let secrets = self.key_secrets.iter().map(|(name, _)| name);
        let configs = self.configs.iter().map(|(name, _)| name);
        let pods = self.pods.iter().map(|(name, _)| name);
        let all = keys.chain(teams).chain(routes).chain(secrets).chain(configs).chain(pods);
        let mut found = BTreeSet::new();
        let mut last = None;
        for name in all.map(ObjectName::namespace) {
            if last != Some(name) {
                found.insert(name.to_owned());
                last = Some(name);
            }
        }
        found
    }

    /// Takes in what the store said. True: somebody is to be told of it.
    pub(super) fn on_event(&mut self, event: LedgerEvent) -> bool {
        match self.books.on_event(event) {
            LedgerChanges::None => return false,
            LedgerChanges::Namespaces(namespaces) => {
                for namespace in namespaces {
                    // The Teams and routes that it uses are as far delivered as it is.
                    let reads = self.index.of(&namespace).map(|facts| facts.reads.clone());
                    self.dependent.extend(reads.into_iter().flatten());
                    self.dependent.insert(namespace);
                }
            }
            LedgerChanges::Teams(teams) => {
                let changed = self.spenders(&teams);
                self.dependent.extend(changed);
            }
            LedgerChanges::All => self.dependent = self.all_namespaces(),
        }
        true
    }

    /// The namespaces of Teams and of those whose keys belong to them.
    fn spenders(&self, teams: &BTreeSet<Uid>) -> BTreeSet<String> {
        let mut namespaces = BTreeSet::new();
        let spends = |team: &Object<_>| team.account.iter().chain([&team.uid]).any(|uid| teams.contains(uid));
        for (name, _) in self.teams.iter().filter(|(_, seen)| spends(&seen.value.object)) {
            namespaces.insert(name.namespace().to_owned());
            namespaces.extend(self.index.users(name).map(str::to_owned));
            // What is spent below is spent of those above.
            namespaces.extend(self.above(name).into_iter().map(|above| above.namespace().to_owned()));
        }
        let backend = |account: &Uid| Some(account.as_str().rsplit(':').next()?.split('/').next()?.to_owned());
        namespaces.extend(teams.iter().filter(|account| is_backend_account(account)).filter_map(backend));
        namespaces
    }
}
