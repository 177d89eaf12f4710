//! The program and its `OpenAPI` document say the same: Schemathesis makes requests of the document, right ones and wrong ones, and
//! checks the answers against it.

#![allow(clippy::indexing_slicing, clippy::print_stdout, reason = "a test")]

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use vectoll_tests::{
    caller::Caller,
    clients::{here, python},
    manifest::{api_key, builtin, file, key_value, team},
    pair::{Pair, Setup},
};

/// A name that tells which encoding token arrays are of.
const MODEL: &str = "text-embedding-3-large";

#[tokio::test]
async fn what_is_served_is_what_is_documented() -> anyhow::Result<()> {
    let mut all = vec![team("search", json!({})), builtin("builtin", &[MODEL])];
    all.extend(api_key("alice", "search", json!({})));
    let setup = Setup { sidecar_arguments: vec!["--access-log=off".to_owned()], ..Setup::built()? };
    let pair = Pair::start_with(setup, &[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.admin_url(), "")?;
    let served = caller.raw(|http, base| http.get(format!("{base}/openapi.yaml"))).await?;
    assert_eq!((served.status, served.header("content-type")), (200, Some("application/yaml")));
    let text = std::fs::read_to_string(here("../sidecar/openapi.yaml"))?;
    let mut document: Value = serde_yaml::from_str(&text)?;
    narrow(&mut document)?;

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("openapi.json");
    std::fs::write(&path, document.to_string())?;
    let schemathesis = python::environment("schemathesis").await?.with_file_name("schemathesis");
    let output = Command::new(schemathesis)
        .arg("run")
        .arg(&path)
        .args(["--url", &pair.base_url(), "--header", &format!("Authorization: Bearer {}", key_value("alice"))])
        // The same requests each time: a failure is not a matter of luck.
        .args(["--max-examples=50", "--seed=1", "--generation-database=none", "--no-color", "--workers=1"])
        .current_dir(folder.path())
        .kill_on_drop(true)
        .output()
        .await?;
    let report = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", report.lines().filter(|line| line.contains("generated")).collect::<String>());
    Ok(())
}

/// What the document cannot know: the models that are there, which tokens this one's encoding has, and that it has 256 dimensions.
fn narrow(document: &mut Value) -> anyhow::Result<()> {
    // A caller that waits for less than its answer takes gets 504: that is right, and would be taken for a fault.
    for path in document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut()) {
        if let Some(parameters) = path.pointer_mut("/post/parameters").and_then(Value::as_array_mut) {
            parameters.retain(|parameter| parameter["$ref"] != "#/components/parameters/Timeout");
        }
    }
    let mut set = |pointer: &str, value: Value| -> anyhow::Result<()> {
        *document.pointer_mut(pointer).with_context(|| format!("no {pointer}"))? = value;
        Ok(())
    };
    set("/components/schemas/EmbeddingRequest/properties/model", json!({"const": MODEL}))?;
    set("/components/parameters/Model/schema", json!({"enum": [MODEL, "none"]}))?;
    let dimensions = json!({"type": ["integer", "null"], "minimum": 1, "maximum": 256});
    for schema in ["EmbeddingRequest", "EmbeddingRequestInPath"] {
        set(&format!("/components/schemas/{schema}/properties/dimensions"), dimensions.clone())?;
    }
    // The tokens of cl100k_base but for the special ones, which are no text.
    for token in ["2/items", "3/items/items"] {
        set(&format!("/components/schemas/Input/oneOf/{token}/maximum"), json!(100_255))?;
    }
    Ok(())
}
