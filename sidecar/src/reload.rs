//! From the config folder to the policy in force: read, compile, swap; and again whenever the content changes.
//!
//! A config is refused whole, and the last good one stays. Nothing counts as seen before it was applied, and what is
//! compared is the content, not a modification time. A gateway's folder has a config for each namespace: [`Namespaces`].

mod counting;
mod folder;
mod load;
mod namespaces;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::RecursiveMode;

use crate::{
    metrics::OneConfig,
    policy::{OwnKey, SharedState},
    proxy::Proxy,
};

use self::{
    counting::count_by,
    load::{Loaded, load},
};
pub use self::{
    counting::{KEPT_FOR_STORE, StoreSender},
    load::ReloadError,
    namespaces::{Namespaces, NamespacesMetrics},
    watch::{Reload, watch},
};

/// Keeps the policy in step with the folder.
#[derive(Debug)]
pub struct Reloader {
    folder: PathBuf,
    proxy: Arc<Proxy>,
    lasting: SharedState,
    own: Option<OwnKey>,
    store: StoreSender,
    applied: Option<folder::Fingerprint>,
    /// Content that was refused: it is not read again before it changes.
    refused: Option<folder::Fingerprint>,
    /// The last failure, so that a lasting one is logged once.
    failing: Option<String>,
    metrics: OneConfig,
}

impl Reloader {
    /// For a folder, and the key that is the pod's own.
    pub fn new(
        folder: &Path,
        proxy: Arc<Proxy>,
        lasting: SharedState,
        own: Option<OwnKey>,
        store: StoreSender,
    ) -> Self {
        let metrics = proxy.metrics.config.of("");
        let folder = folder.to_owned();
        Self { folder, proxy, lasting, own, store, applied: None, refused: None, failing: None, metrics }
    }
}

impl Reload for Reloader {
    const MODE: RecursiveMode = RecursiveMode::NonRecursive;

    fn folder(&self) -> &Path {
        &self.folder
    }

    /// Applies the folder's content if it is new. Failures are logged and counted; the last good config stays.
    async fn reload(&mut self) {
        let (folder, lasting, own) = (self.folder.clone(), self.lasting.clone(), self.own.clone());
        let (applied, refused) = (self.applied, self.refused);
        // On a thread of its own: calls go on while a large config is read or the built-in model loaded.
        let loading = tokio::task::spawn_blocking(move || {
            load(&folder, folder::read(&folder), applied, refused, &lasting, own.as_ref())
        });
        let Ok(loaded) = loading.await else { return };
        let metrics = &self.metrics;
        match loaded {
            Loaded::RefusedBefore => {}
            Loaded::InForce => {
                self.refused = None;
                if self.failing.take().is_some() {
                    tracing::info!("the config folder is again as it was applied");
                }
                metrics.stale.set(0);
            }
            Loaded::New(fingerprint, policy) => {
                let generation = policy.generation;
                tracing::info!(generation, keys = policy.all_keys.len(), teams = policy.teams.len(), "config applied");
                count_by(&self.proxy, &self.store, policy.store.clone());
                let policy = Arc::new(*policy);
                self.proxy.policy.store(policy.clone());
                self.lasting.health.put_in_force(policy.backends().map(|backend| &backend.health));
                self.proxy.accounting.counters.together().ring();
                self.applied = Some(fingerprint);
                self.refused = None;
                self.failing = None;
                metrics.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
                metrics.applied.set(jiff::Timestamp::now().as_second());
                metrics.reloads.inc();
                metrics.stale.set(0);
            }
            Loaded::Refused(fingerprint, error) => {
                self.refused = fingerprint;
                let message = error.to_string();
                if self.failing.as_ref() != Some(&message) {
                    let in_force = self.proxy.policy.load().generation;
                    tracing::error!(error = message, in_force, "config refused: the last good one stays");
                    metrics.refusals.inc();
                    self.failing = Some(message);
                }
                metrics.stale.set(1);
            }
        }
    }
}
