//! What an operator notes in the store of the accounts that it knows. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{census::Census, time::GONE_RETENTION_MS};

/// What an operator remembers of the accounts it has seen, by UID, as text: a [`RegistryEntry`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry(pub BTreeMap<String, String>);

/// What a registry lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Fields to write.
    pub set: BTreeMap<String, String>,
    /// Accounts that are gone for so long that what is left of them may go.
    pub expired: BTreeSet<String>,
}

/// What a registry says of an account. The namespace is missing where an operator wrote it that did not note it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryEntry {
    /// It exists: `live NAMESPACE`.
    Live {
        /// Where.
        namespace: Option<String>,
    },
    /// It was seen no more: `gone TIME NAMESPACE`.
    Gone {
        /// Since when, in milliseconds since 1970.
        since_ms: u64,
        /// Where it was.
        namespace: Option<String>,
    },
}

impl RegistryEntry {
    /// Reads what was written. None: no operator writes that.
    pub fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut next = || words.next().map(str::to_owned);
        match next()?.as_str() {
            "live" => Some(Self::Live { namespace: next() }),
            "gone" => Some(Self::Gone { since_ms: next()?.parse().ok()?, namespace: next() }),
            _ => None,
        }
    }

    fn namespace(&self) -> Option<&str> {
        match self {
            Self::Live { namespace } | Self::Gone { since_ms: _, namespace } => namespace.as_deref(),
        }
    }
}

impl fmt::Display for RegistryEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live { namespace: _ } => f.write_str("live")?,
            Self::Gone { since_ms, namespace: _ } => write!(f, "gone {since_ms}")?,
        }
        self.namespace().map_or(Ok(()), |namespace| write!(f, " {namespace}"))
    }
}

impl Registry {
    /// Whether an account exists, by what its operator noted.
    pub fn is_live(&self, account: &str) -> bool {
        self.0
            .get(account)
            .is_some_and(|entry| matches!(RegistryEntry::read(entry), Some(RegistryEntry::Live { namespace: _ })))
    }

    /// Compares it with what there is. Accounts that it does not know are not this operator's to judge, nor are those that may be
    /// where nothing could be listed.
    pub fn compare(&self, census: &Census, now_ms: u64) -> Changes {
        let mut changes = Changes::default();
        let teams = census.teams.iter().map(|(account, team)| (account, &team.namespace));
        for (account, namespace) in teams.chain(&census.keys) {
            let entry = RegistryEntry::Live { namespace: Some(namespace.clone()) }.to_string();
            if self.0.get(account) != Some(&entry) {
                changes.set.insert(account.clone(), entry);
            }
        }
        let is_there = |account: &String| census.teams.contains_key(account) || census.keys.contains_key(account);
        for (account, text) in self.0.iter().filter(|(account, _)| !is_there(account)) {
            let entry = RegistryEntry::read(text);
            let namespace = entry.as_ref().and_then(RegistryEntry::namespace);
            if !census.covers(namespace) {
                continue;
            }
            match entry {
                Some(RegistryEntry::Gone { since_ms, namespace: _ }) if since_ms <= now_ms => {
                    if now_ms - since_ms >= GONE_RETENTION_MS {
                        changes.expired.insert(account.clone());
                    }
                }
                Some(RegistryEntry::Gone { .. } | RegistryEntry::Live { .. }) | None => {
                    let gone = RegistryEntry::Gone { since_ms: now_ms, namespace: namespace.map(str::to_owned) };
                    changes.set.insert(account.clone(), gone.to_string());
                }
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{super::CountedTeam, *};

    const NOW: u64 = 1_800_000_000_000;

    fn in_namespace(namespace: &str) -> CountedTeam {
        CountedTeam { namespace: namespace.to_owned(), most_users: 5 }
    }

    #[test]
    fn accounts_expire_only_when_this_operator_knew_them_and_saw_them_gone_for_long() {
        let census = |teams: &[&str]| Census {
            teams: teams.iter().map(|team| ((*team).to_owned(), in_namespace("apps"))).collect(),
            ..Census::default()
        };
        let mut registry = Registry::default();
        let mut step = |census: &Census, now: u64| {
            let Changes { set, expired } = registry.compare(census, now);
            registry.0.extend(set);
            expired.into_iter().collect::<Vec<_>>()
        };
        assert!(step(&census(&["a", "b"]), NOW).is_empty());
        assert!(step(&census(&["a"]), NOW + 1).is_empty());
        assert!(step(&census(&["a"]), NOW + GONE_RETENTION_MS).is_empty());
        assert_eq!(step(&census(&["a"]), NOW + 1 + GONE_RETENTION_MS), ["b"]);
        // It is back: all begins anew.
        assert!(step(&census(&["a", "b"]), NOW + 2 + GONE_RETENTION_MS).is_empty());
        assert!(step(&census(&["a"]), NOW + 3 + GONE_RETENTION_MS).is_empty());
    }

    #[test]
    fn what_may_be_where_nothing_could_be_listed_is_not_gone() {
        let of = |all: &[(&str, &str)]| all.iter().map(|(uid, at)| ((*uid).to_owned(), in_namespace(at))).collect();
        let mut registry = Registry::default();
        registry.0.extend(
            registry.compare(&Census { teams: of(&[("a", "apps"), ("s", "shut")]), ..Census::default() }, NOW).set,
        );
        registry.0.insert("old".to_owned(), "live".to_owned());
        let unheard: BTreeSet<String> = ["shut".to_owned()].into();
        let partial = Census { unheard, ..Census::default() };
        let changes = registry.compare(&partial, NOW + 1);
        let gone: Vec<&String> = changes.set.keys().collect();
        assert_eq!(gone, ["a"], "one whose namespace is not known may be there, too");
        registry.0.extend(changes.set);
        assert_eq!(registry.0.get("a").map(String::as_str), Some(format!("gone {} apps", NOW + 1).as_str()));
        // All of them were seen gone, and one namespace shuts: what was there is not forgotten meanwhile.
        registry.0.extend(registry.compare(&Census::default(), NOW + 2).set);
        let expired = |census: &Census| {
            registry.compare(census, NOW + 2 + GONE_RETENTION_MS).expired.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(expired(&partial), ["a"]);
        assert_eq!(expired(&Census::default()), ["a", "old", "s"]);
    }
}
