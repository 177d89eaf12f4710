//! The pages' own commands, as they stand there.

use anyhow::{Context, ensure};
use vectoll_tests::documents::{block, with};

use crate::cluster::Cluster;

/// What comes after the installation: a newcomer's pod asks for a vector and gets it.
pub fn quickstart(cluster: &Cluster) -> anyhow::Result<()> {
    // The image is brought to the node by hand.
    let local = "image: curlimages/curl:local\n    imagePullPolicy: Never\n";
    let commands = with(&block("cluster-first-call")?, "image: curlimages/curl\n", local)?;
    let said = cluster.inside(&["bash", "-euc", &commands], None)?;
    // The last command prints the answer.
    let answer = said.lines().last().context("nothing was printed")?;
    let answer: serde_json::Value = serde_json::from_str(answer).with_context(|| said.clone())?;
    let vector = answer["data"][0]["embedding"].as_array().map(Vec::len);
    ensure!(vector == Some(256) && answer["model"] == "builtin", "{said}");
    let keys = cluster.kubectl(&["get", "vectoll", "-n", "default"])?;
    ensure!(keys.contains("alice") && keys.contains("search") && keys.contains("builtin"), "{keys}");
    // Where somebody looks first who finds that something does not work.
    let said = cluster.inside(&["bash", "-euc", &block("look")?], None)?;
    ensure!(said.contains("alice"), "{said}");
    Ok(())
}
