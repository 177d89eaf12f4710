//! Reading the config folder as one moment.
//!
//! The kubelet, and the operator on its own, keep the files in a versioned folder behind the link `..data` and swap the
//! link. Following it once gives files that belong together.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// SHA-256 over names and contents.
pub(super) type Fingerprint = [u8; 32];

/// The most that is read of one file: a Secret holds 1 MiB in all.
const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;

/// Files that belong together.
pub(super) struct Read {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) fingerprint: Fingerprint,
}

/// Reads all files of the folder.
pub(super) fn read(folder: &Path) -> io::Result<Read> {
    let version: PathBuf = match fs::read_link(folder.join("..data")) {
        Ok(target) => folder.join(target),
        Err(_) => folder.to_owned(),
    };
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(&version)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Hidden files are editors' and the swap's own.
        if name.starts_with('.') || !entry.path().is_file() {
            continue;
        }
        if entry.path().metadata()?.len() > MAX_CONFIG_BYTES {
            return Err(io::Error::other(format!("{name} is larger than {MAX_CONFIG_BYTES} bytes")));
        }
        files.insert(name, fs::read(entry.path())?);
    }
    let mut hash = Sha256::new();
    for (name, content) in &files {
        for part in [name.as_bytes(), content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    Ok(Read { files, fingerprint: hash.finalize().into() })
}
