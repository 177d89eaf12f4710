//! A folder as the kubelet keeps a volume: a folder for each version, a link to the one in force, and a link to each of its files.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, anyhow};

/// The link that is swapped.
const IN_FORCE: &str = "..data";

/// A volume.
#[derive(Debug)]
pub struct Volume {
    folder: PathBuf,
    version: u64,
}

impl Volume {
    /// Fills an empty folder.
    pub fn create(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<Self> {
        let volume = Self { folder: folder.to_owned(), version: 0 };
        let first = volume.of_version(0);
        fs::create_dir(&first).with_context(|| format!("failed to make {}", first.display()))?;
        for (name, content) in files {
            fs::write(first.join(name), content).with_context(|| format!("failed to write {name}"))?;
            symlink(Path::new(IN_FORCE).join(name), folder.join(name)).context("failed to make a link")?;
        }
        volume.swap(&first)?;
        Ok(volume)
    }

    /// Puts another version in force, in which one file is another one: when that was. Files that stay are the same in both.
    pub fn change(&mut self, changed: &str, content: &[u8]) -> anyhow::Result<Instant> {
        let (before, after) = (self.of_version(self.version), self.of_version(self.version + 1));
        fs::create_dir(&after).with_context(|| format!("failed to make {}", after.display()))?;
        for entry in fs::read_dir(&before).with_context(|| format!("failed to list {}", before.display()))? {
            let name = entry?.file_name();
            if name != changed {
                fs::hard_link(before.join(&name), after.join(&name)).context("failed to keep a file")?;
            }
        }
        fs::write(after.join(changed), content).with_context(|| format!("failed to write {changed}"))?;
        let swapped = self.swap(&after)?;
        self.version += 1;
        fs::remove_dir_all(&before).with_context(|| format!("failed to remove {}", before.display()))?;
        Ok(swapped)
    }

    fn of_version(&self, version: u64) -> PathBuf {
        self.folder.join(format!("..version-{version}"))
    }

    fn swap(&self, to: &Path) -> anyhow::Result<Instant> {
        let link = self.folder.join("..data_tmp");
        let name = to.file_name().ok_or_else(|| anyhow!("{} has no name", to.display()))?;
        symlink(name, &link).context("failed to make a link")?;
        let swapped = Instant::now();
        fs::rename(&link, self.folder.join(IN_FORCE)).context("failed to put the version in force")?;
        Ok(swapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_file_in_another_version() {
        let folder = tempfile::tempdir().unwrap();
        let files = [("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())].into();
        let mut volume = Volume::create(folder.path(), &files).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((read("a"), read("b")), ("1".to_owned(), "2".to_owned()));
        for content in ["3", "4"] {
            volume.change("a", content.as_bytes()).unwrap();
            assert_eq!((read("a"), read("b")), (content.to_owned(), "2".to_owned()));
        }
        let versions = fs::read_dir(folder.path()).unwrap().flatten();
        let versions = versions.filter(|entry| entry.file_name().to_string_lossy().starts_with("..version"));
        assert_eq!(versions.count(), 1);
    }
}
