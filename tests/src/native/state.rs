//! What a provider knows while it runs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Account, Api, Conduct, Fault};

pub(crate) struct State {
    pub(super) api: Box<dyn Api>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    account: Account,
    conduct: Conduct,
    /// Requests since the conduct was set.
    begun: u64,
    running: usize,
}

/// A request that is being served.
pub(super) struct Running<'a> {
    state: &'a State,
    pub(super) conduct: Conduct,
    pub(super) fault: Option<Fault>,
}

impl State {
    pub(crate) fn new(api: Box<dyn Api>) -> Self {
        Self { api, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn conduct(&self, conduct: Conduct) {
        let mut inner = self.inner();
        (inner.conduct, inner.begun) = (conduct, 0);
    }

    pub(super) fn latency(&self) -> std::time::Duration {
        self.inner().conduct.latency
    }

    pub(crate) fn take(&self) -> Account {
        std::mem::take(&mut self.inner().account)
    }

    pub(super) fn note(&self, note: impl FnOnce(&mut Account)) {
        note(&mut self.inner().account);
    }

    pub(super) fn begin(&self) -> Running<'_> {
        let mut inner = self.inner();
        inner.account.requests += 1;
        inner.running += 1;
        inner.account.at_once = inner.account.at_once.max(inner.running);
        let (conduct, place) = (inner.conduct, inner.begun);
        inner.begun += 1;
        let fault = conduct.fault.filter(|(from, _)| place >= *from).map(|(_, fault)| fault);
        Running { state: self, conduct, fault }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.state.inner().running -= 1;
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}
