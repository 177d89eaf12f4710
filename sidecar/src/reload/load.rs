//! A look into a config folder: what is there is read, checked and compiled, or it is said why not.

use std::{
    io,
    path::{Path, PathBuf},
};

use vectoll_config::{ConfigError, read_v1, v1};

use super::folder;
use crate::policy::{CompileError, OwnKey, Policy, SharedState, compile};

/// Why the folder's content is not in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Not readable.
    #[error("failed to read the config folder {folder}: {source}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
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
    /// It is another namespace's than the folder is named by.
    #[error("config.v1.yaml: the folder {folder} holds the config of the namespace {namespace}")]
    Namespace {
        /// The folder's name.
        folder: String,
        /// The config's.
        namespace: String,
    },
    /// It counts elsewhere than the others.
    #[error("config.v1.yaml: store: another store than that of most namespaces: a gateway counts by one")]
    OtherStore,
}

/// What a look into the folder has found.
pub(super) enum Loaded {
    /// What is served already.
    InForce,
    /// What was refused already.
    RefusedBefore,
    /// Something new that can be served.
    New(folder::Fingerprint, Box<Policy>),
    /// Something that cannot.
    Refused(Option<folder::Fingerprint>, ReloadError),
}

pub(super) fn load(
    folder: &Path,
    read: io::Result<folder::Read>,
    applied: Option<folder::Fingerprint>,
    refused: Option<folder::Fingerprint>,
    lasting: &SharedState,
    own: Option<&OwnKey>,
) -> Loaded {
    let read = match read {
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
