//! Arrows between the crates point one way: crds ◄ operator ► config ◄ sidecar.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a test"
)]

use std::collections::{BTreeSet, HashMap, VecDeque};

use anyhow::Context;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// The names of all that a package is built from, itself included.
fn closure(metadata: &Metadata, package: &str) -> anyhow::Result<BTreeSet<String>> {
    let names: HashMap<&PackageId, &str> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let resolve = metadata.resolve.as_ref().context("cargo resolved nothing")?;
    let start = metadata.packages.iter().find(|found| found.name == package).context("no such package")?;
    let mut seen = BTreeSet::from([&start.id]);
    let mut next = VecDeque::from([&start.id]);
    while let Some(id) = next.pop_front() {
        let node = resolve.nodes.iter().find(|node| node.id == *id).context("not resolved")?;
        for dependency in &node.deps {
            let built_in = dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development);
            if built_in && seen.insert(&dependency.pkg) {
                next.push_back(&dependency.pkg);
            }
        }
    }
    Ok(seen.into_iter().filter_map(|id| names.get(id)).map(|name| (*name).to_owned()).collect())
}

#[test]
fn nothing_points_back() -> anyhow::Result<()> {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()?;
    let ours = |package: &str| -> anyhow::Result<BTreeSet<String>> {
        Ok(closure(&metadata, package)?.into_iter().filter(|name| name.starts_with("vectoll-")).collect())
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(ours("vectoll-crds")?, set(&["vectoll-crds"]));
    assert_eq!(ours("vectoll-config")?, set(&["vectoll-config"]));
    assert_eq!(ours("vectoll-operator")?, set(&["vectoll-config", "vectoll-crds", "vectoll-operator"]));
    assert_eq!(ours("vectoll-sidecar")?, set(&["vectoll-config", "vectoll-sidecar"]));
    for (package, foreign) in [
        ("vectoll-sidecar", &["kube", "kube-core", "k8s-openapi"][..]),
        ("vectoll-config", &["kube", "kube-core", "k8s-openapi", "axum", "hyper", "reqwest", "tokio", "http"][..]),
        ("vectoll-crds", &["axum", "reqwest", "tokio"][..]),
    ] {
        let all = closure(&metadata, package)?;
        for name in foreign {
            assert!(!all.contains(*name), "{package} must not depend on {name}");
        }
    }
    // The packages that the project is fixed on are used where they belong.
    for (package, wanted) in [
        ("vectoll-operator", &["kube", "k8s-openapi", "schemars", "tokio", "serde", "serde_yaml_ng"][..]),
        ("vectoll-sidecar", &["axum", "reqwest", "tokio", "serde", "serde_yaml_ng", "prometheus"][..]),
    ] {
        let all = closure(&metadata, package)?;
        for name in wanted {
            assert!(all.contains(*name), "{package} does not use {name}");
        }
    }
    Ok(())
}
