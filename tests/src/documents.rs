//! The project's pages, as tests read them: fenced blocks, links and headings.
//!
//! A block of commands has a name, in a comment on the line before it: `<!-- run: NAME -->`. The test that runs it takes it by
//! [`block`], so that what readers paste is what is run.

mod markdown;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

pub use self::markdown::{Block, anchors, blocks, links};

/// A page in Markdown.
#[derive(Clone, Debug)]
pub struct Page {
    /// Where it is in the repository.
    pub path: String,
    /// The whole of it.
    pub text: String,
}

/// The repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All pages of the repository, by path.
pub fn pages() -> anyhow::Result<Vec<Page>> {
    let mut found = Vec::new();
    for path in files("md")? {
        let text =
            std::fs::read_to_string(repository().join(&path)).with_context(|| format!("failed to read {path}"))?;
        found.push(Page { path, text });
    }
    ensure!(found.len() > 20, "only {} pages were found", found.len());
    Ok(found)
}

/// The block of this name, of whichever page.
pub fn block(name: &str) -> anyhow::Result<String> {
    let mut found = Vec::new();
    for page in pages()? {
        let blocks = blocks(&page.text).with_context(|| page.path.clone())?;
        found.extend(blocks.into_iter().filter(|block| block.name.as_deref() == Some(name)));
    }
    match found.as_slice() {
        [only] => Ok(only.text.clone()),
        [] => bail!("no page has a block <!-- run: {name} -->"),
        _ => bail!("several pages have a block <!-- run: {name} -->"),
    }
}

/// A text in which a part, which must be there, is another: what a test's surroundings cannot have as it is written.
pub fn with(text: &str, part: &str, other: &str) -> anyhow::Result<String> {
    ensure!(text.contains(part), "the page has no {part:?} any more: {text}");
    Ok(text.replace(part, other))
}

/// Paths of the repository's files with this extension, sorted. What is built or hidden does not count.
pub fn files(extension: &str) -> anyhow::Result<Vec<String>> {
    let root = repository();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().with_context(|| format!("failed to list {}", folder.display()))? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if entry.file_type()?.is_dir() {
                if !name.starts_with('.') && !["target", "run", "node_modules"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(&root)?.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}
