//! Writing the config folder as the kubelet writes a mounted Secret: a new folder beside the old one, and a link that is
//! swapped. Whoever reads through the link sees files that belong together.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use vectoll_config::{read_v1, v1, write_v1};

use crate::desired_state::NamespaceConfig;

/// The link to the files in force.
const DATA: &str = "..data";

/// The config folder.
pub(super) struct ConfigDir {
    folder: PathBuf,
}

impl ConfigDir {
    /// Opens the folder, which is made if need be.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("failed to make the folder {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Writes what is new. Returns the generation if anything was.
    pub(super) fn write(&self, wanted: NamespaceConfig) -> anyhow::Result<Option<u64>> {
        let NamespaceConfig { mut config, credentials } = wanted;
        let present = self.present()?;
        let generation = present.get(v1::FILE).and_then(|text| generation_of(text)).unwrap_or(0);
        let mut files = credentials;
        config.generation = generation;
        files.insert(v1::FILE.to_owned(), write_v1(&config)?.into_bytes());
        self.must_be_ours(&files)?;
        if files == present {
            self.link(&files)?;
            return Ok(None);
        }
        config.generation = generation + 1;
        files.insert(v1::FILE.to_owned(), write_v1(&config)?.into_bytes());
        self.swap(&files).with_context(|| format!("failed to write the config folder {}", self.folder.display()))?;
        Ok(Some(config.generation))
    }

    /// Whether a config was written to it.
    pub(super) fn has_config(&self) -> bool {
        self.folder.join(DATA).join(v1::FILE).exists()
    }

    /// Nothing of somebody else's stands where a link is to be.
    fn must_be_ours(&self, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
        for name in files.keys() {
            let path = self.folder.join(name);
            if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_symlink()) {
                bail!("{} is not the operator's: move it away", path.display());
            }
        }
        Ok(())
    }

    /// The files in force; none if nothing was written yet.
    fn present(&self) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        let mut files = BTreeMap::new();
        let Ok(entries) = fs::read_dir(self.folder.join(DATA)) else { return Ok(files) };
        for entry in entries {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                files.insert(name, fs::read(entry.path())?);
            }
        }
        Ok(files)
    }

    fn swap(&self, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
        // The folder may have been taken away meanwhile.
        fs::create_dir_all(&self.folder)?;
        let version = self.new_version()?;
        if let Err(error) = fill(&self.folder.join(&version), files) {
            let _ = fs::remove_dir_all(self.folder.join(&version));
            return Err(error.into());
        }
        let link = self.folder.join("..data_new");
        let _ = fs::remove_file(&link);
        symlink(&version, &link)?;
        fs::rename(&link, self.folder.join(DATA))?;
        self.link(files)?;
        self.tidy(&version, files)
    }

    fn new_version(&self) -> anyhow::Result<String> {
        let now = jiff::Timestamp::now().as_nanosecond();
        for attempt in 0..100 {
            let name = format!("..{now}_{attempt}");
            match fs::DirBuilder::new().mode(0o700).create(self.folder.join(&name)) {
                Ok(()) => return Ok(name),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("no free name for a new version")
    }

    /// A link for each file, so that the folder reads like a plain one.
    fn link(&self, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
        for name in files.keys() {
            let path = self.folder.join(name);
            if fs::symlink_metadata(&path).is_err() {
                symlink(Path::new(DATA).join(name), &path)?;
            }
        }
        Ok(())
    }

    /// Takes away what is no longer in force, of the operator's own making only.
    fn tidy(&self, version: &str, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
        let keep: BTreeSet<&str> = files.keys().map(String::as_str).collect();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type()?;
            if kind.is_symlink() && !name.starts_with("..") && !keep.contains(name.as_str()) {
                let ours = fs::read_link(entry.path())?.starts_with(DATA);
                if ours {
                    fs::remove_file(entry.path())?;
                }
            } else if kind.is_dir() && name.starts_with("..") && name != version {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

fn fill(version: &Path, files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    for (name, content) in files {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(version.join(name))?;
        file.write_all(content)?;
        file.sync_data()?;
    }
    Ok(())
}

fn generation_of(text: &[u8]) -> Option<u64> {
    Some(read_v1(std::str::from_utf8(text).ok()?).ok()?.generation)
}
