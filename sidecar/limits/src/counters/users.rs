//! Which users a Team's counts tell apart.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ahash::{HashMap, HashSet};
use vectoll_config::Uid;

use super::{Account, sweep_pace::SweepPace};
use vectoll_ledger::used::OTHER;

/// The users of each Team that have counts of their own.
#[derive(Debug, Default)]
pub(super) struct Users {
    teams: HashMap<Uid, HashSet<Arc<str>>>,
    /// All of them, each once: the order in which they are looked at.
    turn: VecDeque<(Uid, Arc<str>)>,
    pace: SweepPace,
}

/// How many accounts are kept for each user.
#[derive(Debug, Default)]
pub(super) struct AccountsByUser(HashMap<Arc<str>, usize>);

impl Users {
    /// The name that a user's counts are kept under: its own, or `_other` where the team has `most` users already.
    pub(super) fn name(&mut self, team: &Uid, user: &Arc<str>, most: u32) -> Arc<str> {
        let users = self.teams.get(team);
        if let Some(known) = users.and_then(|users| users.get(user)) {
            return known.clone();
        }
        if users.map_or(0, HashSet::len) >= most as usize {
            return OTHER.into();
        }
        self.insert(team.clone(), user.clone());
        user.clone()
    }

    /// A user that has counts.
    pub(super) fn insert(&mut self, team: Uid, user: Arc<str>) {
        if self.teams.entry(team.clone()).or_default().insert(user.clone()) {
            self.turn.push_back((team, user));
        }
    }

    /// Looks at a slice of them, and forgets those that no account is kept for: their places are free.
    pub(super) fn sweep(&mut self, now: Duration, is_counted: impl Fn(&Uid, &str) -> bool) {
        for _ in 0..self.pace.slice(self.turn.len(), now) {
            let Some((team, user)) = self.turn.pop_front() else { return };
            if is_counted(&team, &user) {
                self.turn.push_back((team, user));
                continue;
            }
            let users = self.teams.get_mut(&team);
            let is_last = users.is_some_and(|users| users.remove(&user) && users.is_empty());
            if is_last {
                self.teams.remove(&team);
            }
        }
    }
}

impl AccountsByUser {
    /// An account is kept from now on.
    pub(super) fn began(&mut self, account: &Account) {
        if let Some(user) = account.user() {
            *self.0.entry(user.clone()).or_default() += 1;
        }
    }

    /// An account is forgotten.
    pub(super) fn ended(&mut self, account: &Account) {
        if let Some(user) = account.user()
            && let Some(accounts) = self.0.get_mut(user)
        {
            *accounts = accounts.saturating_sub(1);
            if *accounts == 0 {
                self.0.remove(user);
            }
        }
    }

    /// Whether an account is kept for a user.
    pub(super) fn has(&self, user: &str) -> bool {
        self.0.contains_key(user)
    }
}
