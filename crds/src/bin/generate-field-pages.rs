//! Writes the pages of fields in Markdown into a folder, one file a kind: `generate-field-pages crds/docs`.

use std::path::PathBuf;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let folder: PathBuf = std::env::args_os().nth(1).context("usage: generate-field-pages FOLDER")?.into();
    for page in vectoll_crds::field_pages().context("failed to read the definitions")? {
        let path = folder.join(page.file);
        std::fs::write(&path, page.text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}
