//! Which users a Team's counts tell apart.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use vectoll_config::Uid;

use super::Account;
use vectoll_ledger::used::OTHER;

/// The users of each Team that have counts of their own.
#[derive(Debug, Default)]
pub(super) struct Users(HashMap<Uid, HashSet<Arc<str>>>);

impl Users {
    /// The name that a user's counts are kept under: its own, or `_other` where the team has `most` users already.
    pub(super) fn name(&mut self, team: &Uid, user: &Arc<str>, most: u32) -> Arc<str> {
        let Some(users) = self.0.get_mut(team) else {
            if most == 0 {
                return OTHER.into();
            }
            self.0.insert(team.clone(), HashSet::from([user.clone()]));
            return user.clone();
        };
        if let Some(known) = users.get(user) {
            return known.clone();
        }
        if users.len() >= most as usize {
            return OTHER.into();
        }
        users.insert(user.clone());
        user.clone()
    }

    /// A user that had counts before.
    pub(super) fn insert(&mut self, team: Uid, user: Arc<str>) {
        self.0.entry(team).or_default().insert(user);
    }

    /// Forgets those that no account is kept for: their places are free.
    pub(super) fn keep<'a>(&mut self, accounts: impl Iterator<Item = &'a Account>) {
        let counted: HashSet<&Arc<str>> = accounts.filter_map(Account::user).collect();
        for names in self.0.values_mut() {
            names.retain(|name| counted.contains(name));
        }
        self.0.retain(|_, names| !names.is_empty());
    }
}
