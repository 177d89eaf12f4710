//! Arrows between the crates point one way:
//!
//! ```text
//! crds ◄── operator ──► config ◄── api ◄── upstream ◄──┐
//!                         ▲                            ├── sidecar
//!                         └── ledger ◄── limits ◄──────┘
//! ```
//!
//! The clock is below all that know the time. Inside each of them the files have no cycle either: `cycles/`.

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

/// Who is built from whom, itself left out. Each arrow points to the left, or up.
const BUILT_FROM: [(&str, &[&str]); 10] = [
    ("vectoll-pair", &[]),
    ("vectoll-crds", &[]),
    ("vectoll-config", &[]),
    ("vectoll-operator", &["vectoll-config", "vectoll-crds"]),
    ("vectoll-clock", &[]),
    ("vectoll-api", &["vectoll-config"]),
    ("vectoll-ledger", &["vectoll-config"]),
    ("vectoll-limits", &["vectoll-clock", "vectoll-config", "vectoll-ledger"]),
    ("vectoll-upstream", &["vectoll-api", "vectoll-clock", "vectoll-config"]),
    (
        "vectoll-sidecar",
        &["vectoll-api", "vectoll-clock", "vectoll-config", "vectoll-ledger", "vectoll-limits", "vectoll-upstream"],
    ),
];

/// What a crate must not know, by the packages that it would know it from.
const MUST_NOT_KNOW: [(&str, &[&str]); 8] = [
    // What only tests need: whoever builds the demo would build it.
    ("vectoll-pair", &["kube", "kube-core", "k8s-openapi", "redis", "rcgen", "axum", "bpe-openai", "serde_yaml_ng"]),
    // Kubernetes.
    ("vectoll-sidecar", &["kube", "kube-core", "k8s-openapi"]),
    // HTTP, Kubernetes.
    ("vectoll-config", &["kube", "kube-core", "k8s-openapi", "axum", "hyper", "reqwest", "tokio", "http"]),
    ("vectoll-crds", &["axum", "reqwest", "tokio"]),
    // Anything that waits; keys, accounts and providers are nobody's package: the arrows above hold them off.
    ("vectoll-api", &["tokio", "axum", "hyper", "reqwest", "redis"]),
    // HTTP, the store.
    ("vectoll-ledger", &["axum", "http", "hyper", "reqwest", "redis"]),
    // HTTP, and files that are watched.
    ("vectoll-limits", &["axum", "hyper", "reqwest", "notify"]),
    // The store, and a server of our own.
    ("vectoll-upstream", &["axum", "redis", "notify"]),
];

#[test]
fn nothing_points_back() -> anyhow::Result<()> {
    for (package, others) in BUILT_FROM {
        let ours: BTreeSet<String> =
            closure(package)?.into_iter().filter(|name| name.starts_with("vectoll-")).collect();
        let expected: BTreeSet<String> = others.iter().chain([&package]).map(|name| (*name).to_owned()).collect();
        assert_eq!(ours, expected, "{package}");
    }
    for (package, foreign) in MUST_NOT_KNOW {
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
