//! All holdings of a session, and which of them an exchange has to look at.
//!
//! A Team may have 100,000 users, and an exchange concerns the few of them that do something. Who is to change a holding gets it by
//! [`Holdings::get_mut`], which notes it as dirty: there is no other way to one, so none that changed can be missed. It is dirty
//! until [`Holdings::rest`] finds it at rest: an exchange has nothing to do with it and nothing to say of it, however late it is.

#[cfg(test)]
use std::cell::Cell;
use std::{collections::VecDeque, time::Duration};

use ahash::HashMap;
use slab::Slab;

use super::holding::Holding;
use crate::counters::{Account, users::AccountsByUser};

/// Holdings at rest whose budgets are asked after: about as many as the exchanges of a second have room to ask for.
const MAX_REFRESHING: usize = 256;

/// The holdings of a session, by account and by their places.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    index: HashMap<Account, usize>,
    entries: Slab<Entry>,
    /// The places of those that are dirty, each once. It has room for all of them: to note one allocates nothing.
    dirty: Vec<usize>,
    /// The places of those at rest whose budgets are asked after, in turn.
    refreshing: VecDeque<usize>,
    users: AccountsByUser,
    /// Where the next slice of a sweep begins.
    cursor: usize,
    #[cfg(test)]
    oracle: Oracle,
}

#[derive(Debug)]
struct Entry {
    account: Account,
    holding: Holding,
    is_dirty: bool,
    is_refreshing: bool,
}

/// For tests: what a walk over all holdings does, and how many are looked at.
#[cfg(test)]
#[derive(Debug, Default)]
struct Oracle {
    /// All places, in order; none: only those that are dirty are walked over.
    all: Option<Vec<usize>>,
    visits: Cell<usize>,
}

impl Holdings {
    /// The place of an account's holding.
    pub(super) fn place_of(&self, account: &Account) -> Option<usize> {
        self.index.get(account).copied()
    }

    /// Begins a holding.
    pub(super) fn insert(&mut self, account: &Account) -> usize {
        let holding = Holding::new(account);
        let entry = Entry { account: account.clone(), holding, is_dirty: true, is_refreshing: false };
        let at = self.entries.insert(entry);
        self.index.insert(account.clone(), at);
        self.users.began(account);
        self.dirty.reserve(self.entries.len().saturating_sub(self.dirty.len()));
        self.dirty.push(at);
        #[cfg(test)]
        self.oracle.insert(at);
        at
    }

    /// One to be read.
    pub(super) fn get(&self, at: usize) -> Option<&Holding> {
        self.entries.get(at).map(|entry| &entry.holding)
    }

    /// One to be changed: it is dirty from now on.
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Holding> {
        let entry = self.entries.get_mut(at)?;
        if !entry.is_dirty {
            entry.is_dirty = true;
            self.dirty.push(at);
        }
        Some(&mut entry.holding)
    }

    /// Those that are dirty.
    pub(super) fn dirty(&self) -> impl Iterator<Item = (usize, &Holding)> {
        self.walked().iter().filter_map(|at| {
            self.visited(1);
            Some((*at, self.get(*at)?))
        })
    }

    /// Changes those that are dirty.
    pub(super) fn for_dirty(&mut self, mut change: impl FnMut(usize, &mut Holding)) {
        for place in 0..self.walked().len() {
            let Some(at) = self.walked().get(place).copied() else { return };
            self.visited(1);
            if let Some(entry) = self.entries.get_mut(at) {
                change(at, &mut entry.holding);
            }
        }
    }

    /// Changes all of them: for what concerns each. `change`: whether it did anything.
    pub(super) fn for_all(&mut self, mut change: impl FnMut(&mut Holding) -> bool) {
        self.visited(self.entries.len());
        for (at, entry) in &mut self.entries {
            if change(&mut entry.holding) && !entry.is_dirty {
                entry.is_dirty = true;
                self.dirty.push(at);
            }
        }
    }

