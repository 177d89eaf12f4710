//! What a package manager installed, kept outside the checkout from run to run.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A folder that belongs to exactly this lock file and this version of the language.
#[derive(Debug)]
pub struct Cached {
    folder: PathBuf,
}

impl Cached {
    /// The folder for `name`, under `$XDG_CACHE_HOME/vectoll` or `~/.cache/vectoll`.
    pub fn new(name: &str, lock: &Path, version: &str) -> anyhow::Result<Self> {
        let lock = fs::read(lock).with_context(|| format!("failed to read {}", lock.display()))?;
        // Not for security: the packages' own hashes are in the lock file. Another compiler may hash otherwise, and installs anew.
        let mut hasher = DefaultHasher::new();
        (lock, version).hash(&mut hasher);
        Ok(Self { folder: root()?.join("vectoll").join(format!("{name}-{:016x}", hasher.finish())) })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether an installation was finished here.
    pub fn is_complete(&self) -> bool {
        self.stamp().is_file()
    }

    /// Empties the folder, from an installation that was broken off.
    pub fn clear(&self) -> anyhow::Result<()> {
        let folder = self.folder.display();
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).with_context(|| format!("failed to remove {folder}"))?;
        }
        fs::create_dir_all(&self.folder).with_context(|| format!("failed to create {folder}"))
    }

    /// The installation is finished.
    pub fn complete(&self) -> anyhow::Result<()> {
        fs::write(self.stamp(), "").context("failed to mark the installation as finished")
    }

    fn stamp(&self) -> PathBuf {
        self.folder.join(".complete")
    }
}

fn root() -> anyhow::Result<PathBuf> {
    if let Some(cache) = env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty()) {
        return Ok(cache.into());
    }
    let home = env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache"))
}
