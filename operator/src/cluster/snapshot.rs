//! What one piece of reconciling needs, taken out of the cluster's state in a moment: reconciling itself goes on without it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vectoll_config::{ObjectName, Uid, read_v1, store::is_backend_account, v1};

use super::{cluster_state::ClusterState, object_cache::ObjectCache, tracked::Tracked, watch::StateHandle};
use crate::{
    delivery::DeliverySetting,
    ledger::{Acknowledgements, LedgerSnapshot, TeamLedger},
    observed_state::{
        Claimants, Counting, Delivered, DeliveredValue, Kind, Object, ObservedState, ResourceRef, UnreadableResource,
    },
    price::Pricing,
    provider_hosts::AllowedHosts,
};

/// A namespace and what it looks at, at one moment. What it is made of is shared with the observed state.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The namespace's own objects.
    pub(super) cluster: ClusterState,
    /// What the desired state needs of them, with what others say of its Teams.
    pub(super) observed: ObservedState,
    /// The Teams and routes of namespaces that it looks at, where their offers are not known.
    pub(super) offering: BTreeMap<String, ObservedState>,
    /// Of those, where a Secret that is referred to has not been read as it is now: what they offer may be more than is seen here.
    pub(super) unsure: BTreeSet<String>,
    /// The namespaces that it looks at.
    pub(super) reads: BTreeSet<String>,
    /// The namespaces that look at it.
    pub(super) readers: BTreeSet<String>,
    /// Whether others may have to be told of it: its facts are other ones than before.
    pub(super) facts_changed: bool,
}

/// What holds for all namespaces.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) counting: Counting,
    pub(super) allowed_hosts: Arc<AllowedHosts>,
    pub(super) pricing: Arc<Pricing>,
    pub(super) delivery: Arc<DeliverySetting>,
    /// Whether there is a gateway.
    pub(super) gateway: bool,
}

impl StateHandle {
    /// Takes a snapshot. `known` says of which namespaces the offers are known.
    pub(super) fn snapshot(&self, namespace: &str, setting: &Setting, known: impl Fn(&str) -> bool) -> Snapshot {
        let mut cluster = self.cluster();
        let facts = cluster.facts(namespace);
        let reads = facts.reads.clone();
        let facts_changed = cluster.index.put(namespace, facts);
        let readers: BTreeSet<String> = cluster.index.readers(namespace).map(str::to_owned).collect();
        let offering =
            reads.iter().filter(|other| !known(other)).map(|other| (other.clone(), cluster.offering(other, setting)));
        let offering: BTreeMap<String, ObservedState> = offering.collect();
        let is_unsure = |other: &&String| cluster.secrets_of(other).iter().any(|name| cluster.is_unread(name));
        let unsure = offering.keys().filter(is_unsure).cloned().collect();
        let observed = cluster.observed(namespace, &reads, &readers, setting);
        let part = cluster.part(namespace);
        Snapshot { cluster: part, observed, offering, unsure, reads, readers, facts_changed }
    }
}

impl Snapshot {
    /// Whether there are Secrets that cannot be read as they are now.
    pub(super) fn has_unreadable(&self) -> bool {
        self.offering.values().chain([&self.observed]).any(|observed| !observed.unreadable.is_empty())
    }

    /// What is in force of those, by what sidecars have, goes on.
    pub(super) fn keep(&mut self, before: &BTreeMap<String, Vec<u8>>) {
        let text = before.get(v1::FILE).and_then(|file| std::str::from_utf8(file).ok());
        let keys = text.and_then(|text| read_v1(text).ok()).map(|config| config.keys).unwrap_or_default();
        let secret_of = |key: &v1::Key| {
            let status = self.cluster.api_keys.get(&key.name)?.value.status.as_ref()?;
            Some(ObjectName::new(key.name.namespace(), status.secret_name.as_deref()?))
        };
        let values = keys.into_iter().filter_map(|key| {
            let secret = secret_of(&key)?;
            let value = DeliveredValue { account: key.uid, secret, credentials: key.credentials };
            Some((key.name, value))
        });
        let delivered = Delivered { values: values.collect(), files: before.clone() };
        for observed in self.offering.values_mut() {
            observed.delivered.files.clone_from(&delivered.files);
        }
        self.observed.delivered = delivered;
    }
}

