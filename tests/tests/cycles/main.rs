//! Inside a crate, arrows between files point one way as well: no file leads back to itself by what it names.
//!
//! | in a file | is |
//! |---|---|
//! | `use` of an item, and each path to one, in code and in macros | an arrow to the file that defines the item |
//! | `mod x;` | no arrow: a parent may hold its children without using them |
//! | `pub use` | no arrow, as long as the file itself does not use the name; others' arrows go on to where it is defined |
//! | `use` of a module | no arrow: what is named through it is one |
//! | what stands under `#[cfg(test)]` | left out |

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "tests"
)]

mod graph;
mod made_up;
mod module;
mod tree;

use std::{collections::BTreeMap, fs, path::Path};

use cargo_metadata::MetadataCommand;

use crate::tree::Tree;

#[test]
fn no_file_leads_back_to_itself() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let root = metadata.workspace_root.as_std_path();
    let read = |path: &Path| fs::read_to_string(path).ok();
    let (mut cycles, mut files, mut arrows) = (Vec::new(), 0, 0);
    for package in &metadata.packages {
        for target in &package.targets {
            let tree = Tree::new(target.src_path.as_std_path(), &read).unwrap();
            files += tree.files.len();
            arrows += tree.arrows().iter().map(BTreeMap::len).sum::<usize>();
            cycles.extend(graph::cycles(&tree).iter().map(|cycle| {
                format!("{}, {} {}: {}", package.name, target.kind[0], target.name, cycle.describe(&tree, root))
            }));
        }
    }
    assert!(arrows > files && files > metadata.packages.len(), "{arrows} arrows in {files} files: most was not read");
    assert!(cycles.is_empty(), "move what both sides need into a file of its own:\n{}", cycles.join("\n"));
}
