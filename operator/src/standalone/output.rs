//! Where configs go: one namespace's into the config folder of a sidecar, or each namespace's into a folder of its own within a gateway's.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use jiff::Timestamp;
use vectoll_config::ObjectName;

use super::config_dir::ConfigDir;
use crate::{
    desired_state::{Credentials, DesiredState},
    observed_state::ObservedState,
    store::Logins,
};

/// Where configs go.
pub(super) enum Output {
    /// What a sidecar in this namespace reads.
    Sidecar(String, ConfigDir),
    /// What a gateway reads: the folder with a folder for each namespace that has keys.
    Gateway(PathBuf),
}

impl Output {
    /// Opens the folder, which is made if need be.
    pub(super) fn open(folder: &Path, namespace: &str, gateway: bool) -> anyhow::Result<Self> {
        if gateway {
            fs::create_dir_all(folder).with_context(|| format!("failed to make the folder {}", folder.display()))?;
            return Ok(Self::Gateway(folder.to_owned()));
        }
        Ok(Self::Sidecar(namespace.to_owned(), ConfigDir::open(folder)?))
    }

    /// Whether an earlier run has written something.
    pub(super) fn has_config(&self) -> anyhow::Result<bool> {
        Ok(match self {
            Self::Sidecar(_, folder) => folder.has_config(),
            Self::Gateway(folder) => !written(folder)?.is_empty(),
        })
    }

    /// Writes what is new. One namespace that cannot be written keeps no other one back. `read_all`: only then is a namespace taken to be
    /// gone.
    pub(super) fn write(
        &self,
        (desired, observed): (&DesiredState, &ObservedState),
        logins: Option<&Logins>,
        read_all: bool,
    ) -> anyhow::Result<()> {
        let write = |namespace: &str, folder: &ConfigDir| {
            let store = logins.map(|logins| logins.of(namespace, Timestamp::now()));
            let whom = match self {
                Self::Sidecar(..) => Credentials::Deliver,
                Self::Gateway(_) => Credentials::Gateway,
            };
            let config = desired.config(observed, namespace, whom, store);
            if let Some(generation) = folder.write(config)? {
                tracing::info!(namespace, generation, "config written");
            }
            Ok(())
        };
        let folder = match self {
            Self::Sidecar(namespace, folder) => return write(namespace, folder),
            Self::Gateway(folder) => folder,
        };
        let wanted: BTreeSet<&str> = observed.api_keys.keys().map(ObjectName::namespace).collect();
        let mut failed = None;
        for namespace in &wanted {
            let written = ConfigDir::open(&folder.join(namespace)).and_then(|folder| write(namespace, &folder));
            failed = failed.or(written.err());
        }
        if read_all {
            for namespace in written(folder)?.iter().filter(|namespace| !wanted.contains(namespace.as_str())) {
                let removed = remove(folder, namespace);
                failed = failed.or(removed.err());
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// The namespaces that something was written for.
fn written(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let failed = || format!("failed to read {}", folder.display());
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with('.') && entry.path().is_dir() && ConfigDir::open(&entry.path())?.has_config() {
            found.insert(name);
        }
    }
    Ok(found)
}

/// Takes a namespace's folder away: under its name it is gone at once, and with it its keys.
fn remove(folder: &Path, namespace: &str) -> anyhow::Result<()> {
    let aside = folder.join(format!("..gone-{namespace}"));
    let take_away = || {
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::rename(folder.join(namespace), &aside)?;
        fs::remove_dir_all(&aside)
    };
    take_away().with_context(|| format!("failed to remove {}", folder.join(namespace).display()))?;
    tracing::info!(namespace, "config removed: the namespace has no ApiKeys any more");
    Ok(())
}
