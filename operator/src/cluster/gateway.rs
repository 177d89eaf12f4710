//! The gateway's configs: one entry for each namespace, spread over a fixed number of Secrets in the operator's own namespace.
//!
//! What a namespace's entry holds is made where the namespace is reconciled ([`bundle`]), of the very files that its sidecars read: what
//! is left out there, or has ended, is so here as well. Which Secret holds which entries, and what is to be changed of them, is pure
//! ([`shards`]); a task of its own writes ([`writer`]), so that no namespace waits for another one's.

mod bundle;
pub(super) mod issuer;
mod issuer_secret;
mod secret;
mod shards;
mod writer;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

pub(super) use self::{
    bundle::{Bundle, Share, SidecarFiles, share},
    writer::{Settings, Writer},
};

/// What the gateway calls itself where sidecars have their namespace: at the store.
pub(super) const GATEWAY: &str = "_gateway";

/// What namespaces are to have in the gateway. A handle: clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    by_namespace: Mutex<BTreeMap<String, Share>>,
    /// Who issues the tokens of pods.
    issuer: Mutex<Option<Vec<u8>>>,
    changed: Notify,
}

impl Shares {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Share>> {
        // Nothing that could panic is done under it.
        self.0.by_namespace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came of a namespace.
    pub(super) fn put(&self, namespace: &str, share: Share) {
        let mut all = self.all();
        if all.get(namespace) != Some(&share) {
            all.insert(namespace.to_owned(), share);
            drop(all);
            self.0.changed.notify_one();
        }
    }

    /// Who issues the tokens of pods.
    fn put_issuer(&self, issuer: Vec<u8>) {
        let mut known = self.0.issuer.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() != Some(&issuer) {
            *known = Some(issuer);
            drop(known);
            self.0.changed.notify_one();
        }
    }

    fn issuer(&self) -> Option<Vec<u8>> {
        self.0.issuer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another replica acts now.
    pub(super) fn clear(&self) {
        self.all().clear();
        self.0.changed.notify_one();
    }

    fn get(&self) -> BTreeMap<String, Share> {
        self.all().clone()
    }

    async fn changed(&self) {
        self.0.changed.notified().await;
    }
}
