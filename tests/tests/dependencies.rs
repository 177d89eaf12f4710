//! Arrows between the crates point one way: crds ◄ operator ► config ◄ sidecar.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a test"
)]

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context, ensure};

/// The names of all that a package is built from, itself included, with the features that it asks for itself: others of the
/// workspace may ask for more.
fn closure(package: &str) -> anyhow::Result<BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["tree", "--locked", "--edges", "no-dev", "--prefix", "none", "--format", "{p}", "--package", package])
        .output()
        .context("failed to run cargo tree")?;
    ensure!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    let names = String::from_utf8(tree.stdout)?;
    Ok(names.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

#[test]
fn nothing_points_back() -> anyhow::Result<()> {
    let ours = |package: &str| -> anyhow::Result<BTreeSet<String>> {
        Ok(closure(package)?.into_iter().filter(|name| name.starts_with("vectoll-")).collect())
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
        let all = closure(package)?;
        for name in foreign {
            assert!(!all.contains(*name), "{package} must not depend on {name}");
        }
    }
    // The packages that the project is fixed on are used where they belong.
    for (package, wanted) in [
        ("vectoll-operator", &["kube", "k8s-openapi", "schemars", "tokio", "serde", "serde_yaml_ng"][..]),
        ("vectoll-sidecar", &["axum", "reqwest", "tokio", "serde", "serde_yaml_ng", "prometheus"][..]),
    ] {
        let all = closure(package)?;
        for name in wanted {
            assert!(all.contains(*name), "{package} does not use {name}");
        }
    }
    Ok(())
}