impl ClusterState {
    /// A namespace's own objects, with the books of its Teams and of those that its keys name.
    pub(super) fn part(&self, namespace: &str) -> Self {
        let used = self.index.of(namespace).into_iter().flat_map(|facts| &facts.teams);
        let own = self.teams.in_namespace(namespace).map(|(name, _)| name);
        let below = self.below(namespace);
        let of_others = below.values().flatten();
        let objects = own.chain(used).chain(of_others).filter_map(|name| Some(&self.teams.get(name)?.value.object));
        let uids: BTreeSet<&Uid> = objects.flat_map(|team| team.account.iter().chain([&team.uid])).collect();
        let mut teams: BTreeMap<Uid, Arc<TeamLedger>> =
            uids.into_iter().filter_map(|uid| Some((uid.clone(), self.books.teams.get(uid)?.clone()))).collect();
        let accounts_below = below
            .into_iter()
            .map(|(team, below)| {
                let account = |name: &ObjectName| {
                    let object = &self.teams.get(name)?.value.object;
                    Some(object.account.clone().unwrap_or_else(|| object.uid.clone()))
                };
                (team, below.iter().filter_map(account).collect())
            })
            .collect();
        // What is owed to the providers of its own routes.
        let is_own = |account: &Uid| {
            let backend = account.as_str().rsplit(':').next().and_then(|backend| backend.split('/').next());
            is_backend_account(account) && backend == Some(namespace)
        };
        let owed = self.books.teams.iter().filter(|(account, _)| is_own(account));
        teams.extend(owed.map(|(account, ledger)| (account.clone(), ledger.clone())));
        let acknowledgements = match &self.books.acknowledgements {
            Acknowledgements::Heard { at, live } => {
                let live = live.get(namespace).map(|live| (namespace.to_owned(), live.clone()));
                Acknowledgements::Heard { at: *at, live: live.into_iter().collect() }
            }
            same @ (Acknowledgements::Nowhere | Acknowledgements::NotYet | Acknowledgements::Silent) => same.clone(),
        };
        Self {
            api_keys: self.api_keys.part(namespace),
            teams: self.teams.part(namespace),
            routes: self.routes.part(namespace),
            key_secrets: self.key_secrets.part(namespace),
            other_secrets: self.other_secrets.part(namespace),
            configs: self.configs.part(namespace),
            namespaces: self.namespaces.part_of_one(&ObjectName::new("", namespace)),
            pods: self.pods.part(namespace),
            books: LedgerSnapshot { acknowledgements, teams, breakdowns: BTreeMap::new() },
            spend_writes: self.spend_writes,
            accounts_below,
            gateway_only: self.gateway_only,
            left_out_of_gateway: self.left_out_of_gateway.get(namespace).into_iter().cloned().collect(),
            ..Self::default()
        }
    }

    /// The Teams below each of a namespace's own that it holds, in whichever namespaces: in those that look at it.
    fn below(&self, namespace: &str) -> BTreeMap<ObjectName, Vec<ObjectName>> {
        let mut below: BTreeMap<ObjectName, Vec<ObjectName>> = BTreeMap::new();
        for of in self.index.readers(namespace).chain([namespace]) {
            let with_parents =
                self.teams.in_namespace(of).filter(|(_, seen)| seen.value.object.spec.parent_ref.is_some());
            for (name, _) in with_parents {
                let above: BTreeSet<ObjectName> = self.allowed_above(name).into_iter().collect();
                for team in above.into_iter().filter(|team| team.namespace() == namespace && team != name) {
                    below.entry(team).or_default().push(name.clone());
                }
            }
        }
        below
    }

    /// What a namespace's Teams and routes are reconciled by.
    fn offering(&self, namespace: &str, setting: &Setting) -> ObservedState {
        let mut observed = ObservedState {
            counting: setting.counting,
            allowed_hosts: Arc::clone(&setting.allowed_hosts),
            pricing: Arc::clone(&setting.pricing),
            delivery: Arc::clone(&setting.delivery),
            ..ObservedState::default()
        };
        for (name, seen) in self.teams.in_namespace(namespace) {
            observed.teams.insert(name.clone(), seen.value.object.clone());
            add_unreadable(&mut observed, Kind::Team, name, seen.value.unreadable.as_ref());
        }
        for (name, seen) in self.routes.in_namespace(namespace) {
            observed.routes.insert(name.clone(), seen.value.object.clone());
            add_unreadable(&mut observed, Kind::ModelRoute, name, seen.value.unreadable.as_ref());
        }
        self.add_referenced(&mut observed, namespace);
        observed.claimants = Claimants { teams: claimants(&self.teams, namespace), api_keys: Vec::new() };
        observed
    }

    /// The Secrets that the resources of a namespace refer to.
    fn add_referenced(&self, observed: &mut ObservedState, namespace: &str) {
        let from = ObjectName::new(namespace, "");
        let referenced = self.referenced.range(from.clone()..).take_while(|(name, _)| name.namespace() == namespace);
        let present = referenced.filter(|(name, _)| self.other_secrets.get(name).is_some());
        observed.secrets.extend(present.map(|(name, seen)| (name.clone(), seen.value.clone())));
        let unreadable = self.unreadable.range(from..).take_while(|(name, _)| name.namespace() == namespace);
        let unreadable = unreadable.filter(|(name, _)| self.is_unread(name));
        observed.unreadable.extend(unreadable.map(|(name, why)| (name.clone(), why.clone())));
    }

