//! From the config folder to the policy in force: read, compile, swap; and again whenever the content changes.
//!
//! A config is refused whole, and the last good one stays. Nothing counts as seen before it was applied, and what is
//! compared is the content, not a modification time.

mod folder;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use vectoll_config::{ConfigError, read_v1, v1};

use crate::{
    policy::{CompileError, compile},
    proxy::Proxy,
};

pub use watch::watch;

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
    http: reqwest::Client,
    applied: Option<folder::Fingerprint>,
    /// The last failure, so that a lasting one is logged once.
    failing: Option<String>,
}

impl Reloader {
    /// For a folder.
    pub fn new(folder: &Path, proxy: Arc<Proxy>, http: reqwest::Client) -> Self {
        Self { folder: folder.to_owned(), proxy, http, applied: None, failing: None }
    }

    /// Applies the folder's content if it is new. Failures are logged and counted; the last good config stays.
    pub fn reload(&mut self) {
        let metrics = &self.proxy.metrics.config;
        match self.load() {
            Ok(None) => {
                if self.failing.take().is_some() {
                    tracing::info!("the config folder is again as it was applied");
                }
                metrics.stale.set(0);
            }
            Ok(Some((fingerprint, policy))) => {
                let generation = policy.generation;
                tracing::info!(generation, keys = policy.all_keys.len(), teams = policy.teams.len(), "config applied");
                self.proxy.policy.store(Arc::new(policy));
                self.applied = Some(fingerprint);
                self.failing = None;
                metrics.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
                metrics.applied.set(jiff::Timestamp::now().as_second());
                metrics.reloads.with_label_values(&["applied"]).inc();
                metrics.stale.set(0);
            }
            Err(error) => {
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

    /// A new policy, or none where the content is the one in force.
    fn load(&self) -> Result<Option<(folder::Fingerprint, crate::policy::Policy)>, ReloadError> {
        let read =
            folder::read(&self.folder).map_err(|source| ReloadError::Folder { folder: self.folder.clone(), source })?;
        if self.applied.as_ref() == Some(&read.fingerprint) {
            return Ok(None);
        }
        let config = read.files.get(v1::FILE).ok_or_else(|| ReloadError::Missing {
            folder: self.folder.clone(),
            found: read.files.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        let config = read_v1(std::str::from_utf8(config).map_err(|_| ReloadError::NotText)?)?;
        let policy = compile(config, &read.files, &self.http)?;
        Ok(Some((read.fingerprint, policy)))
    }
}
