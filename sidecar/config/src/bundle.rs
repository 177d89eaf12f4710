//! The config folder of one namespace as one value, so that a Secret holds those of many. A gateway's volume has an entry for each
//! namespace, named by it.
//!
//! A first line says what it is; then each file is a line with its name and length, its bytes, and a line break.

use std::collections::BTreeMap;

const HEAD: &[u8] = b"vectoll bundle v1\n";

/// Not a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no bundle of files: {0}")]
pub struct BundleError(&'static str);

/// Files as one value. Their names hold neither spaces nor line breaks.
pub fn write_bundle(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut bundle = HEAD.to_vec();
    for (name, content) in files {
        bundle.extend_from_slice(format!("{name} {}\n", content.len()).as_bytes());
        bundle.extend_from_slice(content);
        bundle.push(b'\n');
    }
    bundle
}

/// The files of a bundle.
pub fn read_bundle(bundle: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, BundleError> {
    let mut rest = bundle.strip_prefix(HEAD).ok_or(BundleError("it begins otherwise, or is of another version"))?;
    let mut files = BTreeMap::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(BundleError("a line is cut short"))?;
        let (line, after) = rest.split_at(end);
        let line = std::str::from_utf8(line).map_err(|_| BundleError("a file's name is not UTF-8"))?;
        let (name, length) = line.split_once(' ').ok_or(BundleError("a file has no length"))?;
        let length: usize = length.parse().map_err(|_| BundleError("a file's length is no number"))?;
        let cut = BundleError("a file is cut short");
        let (content, after) = after.get(1..).and_then(|after| after.split_at_checked(length)).ok_or(cut.clone())?;
        rest = after.strip_prefix(b"\n").ok_or(cut)?;
        files.insert(name.to_owned(), content.to_vec());
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_that_was_cut() {
        let files: BTreeMap<String, Vec<u8>> = [
            ("config.v1.yaml".to_owned(), b"version: v1\n".to_vec()),
            ("credential.shop.openai".to_owned(), vec![0, 255, b'\n', b'\n']),
            ("empty".to_owned(), Vec::new()),
        ]
        .into();
        let bundle = write_bundle(&files);
        assert_eq!(read_bundle(&bundle).unwrap(), files);
        assert_eq!(read_bundle(&write_bundle(&BTreeMap::new())).unwrap(), BTreeMap::new());
        // Where it may end it is a bundle of fewer files, and the config in it ends in what says that it is whole.
        let ends = (0..bundle.len()).filter(|end| read_bundle(&bundle[..*end]).is_ok()).count();
        assert_eq!(ends, 3);
        for wrong in ["", "vectoll bundle v2\n", "vectoll bundle v1\nname\n", "vectoll bundle v1\nname x\n"] {
            assert!(read_bundle(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
