//! What one namespace is reconciled with: what it refers to is read, then a snapshot is taken, then it is reconciled beside the loop.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::Semaphore;
use vectoll_config::ObjectName;

use super::{
    cluster_state::{content_of, entries, version_of},
    memory::{Memory, RememberedState},
    names,
    object_cache::CacheEntry,
    plan::{PersistentFailures, config_name},
    raw::Raw,
    reconcile_namespace::{NamespaceInputs, Reconciled},
    snapshot::Setting,
    store::StoreView,
    watch::StateHandle,
};
use crate::observed_state::SecretContent;

/// The longest that one request may take. It may have been carried out then: the watch will tell.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Secrets of one namespace that are read at the same time.
const READERS: usize = 16;

/// How often a Secret is read before it counts as one that cannot be.
const READ_TRIES: usize = 3;
const READ_PAUSE: Duration = Duration::from_millis(300);

/// What is known of a namespace is not all there is.
#[derive(Debug, thiserror::Error)]
#[error("the operator is not allowed to list what is in this namespace")]
pub(super) struct NotSynced;

/// What a namespace is reconciled with.
pub(super) struct Gather {
    pub(super) client: Client,
    pub(super) shared: StateHandle,
    pub(super) memory: Arc<Mutex<Memory>>,
    pub(super) setting: Setting,
    pub(super) store: Option<StoreView>,
    pub(super) reconciling: Arc<Semaphore>,
    pub(super) troubles: PersistentFailures,
    pub(super) bulk: usize,
}

impl Gather {
    /// Reads what is referred to, takes a snapshot, and reconciles it. With how many changes were known then.
    pub(super) async fn reconcile(self, namespace: &str) -> anyhow::Result<(Reconciled, u64)> {
        self.read_references(namespace).await?;
        let there = self.read_config(namespace).await?;
        let turn = self.reconciling.clone().acquire_owned().await.context("the loop has ended")?;
        let Self { shared, memory, setting, store, troubles, bulk, .. } = self;
        let gateway = setting.gateway;
        let namespace = namespace.to_owned();
        tokio::task::spawn_blocking(move || {
            // What is done from here on may not be in the snapshot.
            let began = Instant::now();
            let (snapshot, RememberedState { offers, prepared, readers, changes }) = {
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                let snapshot = shared.snapshot(&namespace, &setting, |of| memory.knows_offers_of(of));
                let remembered = memory.remembered(&namespace, &snapshot);
                (snapshot, remembered)
            };
            let now = Timestamp::now();
            let inputs = NamespaceInputs {
                namespace,
                snapshot,
                offers,
                prepared,
                there,
                readers,
                store,
                gateway,
                troubles,
                bulk,
                began,
                now,
            };
            let reconciled = inputs.reconcile();
            drop(turn);
            (reconciled, changes)
        })
        .await
        .context("reconciling failed")
    }

    /// Reads the Secrets that are referred to and have changed.
    async fn read_references(&self, namespace: &str) -> anyhow::Result<()> {
        if !self.shared.cluster().watches.is_heard(namespace, Instant::now()) {
            return Err(NotSynced.into());
        }
        let unread = {
            let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            let mut cluster = self.shared.cluster();
            cluster.forget_unreferenced(namespace);
            cluster.unread(namespace, |of| memory.knows_offers_of(of))
        };
        let mut read = stream::iter(unread).map(|name| self.read(name)).buffer_unordered(READERS);
        while let Some((name, found)) = read.next().await {
            let mut cluster = self.shared.cluster();
            match found {
                Ok(found) => {
                    cluster.unreadable.remove(&name);
                    match found {
                        Some(seen) => drop(cluster.referenced.insert(name, seen)),
                        // Deleted meanwhile: the watch will say so.
                        None => drop(cluster.referenced.remove(&name)),
                    }
                }
                // What refers to it goes on as it is, and everything else is reconciled all the same.
                Err(error) => {
                    let why: Arc<str> = format!("{error:#}").into();
                    let known = cluster.unreadable.insert(name.clone(), why.clone());
                    drop(cluster);
                    if known.as_ref() != Some(&why) {
                        tracing::warn!(%name, error = %why, "a Secret cannot be read: what sidecars have of it stays in force");
                    }
                }
            }
        }
        Ok(())
    }

    /// What is in the config Secret, where nobody remembers what was written: as after a start.
    async fn read_config(&self, namespace: &str) -> anyhow::Result<Option<Arc<BTreeMap<String, Vec<u8>>>>> {
        let is_known = self.memory.lock().unwrap_or_else(PoisonError::into_inner).knows_config_of(namespace);
        if is_known || self.shared.cluster().configs.get(&config_name(namespace)).is_none() {
            return Ok(None);
        }
        let api: Api<Raw<Secret>> = Api::namespaced(self.client.clone(), namespace);
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, api.get_opt(names::CONFIG_SECRET)).await;
        let answer = answer.map_err(|_| anyhow::anyhow!("no answer in {REQUEST_TIMEOUT:?}"));
        let secret = answer
            .and_then(|answer| answer.map_err(anyhow::Error::from))
            .with_context(|| format!("failed to read the config Secret of {namespace}"))?;
        Ok(secret.map(|secret| Arc::new(entries(&secret))))
    }

    /// One Secret, with its name. What fails once is often well a moment later; where it is not allowed nothing is.
    async fn read(&self, name: ObjectName) -> (ObjectName, anyhow::Result<Option<CacheEntry<Arc<SecretContent>>>>) {
        let api: Api<Raw<Secret>> = Api::namespaced(self.client.clone(), name.namespace());
        let mut tries = 0;
        let found = loop {
            tries += 1;
            match tokio::time::timeout(REQUEST_TIMEOUT, api.get_opt(name.name())).await {
                Err(_) => break Err(anyhow::anyhow!("no answer in {REQUEST_TIMEOUT:?}")),
                Ok(Ok(secret)) => break Ok(secret),
                Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => {
                    break Err(anyhow::anyhow!("the operator is not allowed to get it"));
                }
                Ok(Err(error)) if tries == READ_TRIES => break Err(error.into()),
                Ok(Err(_)) => tokio::time::sleep(READ_PAUSE).await,
            }
        };
        let entry =
            |secret: Raw<Secret>| CacheEntry { version: version_of(&secret), value: Arc::new(content_of(&secret)) };
        (name, found.map(|secret| secret.map(entry)))
    }
}
