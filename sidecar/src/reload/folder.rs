//! Reading the config folder as one moment.
//!
//! The kubelet, and the operator on its own, keep the files in a versioned folder behind the link `..data` and swap the
//! link. Following it once gives files that belong together.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// The link that is swapped.
pub(super) const LINK: &str = "..data";

/// SHA-256 over names and contents.
pub(super) type Fingerprint = [u8; 32];

/// The most that is read of one file: a Secret holds 1 MiB in all.
const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;

/// Files that belong together.
pub(super) struct Read {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) fingerprint: Fingerprint,
}

/// Which files a folder's link leads to. What it leads to is never written again, so the same one holds the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    target: PathBuf,
    identity: (u64, u64, i64, i64),
}

/// The version that a folder's link leads to; none: it has no link, and files may change where they are.
pub(super) fn version(folder: &Path) -> Option<Version> {
    let target = folder.join(fs::read_link(folder.join(LINK)).ok()?);
    let found = fs::metadata(&target).ok()?;
    let identity = (found.dev(), found.ino(), found.ctime(), found.ctime_nsec());
    Some(Version { target, identity })
}

/// Whether anything was written to the folder yet.
pub(super) fn has_config(folder: &Path) -> bool {
    [LINK, vectoll_config::v1::FILE].iter().any(|name| fs::symlink_metadata(folder.join(name)).is_ok())
}

/// Reads all files of the folder.
pub(super) fn read(folder: &Path) -> io::Result<Read> {
    let version: PathBuf = match fs::read_link(folder.join(LINK)) {
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
    Ok(Read { fingerprint: fingerprint(&files), files })
}

/// Reads what a file holds in place of a folder.
pub(super) fn read_bundle(file: &Path) -> io::Result<Read> {
    if fs::metadata(file)?.len() > MAX_CONFIG_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_CONFIG_BYTES} bytes")));
    }
    let files = vectoll_config::read_bundle(&fs::read(file)?).map_err(io::Error::other)?;
    Ok(Read { fingerprint: fingerprint(&files), files })
}

fn fingerprint(files: &BTreeMap<String, Vec<u8>>) -> Fingerprint {
    let mut hash = Sha256::new();
    for (name, content) in files {
        for part in [name.as_bytes(), content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}
