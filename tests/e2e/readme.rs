//! The README's own commands, as they stand there.

use anyhow::{Context, ensure};

use crate::cluster::{Cluster, folder};

/// The commands of the README's section on clusters: the one that installs, and those after it.
pub fn commands() -> anyhow::Result<(String, String)> {
    let text = std::fs::read_to_string(folder().join("README.md"))?;
    let section =
        text.split("\n## ").find(|section| section.starts_with("In a cluster\n")).context("no such section")?;
    let block = section.split("```").nth(1).context("no commands in it")?;
    let (install, rest) = block.trim_start().split_once('\n').context("only one command")?;
    ensure!(install.starts_with("helm install ") && rest.starts_with("kubectl apply "), "other commands: {block}");
    Ok((install.to_owned(), rest.to_owned()))
}

/// A text in which a part, which must be there, is another.
pub fn with(text: &str, part: &str, other: &str) -> anyhow::Result<String> {
    ensure!(text.contains(part), "the README says no more {part:?}: {text}");
    Ok(text.replace(part, other))
}

/// What comes after the installation: a newcomer's pod asks for a vector and gets it.
pub fn quickstart(cluster: &Cluster) -> anyhow::Result<()> {
    let (_, rest) = commands()?;
    // The image is brought to the node by hand.
    let rest = with(&rest, "image: curlimages/curl\n", "image: curlimages/curl:local\n    imagePullPolicy: Never\n")?;
    cluster.inside(&["bash", "-euc", &rest], None)?;
    cluster.wait("default", "jsonpath={.status.phase}=Succeeded", "pod/app")?;
    let said = cluster.kubectl(&["logs", "-n", "default", "app", "-c", "app"])?;
    let answer: serde_json::Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    let vector = answer["data"][0]["embedding"].as_array().map(Vec::len);
    ensure!(vector == Some(256) && answer["model"] == "builtin", "{said}");
    let keys = cluster.kubectl(&["get", "vectoll", "-n", "default"])?;
    ensure!(keys.contains("alice") && keys.contains("search") && keys.contains("builtin"), "{keys}");
    Ok(())
}
