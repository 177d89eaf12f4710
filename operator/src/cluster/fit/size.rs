//! What files take of a Secret.

use std::collections::BTreeMap;

/// The files beside a config, by name.
pub(in crate::cluster) type Credentials = BTreeMap<String, Vec<u8>>;

/// The bytes that these files take of a Secret.
pub(in crate::cluster) fn size_of_files(files: &Credentials) -> usize {
    files.iter().map(size_of_file).sum()
}

/// The name counts, too.
pub(super) fn size_of_file((name, content): (&String, &Vec<u8>)) -> usize {
    name.len() + content.len()
}
