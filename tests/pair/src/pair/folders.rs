//! The folders of a pair.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

/// All in one temporary folder, removed at the end.
#[derive(Debug)]
pub(super) struct Folders {
    root: TempDir,
    manifests: PathBuf,
    config: PathBuf,
    operator_state: PathBuf,
    sidecar_state: PathBuf,
}

impl Folders {
    pub(super) fn create() -> anyhow::Result<Self> {
        let root = tempfile::Builder::new()
            .prefix("vectoll-pair-")
            .tempdir()
            .context("failed to create a temporary folder")?;
        let folder = |name: &str| {
            let folder = root.path().join(name);
            fs::create_dir(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
            anyhow::Ok(folder)
        };
        Ok(Self {
            manifests: folder("manifests")?,
            config: folder("config")?,
            operator_state: folder("operator-state")?,
            sidecar_state: folder("sidecar-state")?,
            root,
        })
    }

    pub(super) fn manifests(&self) -> &Path {
        &self.manifests
    }

    pub(super) fn config(&self) -> &Path {
        &self.config
    }

    pub(super) fn operator_state(&self) -> &Path {
        &self.operator_state
    }

    pub(super) fn sidecar_state(&self) -> &Path {
        &self.sidecar_state
    }

    /// Whether the operator has written anything that is not hidden.
    pub(super) fn has_config(&self) -> anyhow::Result<bool> {
        for entry in fs::read_dir(&self.config).context("failed to read the config folder")? {
            if !entry?.file_name().as_encoded_bytes().starts_with(b".") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn write_manifest(&self, name: &str, yaml: &str) -> anyhow::Result<()> {
        let written = self.root.path().join(format!("{name}.written"));
        fs::write(&written, yaml).with_context(|| format!("failed to write {}", written.display()))?;
        fs::rename(&written, self.manifests.join(name)).with_context(|| format!("failed to put {name} in place"))
    }

    pub(super) fn remove_manifest(&self, name: &str) -> anyhow::Result<()> {
        fs::remove_file(self.manifests.join(name)).with_context(|| format!("failed to remove {name}"))
    }
}
