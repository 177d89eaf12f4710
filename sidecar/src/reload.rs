//! From the config folder to the policy in force: read, compile, swap; and again whenever the content changes.
//!
//! A config is refused whole, and the last good one stays. Nothing counts as seen before it was applied, and what is
//! compared is the content, not a modification time.

mod folder;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch::Sender;
use vectoll_config::{ConfigError, read_v1, v1};

use crate::{
    policy::{CompileError, OwnKey, Policy, SharedState, compile},
    proxy::Proxy,
};
use vectoll_ledger::journal::Retention;
use vectoll_limits::store::StoreAccess;

pub use self::watch::watch;

/// How long spend is kept in the journal after the store has it: a store that fails over may lose what it had.
pub const KEPT_FOR_STORE: Duration = Duration::from_mins(15);

/// Why the folder's content is not in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Not readable.
    #[error("failed to read the config folder {folder}: {source}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No config in it that this version reads.
    #[error("there is no {} in {folder} (it holds: {found})", v1::FILE)]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// Other files in it.
        found: String,
    },
    /// Not UTF-8.
    #[error("{} is not UTF-8", v1::FILE)]
    NotText,
    /// Not a config.
    #[error("config.v1.yaml: {0}")]
    Config(#[from] ConfigError),
    /// Cannot be served.
    #[error("config.v1.yaml: {0}")]
    Compile(#[from] CompileError),
}

/// Keeps the policy in step with the folder.
#[derive(Debug)]
pub struct Reloader {
    folder: PathBuf,
    proxy: Arc<Proxy>,
    lasting: SharedState,
    own: Option<OwnKey>,
    /// Who speaks to the store is told here where it is.
    store: Sender<Option<Arc<StoreAccess>>>,
    applied: Option<folder::Fingerprint>,
    /// Content that was refused: it is not read again before it changes.
    refused: Option<folder::Fingerprint>,
    /// The last failure, so that a lasting one is logged once.
    failing: Option<String>,
}

impl Reloader {
    /// For a folder, and the key that is the pod's own.
    pub fn new(
        folder: &Path,
        proxy: Arc<Proxy>,
        lasting: SharedState,
        own: Option<OwnKey>,
        store: Sender<Option<Arc<StoreAccess>>>,
    ) -> Self {
        Self { folder: folder.to_owned(), proxy, lasting, own, store, applied: None, refused: None, failing: None }
    }

    /// Applies the folder's content if it is new. Failures are logged and counted; the last good config stays.
    pub async fn reload(&mut self) {
        let (folder, lasting, own) = (self.folder.clone(), self.lasting.clone(), self.own.clone());
        let (applied, refused) = (self.applied, self.refused);
        // On a thread of its own: calls go on while a large config is read or the built-in model loaded.
        let loading = tokio::task::spawn_blocking(move || load(&folder, applied, refused, &lasting, own.as_ref()));
        let Ok(loaded) = loading.await else { return };
        let metrics = &self.proxy.metrics.config;
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
                self.count_by(policy.store.clone());
                let policy = Arc::new(*policy);
                self.proxy.policy.store(policy.clone());
                self.lasting.health.put_in_force(policy.backends().map(|backend| &backend.health));
                self.proxy.accounting.counters.together().ring();
                self.applied = Some(fingerprint);
                self.refused = None;
                self.failing = None;
                metrics.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
                metrics.applied.set(jiff::Timestamp::now().as_second());
                metrics.reloads.with_label_values(&["applied"]).inc();
                metrics.stale.set(0);
            }
            Loaded::Refused(fingerprint, error) => {
                self.refused = fingerprint;
                let message = error.to_string();
                if self.failing.as_ref() != Some(&message) {
                    let in_force = self.proxy.policy.load().generation;
                    tracing::error!(error = message, in_force, "config refused: the last good one stays");
                    metrics.reloads.with_label_values(&["refused"]).inc();
                    self.failing = Some(message);
                }
                metrics.stale.set(1);
            }
        }
    }
}

impl Reloader {
    /// Counts alone or together, before the first call goes by the new config.
    fn count_by(&self, store: Option<Arc<StoreAccess>>) {
        let accounting = &self.proxy.accounting;
        accounting.counters.use_store(store.is_some());
        accounting.journal.retain(match store {
            Some(_) => Retention::Acknowledged { keep: KEPT_FOR_STORE },
            None => Retention::Checkpoint,
        });
        self.store.send_if_modified(|present| {
            let changes = *present != store;
            *present = store;
            changes
        });
    }
}

/// What a look into the folder has found.
enum Loaded {
    /// What is served already.
    InForce,
    /// What was refused already.
    RefusedBefore,
    /// Something new that can be served.
    New(folder::Fingerprint, Box<Policy>),
    /// Something that cannot.
    Refused(Option<folder::Fingerprint>, ReloadError),
}

fn load(
    folder: &Path,
    applied: Option<folder::Fingerprint>,
    refused: Option<folder::Fingerprint>,
    lasting: &SharedState,
    own: Option<&OwnKey>,
) -> Loaded {
    let read = match folder::read(folder) {
        Ok(read) => read,
        Err(source) => return Loaded::Refused(None, ReloadError::Folder { folder: folder.to_owned(), source }),
    };
    let fingerprint = Some(read.fingerprint);
    if applied == fingerprint {
        return Loaded::InForce;
    }
    if refused == fingerprint {
        return Loaded::RefusedBefore;
    }
    match config(folder, &read) {
        Ok(config) => match compile(config, &read.files, lasting, own) {
            Ok(policy) => Loaded::New(read.fingerprint, Box::new(policy)),
            Err(error) => Loaded::Refused(fingerprint, error.into()),
        },
        Err(error) => Loaded::Refused(fingerprint, error),
    }
}

fn config(folder: &Path, read: &folder::Read) -> Result<v1::Config, ReloadError> {
    let text = read.files.get(v1::FILE).ok_or_else(|| ReloadError::Missing {
        folder: folder.to_owned(),
        found: read.files.keys().cloned().collect::<Vec<_>>().join(", "),
    })?;
    Ok(read_v1(std::str::from_utf8(text).map_err(|_| ReloadError::NotText)?)?)
}
