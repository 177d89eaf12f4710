//! Which namespaces look at which: what a change in one can reach, without looking at the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vectoll_config::ObjectName;

use crate::{model_set::ModelSet, observed_state::ReachableModels};

/// What others need to know of a namespace, and what it looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Namespaces whose Teams and routes its keys and Teams look at; itself is not among them.
    pub(super) reads: BTreeSet<String>,
    /// The Teams that its keys name.
    pub(super) teams: BTreeSet<ObjectName>,
    /// How many sidecars live there.
    pub(super) sidecars: usize,
    /// Its labels.
    pub(super) labels: BTreeMap<String, String>,
    /// What its keys may use of the routes of each namespace where they look.
    pub(super) reachable_models: ReachableModels,
    /// What its own routes serve; nothing where no Team elsewhere asks.
    pub(super) serves: Arc<ModelSet>,
}

/// The facts of all namespaces that have been looked at.
#[derive(Debug, Default)]
pub(super) struct Index {
    facts: BTreeMap<String, Facts>,
    read_by: BTreeMap<String, BTreeSet<String>>,
    /// The Secrets that the resources of a namespace refer to.
    secrets: BTreeMap<String, BTreeSet<ObjectName>>,
}

impl Index {
    /// The facts of a namespace as they are now. True: they are others than before.
    pub(super) fn put(&mut self, namespace: &str, facts: Facts) -> bool {
        let before = self.facts.get(namespace);
        if before == Some(&facts) {
            return false;
        }
        let empty = BTreeSet::new();
        let reads_before = before.map_or(&empty, |before| &before.reads);
        for gone in reads_before.difference(&facts.reads) {
            if let Some(readers) = self.read_by.get_mut(gone) {
                readers.remove(namespace);
            }
        }
        for new in facts.reads.difference(reads_before) {
            self.read_by.entry(new.clone()).or_default().insert(namespace.to_owned());
        }
        if facts == Facts::default() {
            self.facts.remove(namespace);
        } else {
            self.facts.insert(namespace.to_owned(), facts);
        }
        self.read_by.retain(|_, readers| !readers.is_empty());
        true
    }

    /// What is known of a namespace.
    pub(super) fn of(&self, namespace: &str) -> Option<&Facts> {
        self.facts.get(namespace)
    }

    /// The namespaces that look at one, itself not among them.
    pub(super) fn readers(&self, namespace: &str) -> impl Iterator<Item = &str> {
        self.read_by.get(namespace).into_iter().flatten().map(String::as_str)
    }

    /// The namespaces whose keys name a Team.
    pub(super) fn users<'a>(&'a self, team: &'a ObjectName) -> impl Iterator<Item = &'a str> {
        let uses = |namespace: &&str| self.of(namespace).is_some_and(|facts| facts.teams.contains(team));
        self.readers(team.namespace()).chain([team.namespace()]).filter(uses)
    }

    /// Whether a resource of its namespace refers to a Secret.
    pub(super) fn refers_to(&self, secret: &ObjectName) -> bool {
        self.secrets.get(secret.namespace()).is_some_and(|secrets| secrets.contains(secret))
    }

    /// The Secrets that the resources of a namespace refer to, as they are now.
    pub(super) fn put_secrets(&mut self, namespace: &str, secrets: BTreeSet<ObjectName>) {
        if secrets.is_empty() {
            self.secrets.remove(namespace);
        } else {
            self.secrets.insert(namespace.to_owned(), secrets);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn reads(namespaces: &[&str]) -> Facts {
        let team = |namespace: &&str| ObjectName::new(namespace, "team");
        Facts {
            reads: namespaces.iter().map(|namespace| (*namespace).to_owned()).collect(),
            teams: namespaces.iter().map(team).collect(),
            ..Facts::default()
        }
    }

    #[test]
    fn readers_are_known_from_the_other_side() {
        let mut index = Index::default();
        assert!(index.put("apps", reads(&["platform", "models"])));
        assert!(index.put("web", reads(&["platform"])));
        assert!(!index.put("web", reads(&["platform"])), "nothing new");
        let readers = |index: &Index, of: &str| index.readers(of).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(readers(&index, "platform"), ["apps", "web"]);
        assert_eq!(index.users(&ObjectName::new("platform", "team")).collect::<Vec<_>>(), ["apps", "web"]);
        assert_eq!(index.users(&ObjectName::new("platform", "another")).count(), 0);
        assert!(index.put("apps", reads(&["models"])));
        assert_eq!(readers(&index, "platform"), ["web"]);
        assert!(index.put("apps", Facts::default()));
        assert_eq!(readers(&index, "models"), Vec::<String>::new());
        assert!(index.of("apps").is_none(), "nothing is kept of what is gone");
    }
}
