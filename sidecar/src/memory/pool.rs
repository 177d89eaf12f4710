//! A part of the memory, and who holds and waits for what of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ahash::HashMap;
use tokio::sync::Notify;

/// Whose a call is: the namespace and name of its team and its key.
pub type Owner = (Arc<str>, Arc<str>);

/// A part of the memory.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) most: usize,
    state: Mutex<State>,
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) used: usize,
    pub(super) of_owners: HashMap<Owner, OfOwner>,
    /// The one whose turn it is to go beyond the bound. It holds something.
    beyond: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct OfOwner {
    pub(super) used: usize,
    /// What each call holds.
    of_calls: BTreeMap<u64, usize>,
    /// Calls that wait, and for how much.
    waiting: BTreeMap<u64, usize>,
}

impl Pool {
    pub(super) fn new(most: usize) -> Self {
        Self { most, state: Mutex::default(), changed: Notify::new() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic is done under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn give_back(&self, call: u64, owner: &Owner, bytes: usize) {
        if bytes > 0 {
            self.state().give_back(call, owner, bytes, self.most);
            self.changed.notify_waiters();
        }
    }
}

impl OfOwner {
    /// Whether a call may have so many bytes as far as the others of its owner go. The oldest of them always may.
    fn has_share(&self, call: u64, bytes: usize, most: usize) -> bool {
        let oldest = self.of_calls.keys().next().is_none_or(|oldest| call <= *oldest);
        self.used.saturating_add(bytes) <= most - most / 4 || oldest
    }

    /// Whether one of its calls that waits is older, and may have what it waits for.
    fn is_before(&self, call: u64, most: usize) -> bool {
        let first = self.waiting.first_key_value();
        first.is_some_and(|(first, bytes)| *first < call && self.has_share(*first, *bytes, most))
    }
}

impl State {
    /// Takes so many bytes for a call, if it may have them now; else it waits for them.
    pub(super) fn take(&mut self, call: u64, owner: &Owner, bytes: usize, most: usize) -> bool {
        let fits = self.used.saturating_add(bytes) <= most;
        let is_next = !self.of_owners.values().any(|of| of.is_before(call, most));
        let of = self.of_owners.entry(owner.clone()).or_default();
        let may = self.beyond == Some(call)
            || (of.has_share(call, bytes, most) && is_next && (fits || self.beyond.is_none()));
        if may {
            self.used += bytes;
            of.used += bytes;
            *of.of_calls.entry(call).or_default() += bytes;
            if self.used > most {
                self.beyond = Some(call);
            }
        } else {
            of.waiting.insert(call, bytes);
        }
        may
    }

    pub(super) fn give_back(&mut self, call: u64, owner: &Owner, bytes: usize, most: usize) {
        self.used = self.used.saturating_sub(bytes);
        let Some(of) = self.of_owners.get_mut(owner) else { return };
        of.used = of.used.saturating_sub(bytes);
        let left = of.of_calls.get(&call).copied().unwrap_or_default().saturating_sub(bytes);
        if left == 0 {
            of.of_calls.remove(&call);
        } else {
            of.of_calls.insert(call, left);
        }
        // What it held was beyond the bound: the next one's turn.
        if self.used <= most || (left == 0 && self.beyond == Some(call)) {
            self.beyond = None;
        }
        self.forget(owner);
    }

    /// It does not wait any more.
    pub(super) fn leave(&mut self, call: u64, owner: &Owner) {
        if let Some(of) = self.of_owners.get_mut(owner) {
            of.waiting.remove(&call);
            self.forget(owner);
        }
    }

    fn forget(&mut self, owner: &Owner) {
        if self.of_owners.get(owner).is_some_and(|of| of.of_calls.is_empty() && of.waiting.is_empty()) {
            self.of_owners.remove(owner);
        }
    }

    /// It waits for another call: whose turn it was, others may need it, or it would wait in vain.
    pub(super) fn follow(&mut self, call: u64) {
        if self.beyond == Some(call) {
            self.beyond = None;
        }
    }
}
