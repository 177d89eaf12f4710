//! What all connections share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::desk::Desk;
use crate::native::{Account, state::State};

/// What is at a name.
#[derive(Clone)]
pub(super) enum Host {
    Provider(Arc<State>),
    Issuer(Arc<dyn Desk>),
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) hosts: BTreeMap<&'static str, Host>,
    pub(super) inner: Mutex<Inner>,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) violations: Vec<String>,
    /// Questions to issuers, by host.
    pub(super) asked: BTreeMap<&'static str, u64>,
    pub(super) latency: Duration,
}

impl Shared {
    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn violated(&self, what: String) {
        let mut inner = self.inner();
        // A broken client under load must not fill the memory.
        if inner.violations.len() < Account::VIOLATIONS_KEPT {
            inner.violations.push(what);
        }
    }
}
