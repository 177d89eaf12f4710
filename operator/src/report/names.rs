//! What Teams and keys are called.

use std::collections::BTreeMap;

use vectoll_config::{ObjectName, Uid};
use vectoll_crds::{ApiKeySpec, TeamSpec};

use crate::observed_state::Object;

/// Names by what accounts are kept under. Of what was deleted there are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    teams: BTreeMap<Uid, ObjectName>,
    keys: BTreeMap<Uid, KeyName>,
}

/// A key, and what its owner says of it.
#[derive(Clone, Debug)]
pub(super) struct KeyName {
    pub(super) name: ObjectName,
    /// `spec.metadata`: a cost centre, for example.
    pub(super) metadata: BTreeMap<String, String>,
}

impl Names {
    /// Takes in Teams and keys. An account that one claims is its own only where nobody has it as a UID.
    pub(crate) fn of<'a>(
        teams: impl IntoIterator<Item = &'a Object<TeamSpec>> + Clone,
        keys: impl IntoIterator<Item = &'a Object<ApiKeySpec>> + Clone,
    ) -> Self {
        let mut names = Self::default();
        names.teams.extend(teams.clone().into_iter().map(|team| (team.uid.clone(), team.name.clone())));
        for team in teams {
            if let Some(account) = &team.account {
                names.teams.entry(account.clone()).or_insert_with(|| team.name.clone());
            }
        }
        let of_key = |key: &Object<ApiKeySpec>| KeyName { name: key.name.clone(), metadata: key.spec.metadata.clone() };
        names.keys.extend(keys.clone().into_iter().map(|key| (key.uid.clone(), of_key(key))));
        for key in keys {
            if let Some(account) = &key.account {
                names.keys.entry(account.clone()).or_insert_with(|| of_key(key));
            }
        }
        names
    }

    pub(super) fn team(&self, account: &Uid) -> Option<&ObjectName> {
        self.teams.get(account)
    }

    pub(super) fn key(&self, account: &Uid) -> Option<&KeyName> {
        self.keys.get(account)
    }
}
