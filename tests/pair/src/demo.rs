//! What `make demo` shows: the pair on the quickstart's manifests, called as each key and user, step by step. Each step
//! fails the demo if it does not show what it should.

#![allow(clippy::indexing_slicing, reason = "a missing field of JSON reads as null")]

mod table;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::{
    caller::{Answer, Caller},
    pair::Pair,
};

/// An edit takes effect in under a second; a busy machine gets five.
const EDIT: Duration = Duration::from_secs(5);

/// What the demo says as it goes along.
pub trait Narrator {
    /// A line.
    fn say(&mut self, line: &str);
}

/// The whole demo.
pub async fn run(out: &mut impl Narrator) -> anyhow::Result<()> {
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds/examples/quickstart");
    let mut manifests = Vec::new();
    for name in ["team.yaml", "keys.yaml", "route.yaml"] {
        let text = fs::read_to_string(quickstart.join(name)).with_context(|| format!("failed to read {name}"))?;
        manifests.push((name, text));
    }
    let pair = Pair::start(&manifests).await?;
    out.say(&format!("The pair runs: operator (standalone) and sidecar at {}", pair.base_url()));
    let alice = Caller::new(&pair.base_url(), &generated_key(&pair, "alice")?)?;
    let indexer = alice.with_key(&generated_key(&pair, "nightly-index")?);

    vectors(out, &alice, &indexer).await?;
    refusals(out, &alice).await?;
    edits(out, &pair, &alice, &indexer, &manifests).await?;
    spend(out, &pair).await
}

/// The value that the operator generated for a key, as the operator prints it.
fn generated_key(pair: &Pair, name: &str) -> anyhow::Result<String> {
    let printed = pair.operator_command().args(["key", name, "--state-dir"]).arg(pair.operator_state_dir()).output()?;
    ensure!(printed.status.success(), "no key was made for {name}: {}", String::from_utf8_lossy(&printed.stderr));
    Ok(String::from_utf8(printed.stdout)?.trim_end().to_owned())
}

async fn vectors(out: &mut impl Narrator, alice: &Caller, indexer: &Caller) -> anyhow::Result<()> {
    let single = alice.embed("builtin", json!("The quick brown fox")).await?;
    ensure!(single.status == 200 && single.vector().len() == 256, "{:?}", single.json);
    out.say(&format!("✓ one text as alice: 256 dimensions, {} tokens", single.tokens()));

    let texts = json!(["a cat sat on the mat", "the kitten lay on a rug", "income tax return"]);
    let batch = indexer.embed("builtin", texts).await?;
    let near = similarity(&batch, 0, 1)?;
    let far = similarity(&batch, 0, 2)?;
    ensure!(near > far + 0.1, "cat and kitten {near}, cat and tax {far}");
    out.say(&format!("✓ a batch of three as nightly-index: cat~kitten {near:.2}, cat~tax {far:.2}"));

    let body = json!({"model": "builtin", "input": "The quick brown fox", "encoding_format": "base64", "user": "bob"});
    let coded = alice.post("/v1/embeddings", &body, &[]).await?;
    let bytes = BASE64_STANDARD.decode(coded.json["data"][0]["embedding"].as_str().unwrap_or_default())?;
    let first = bytes.first_chunk().map(|four| f64::from(f32::from_le_bytes(*four))).context("no numbers")?;
    let expected = single.vector().first().copied().context("no numbers")?;
    ensure!(bytes.len() == 1024 && (first - expected).abs() < 1e-6, "base64 holds other numbers");
    out.say("✓ the same as base64, for user bob: 1,024 bytes, the same numbers");

    let body = json!({"model": "builtin", "input": "The quick brown fox", "dimensions": 128});
    let cut = alice.post("/v1/embeddings", &body, &[("x-litellm-user-id", "carol")]).await?;
    ensure!(cut.vector().len() == 128, "{:?}", cut.json);
    out.say("✓ dimensions=128, for user carol by header: 128 dimensions");
    Ok(())
}