    /// What the desired state of a namespace needs: its own objects, the routes where it looks, and what those who look at it say.
    pub(super) fn observed(
        &self,
        namespace: &str,
        reads: &BTreeSet<String>,
        readers: &BTreeSet<String>,
        setting: &Setting,
    ) -> ObservedState {
        let mut observed = self.offering(namespace, setting);
        for other in reads {
            let routes = self.routes.in_namespace(other);
            observed.routes_elsewhere.extend(routes.map(|(name, seen)| (name.clone(), seen.value.object.clone())));
            self.add_referenced(&mut observed, other);
        }
        for (name, seen) in self.api_keys.in_namespace(namespace) {
            observed.api_keys.insert(name.clone(), seen.value.object.clone());
            add_unreadable(&mut observed, Kind::ApiKey, name, seen.value.unreadable.as_ref());
            if seen.value.status.as_ref().is_some_and(|status| status.key_hint.is_some()) {
                observed.had_value.insert(name.clone());
            }
            if seen.value.adopts {
                observed.adopting.insert(name.clone());
            }
        }
        observed.claimants.api_keys = claimants(&self.api_keys, namespace);
        let secrets = self.key_secrets.in_namespace(namespace);
        observed.secrets.extend(secrets.map(|(name, seen)| (name.clone(), seen.value.clone())));
        let mut reachable_models = BTreeMap::new();
        for of in readers.iter().map(String::as_str).chain([namespace]) {
            let Some(facts) = self.index.of(of) else { continue };
            observed.sidecars.insert(of.to_owned(), facts.sidecars);
            let models = facts.reachable_models.get(namespace).map(|models| (namespace.to_owned(), models.clone()));
            reachable_models.insert(of.to_owned(), models.into_iter().collect());
            if of != namespace {
                observed.served_elsewhere.insert(of.to_owned(), facts.serves.clone());
            }
            for team in facts.teams.iter().filter(|team| team.namespace() == namespace) {
                observed.team_users.entry(team.clone()).or_default().insert(of.to_owned());
            }
        }
        // Whether a Team elsewhere allows the one below it goes by the labels of that one's namespace.
        for of in reads.iter().chain(readers).map(String::as_str).chain([namespace]) {
            if let Some(labels) = self.labels(of) {
                observed.namespaces.insert(of.to_owned(), labels.clone());
            }
        }
        for (team, below) in self.below(namespace) {
            let users: BTreeSet<String> =
                below.iter().flat_map(|team| self.allowed_users(team)).map(str::to_owned).collect();
            observed.users_below.insert(team, users);
        }
        observed.reachable_models = Some(reachable_models);
        observed
    }

    /// The Secrets that a namespace's resources refer to and whose content is not known, or not as it is now; also those of the
    /// namespaces that it looks at, where their offers are not known. From now on a change of one of them is a change of its namespace.
    pub(super) fn unread(&mut self, namespace: &str, known: impl Fn(&str) -> bool) -> Vec<ObjectName> {
        let reads = self.reads(namespace);
        let mut unread = Vec::new();
        for of in reads.iter().map(String::as_str).filter(|other| !known(other)).chain([namespace]) {
            let secrets = self.secrets_of(of);
            unread.extend(secrets.iter().filter(|name| self.is_unread(name)).cloned());
            self.index.put_secrets(of, secrets);
        }
        unread
    }

    fn is_unread(&self, name: &ObjectName) -> bool {
        let present = self.other_secrets.get(name).map(|seen| seen.version);
        present.is_some() && self.referenced.get(name).map(|seen| seen.version) < present
    }

    /// Forgets the content of a namespace's Secrets that nothing there refers to any more.
    pub(super) fn forget_unreferenced(&mut self, namespace: &str) {
        let wanted = self.secrets_of(namespace);
        let from = ObjectName::new(namespace, "");
        let known = self.referenced.range(from..).take_while(|(name, _)| name.namespace() == namespace);
        let gone: Vec<ObjectName> =
            known.map(|(name, _)| name).filter(|name| !wanted.contains(*name)).cloned().collect();
        for name in gone {
            self.referenced.remove(&name);
        }
        self.unreadable.retain(|name, _| name.namespace() != namespace || wanted.contains(name));
    }
}

fn add_unreadable(
    observed: &mut ObservedState,
    kind: Kind,
    name: &ObjectName,
    unreadable: Option<&UnreadableResource>,
) {
    let of = ResourceRef { kind, name: name.clone() };
    observed.unreadable_resources.extend(unreadable.map(|unreadable| (of, unreadable.clone())));
}

/// The resources of other namespaces that have, or claim, the accounts that a namespace's claim. Hardly ever does one claim any.
fn claimants<S, T>(all: &ObjectCache<Tracked<S, T>>, namespace: &str) -> Vec<Arc<Object<S>>> {
    let own = all.in_namespace(namespace).filter_map(|(_, seen)| seen.value.object.account.as_ref());
    let claimed: BTreeSet<&Uid> = own.collect();
    if claimed.is_empty() {
        return Vec::new();
    }
    let elsewhere = all.iter().filter(|(name, _)| name.namespace() != namespace).map(|(_, seen)| &seen.value.object);
    let concerned =
        |object: &&Arc<Object<S>>| object.account.iter().chain([&object.uid]).any(|uid| claimed.contains(uid));
    elsewhere.filter(concerned).cloned().collect()
}