    /// All accounts and the places of their holdings.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (&Account, usize)> {
        self.index.iter().map(|(account, at)| (account, *at))
    }

    /// How many places a sweep has to look at to have looked at all.
    pub(super) fn places(&self) -> usize {
        self.entries.capacity()
    }

    /// Whether an account is kept for a user.
    pub(super) fn has_user(&self, user: &str) -> bool {
        self.users.has(user)
    }

    /// Notes which are at rest. Not while changes to one are under way.
    pub(super) fn rest(&mut self, now: Duration) {
        let Self { entries, dirty, refreshing, .. } = self;
        dirty.retain(|at| {
            let Some(entry) = entries.get_mut(*at) else { return false };
            entry.is_dirty = !entry.holding.rests(now);
            let may_refresh = !entry.is_dirty && !entry.is_refreshing && refreshing.len() < MAX_REFRESHING;
            if may_refresh && entry.holding.is_asked_after(now) {
                entry.is_refreshing = true;
                refreshing.push_back(*at);
            }
            entry.is_dirty
        });
        // Where there is more to be asked than an exchange has room for, the first come first: Team and key are among them.
        dirty.sort_unstable();
    }

    /// Looks at some of those at rest whose budgets are asked after, in turn. `ask`: whether it is to be looked at again.
    pub(super) fn refresh(&mut self, most: usize, mut ask: impl FnMut(usize, &Holding, bool) -> bool) {
        let walks_all = self.walks_all();
        for _ in 0..most.min(self.refreshing.len()) {
            let Some(at) = self.refreshing.pop_front() else { return };
            self.visited(1);
            let Some(entry) = self.entries.get_mut(at) else { continue };
            // One that is dirty comes back when it is at rest again.
            entry.is_refreshing = !entry.is_dirty && ask(at, &entry.holding, !walks_all);
            if entry.is_refreshing {
                self.refreshing.push_back(at);
            }
        }
    }

    /// Looks at a slice of them, from where the last one ended, and forgets those of which nothing matters any more. Not while anybody
    /// knows one by its place.
    pub(super) fn sweep(&mut self, slice: usize, mut is_over: impl FnMut(&mut Holding) -> bool) {
        for _ in 0..slice {
            let at = self.cursor;
            self.cursor = if at + 1 < self.entries.capacity() { at + 1 } else { 0 };
            self.visited(1);
            let Some(entry) = self.entries.get_mut(at) else { continue };
            if is_over(&mut entry.holding) && !entry.is_dirty && !entry.is_refreshing {
                let Entry { account, .. } = self.entries.remove(at);
                self.index.remove(&account);
                self.users.ended(&account);
                #[cfg(test)]
                self.oracle.remove(at);
            }
        }
    }
}

#[cfg(not(test))]
#[allow(clippy::unused_self, reason = "tests walk over all of them, and count")]
impl Holdings {
    fn walked(&self) -> &[usize] {
        &self.dirty
    }

    fn walks_all(&self) -> bool {
        false
    }

    fn visited(&self, _: usize) {}
}

#[cfg(test)]
impl Holdings {
    fn walked(&self) -> &[usize] {
        self.oracle.all.as_ref().unwrap_or(&self.dirty)
    }

    fn walks_all(&self) -> bool {
        self.oracle.all.is_some()
    }

    fn visited(&self, more: usize) {
        self.oracle.visits.set(self.oracle.visits.get() + more);
    }

    /// From now on all of them are walked over, dirty or not.
    pub(super) fn walk_all(&mut self) {
        self.oracle.all = Some(self.entries.iter().map(|(at, _)| at).collect());
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many were looked at since this was asked last.
    pub(super) fn take_visits(&self) -> usize {
        self.oracle.visits.take()
    }
}

#[cfg(test)]
impl Oracle {
    fn insert(&mut self, at: usize) {
        if let Some(all) = &mut self.all
            && let Err(place) = all.binary_search(&at)
        {
            all.insert(place, at);
        }
    }

    fn remove(&mut self, at: usize) {
        if let Some(all) = &mut self.all {
            all.retain(|it| *it != at);
        }
    }
}