async fn refusals(out: &mut impl Narrator, alice: &Caller) -> anyhow::Result<()> {
    let body = json!({"model": "builtin", "input": "x", "dimensions": 512});
    let refused = alice.post("/v1/embeddings", &body, &[]).await?;
    ensure!(refused.status == 400 && refused.message().contains("at most 256"), "{:?}", refused.json);
    out.say(&format!("✓ dimensions=512: 400 {}", refused.message()));

    let wrong = alice.with_key("sk-vt-wrong").embed("builtin", json!("x")).await?;
    ensure!(wrong.status == 401 && wrong.code() == "invalid_api_key", "{:?}", wrong.json);
    out.say(&format!("✓ a wrong key: 401 {}", wrong.message()));
    Ok(())
}

async fn edits(
    out: &mut impl Narrator,
    pair: &Pair,
    alice: &Caller,
    indexer: &Caller,
    manifests: &[(&str, String)],
) -> anyhow::Result<()> {
    let original = |name: &str| {
        let found = manifests.iter().find(|(known, _)| *known == name).map(|(_, text)| text.clone());
        found.with_context(|| format!("no manifest {name}"))
    };
    // Nothing is restarted: the Team's limit is lowered to what a few more calls use up.
    let team = original("team.yaml")?;
    let lowered = team.replace("tokensPerMinute: 10000", "tokensPerMinute: 60");
    ensure!(lowered != team, "the quickstart's Team has another limit now");
    pair.write_manifest("team.yaml", &lowered)?;
    let limited = async || {
        let answer = indexer.embed("builtin", json!("one more text for the nightly index")).await?;
        Ok((answer.status == 429).then_some(answer))
    };
    let limited = pair.wait_for("the Team's limit to end in 429", EDIT, limited).await?;
    ensure!(limited.message().starts_with("Rate limit exceeded for team default/search"), "{:?}", limited.json);
    ensure!(limited.header("retry-after").is_some(), "no Retry-After");
    out.say(&format!("✓ the Team's limit, lowered in its manifest: 429 {}", limited.message()));

    pair.write_manifest("team.yaml", &team)?;
    let freed = async || Ok((alice.embed("builtin", json!("and on we go")).await?.status == 200).then_some(()));
    pair.wait_for("the raised limit", EDIT, freed).await?;
    out.say("✓ the manifest as before: calls go through again, without a restart");

    let keys = original("keys.yaml")?;
    let (_, second) = keys.split_once("---\n").context("the quickstart has two keys")?;
    pair.write_manifest("keys.yaml", second)?;
    let revoked = async || {
        let answer = alice.embed("builtin", json!("x")).await?;
        Ok((answer.status == 401).then_some(answer))
    };
    let revoked = pair.wait_for("the deleted key to be refused", EDIT, revoked).await?;
    ensure!(indexer.embed("builtin", json!("still here")).await?.status == 200, "the other key works on");
    out.say(&format!("✓ the ApiKey alice deleted: 401 {}", revoked.message()));
    Ok(())
}

async fn spend(out: &mut impl Narrator, pair: &Pair) -> anyhow::Result<()> {
    let metrics = pair.metrics().await?;
    let mut sums = Vec::new();
    out.say("");
    for (family, labels) in [("key", &["key"][..]), ("team", &["team"]), ("user", &["team", "user"])] {
        let rows = table::rows(&metrics, family, labels);
        ensure!(!rows.is_empty(), "no spend by {family}");
        for line in table::lines(family, &rows) {
            out.say(&line);
        }
        sums.push(rows.iter().map(|row| row.tokens).sum::<u64>());
    }
    let users = table::rows(&metrics, "user", &["user"]);
    for name in ["alice", "bob", "carol", "indexer"] {
        ensure!(users.iter().any(|row| row.name == name), "no spend of user {name}");
    }
    ensure!(sums.windows(2).all(|pair| pair[0] == pair[1]), "the families do not sum to the same: {sums:?}");
    out.say("");
    out.say("✓ keys, teams and users sum to the same");
    Ok(())
}

/// The cosine of two vectors of a batch; they have unit length.
fn similarity(answer: &Answer, a: usize, b: usize) -> anyhow::Result<f64> {
    let vector = |i: usize| answer.json["data"][i]["embedding"].as_array().context("no vector");
    let products =
        vector(a)?.iter().zip(vector(b)?).map(|(a, b)| a.as_f64().zip(b.as_f64()).map_or(0.0, |(a, b)| a * b));
    Ok(products.sum())
}
