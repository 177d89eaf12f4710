//! The commands that need no cluster, run as they stand on the pages; and what the operator says of the manifests there.

use std::fs;

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::Parser;
use vectoll_operator::{cli::Cli, inject::InjectionSettings};
use vectoll_tests::documents::{block, blocks, pages, repository, with};

use crate::desk::Desk;

/// The operator judges more than the schemas do: whether backends make the same vectors, for example. What a manifest refers to need not
/// be there.
#[test]
fn the_operator_takes_every_manifest() -> anyhow::Result<()> {
    let desk = Desk::new()?;
    let (mut count, mut wrong) = (0, Vec::new());
    for page in pages()? {
        for block in blocks(&page.text)?.into_iter().filter(|block| block.language == "yaml" && block.name.is_none()) {
            count += 1;
            if let Err(said) = desk.judged(&block.text) {
                wrong.push(format!("{}:{}: {said:#}", page.path, block.line));
            }
        }
    }
    ensure!(count > 8, "only {count} manifests were found");
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let two = "{name: a, openAI: {}}, {name: b, model: other, openAI: {}}";
    let mixed = format!(
        "{{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {{name: r}}, spec: {{models: [m], backends: [{two}]}}}}"
    );
    ensure!(desk.judged(&mixed).is_err(), "a mistake is not seen");
    Ok(())
}

/// What `e2e/`, which takes long, replaces in the README's commands is in them.
#[test]
fn a_node_can_run_the_readme() -> anyhow::Result<()> {
    with(&block("cluster-install")?, "--set imageRegistry=registry.example.com", "")?;
    let call = block("cluster-first-call")?;
    with(&call, "image: curlimages/curl\n", "")?;
    ensure!(call.lines().last() == Some("kubectl logs app -c app"), "the answer is what is printed last: {call}");
    ensure!(block("chart-install")?.lines().any(|line| line.starts_with("helm test ")));
    Ok(())
}

#[test]
fn the_settings_of_injection_are_read() -> anyhow::Result<()> {
    let settings = InjectionSettings::read(&block("injection-config")?)?;
    ensure!(settings.image == "registry.example/vectoll-sidecar:0.1.0", "{settings:?}");
    Ok(())
}

#[test]
fn the_operators_command_line_is_one() -> anyhow::Result<()> {
    let text = block("operator-run")?;
    Cli::try_parse_from(text.split_whitespace()).map(drop).with_context(|| text.clone())?;
    ensure!(Cli::try_parse_from(with(&text, "--identity", "--identities")?.split_whitespace()).is_err());
    Ok(())
}

/// The hash of the page's own manifest comes out of its command.
#[test]
fn the_hash_of_a_key_is_made_as_the_page_says() -> anyhow::Result<()> {
    let desk = Desk::new()?;
    let said = desk.run(&format!("KEY=sk-moved-0123456789abcdef\n{}", block("key-hash")?))?;
    let hash = said.split_whitespace().next().context("nothing was printed")?;
    for path in ["operator/docs/keys.md", "crds/examples/reference/apikey-by-hash.yaml"] {
        ensure!(fs::read_to_string(repository().join(path))?.contains(&format!("sha256:{hash}")), "{path}: {hash}");
    }
    Ok(())
}

/// Waits, as a person would, until what was started in the background has come so far.
const READY: &str =
    "for _ in $(seq 300); do vectoll-sidecar health 2>/dev/null && break; sleep 0.1; done; vectoll-sidecar health\n";

#[test]
fn the_commands_of_standalone_do_what_they_say() -> anyhow::Result<()> {
    let desk = Desk::new()?;
    // The sidecar needs a config folder, and makes do with an empty one.
    fs::create_dir(desk.folder.path().join("config"))?;
    desk.run(&format!("{}{READY}", block("standalone")?))?;
    let key = desk.key("alice")?;
    ensure!(key.starts_with("sk-vt-") && !key.contains('\n'), "{key}");
    let secret = fs::read_to_string(desk.folder.path().join("config.state/secrets/default.alice.yaml"))?;
    ensure!(secret.contains(&BASE64_STANDARD.encode(&key)), "it is not where the page says: {secret}");
    let unknown = desk.key("nobody").unwrap_err().to_string();
    ensure!(
        unknown.contains("ApiKey default/nobody") && unknown.contains("default/alice, default/nightly-index"),
        "{unknown}"
    );
    ensure!(unknown.contains("secretRef"), "{unknown}");

    // The sidecar alone serves by the config that is there, and says that it is ready.
    let alone = with(&block("sidecar-start")?, "vectoll-sidecar health\n", READY)?;
    let call = format!(
        "curl -sf http://127.0.0.1:{}/v1/embeddings -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{{\"model\": \
         \"builtin\", \"input\": \"The quick brown fox\"}}'",
        desk.ports[0]
    );
    let said = desk.run(&format!("{alone}{call}"))?;
    let answer: serde_json::Value = serde_json::from_str(said.lines().last().unwrap_or_default()).context(said)?;
    ensure!(answer["data"][0]["embedding"].as_array().map(Vec::len) == Some(256), "{answer}");
    Ok(())
}

#[test]
fn a_litellm_proxys_config_teams_and_keys_are_imported() -> anyhow::Result<()> {
    let desk = Desk::new()?;
    let (export, import) = (block("litellm-export")?, block("litellm-import")?);
    for name in ["config.yaml", "teams.json", "keys.json"] {
        // Nobody has LiteLLM's database here: what the first commands write is there.
        let is_used = import.contains(name) && (name == "config.yaml" || export.contains(&format!("> {name}")));
        ensure!(is_used, "{name} is not what the commands read and write");
        fs::copy(repository().join("operator/tests/import").join(name), desk.folder.path().join(name))?;
    }
    desk.run(&import)?;
    let imported = fs::read_to_string(desk.folder.path().join("imported.yaml"))?;
    for what in ["kind: ModelRoute", "kind: Team", "kind: ApiKey", "keyHash: sha256:", "# To be decided by you:"] {
        ensure!(imported.contains(what), "{what} is not in {imported}");
    }
    Ok(())
}

#[test]
fn the_commands_of_the_gateway_do_what_they_say() -> anyhow::Result<()> {
    let desk = Desk::new()?;
    fs::create_dir(desk.folder.path().join("config"))?;
    let address = format!("127.0.0.1:{}", desk.ports[0]);
    let started = with(&block("gateway")?, "0.0.0.0:4443", &address)?;
    let call = "for _ in $(seq 300); do key=$(vectoll-operator key alice --config-dir config 2>/dev/null) && break; sleep 0.1; done\n\
                call() { curl -sf --cacert tls.crt https://localhost:PORT/v1/embeddings -H \"Authorization: Bearer $key\" -H \
                'Content-Type: application/json' -d '{\"model\": \"builtin\", \"input\": \"The quick brown fox\"}'; }\n\
                for _ in $(seq 100); do call >/dev/null && break; sleep 0.1; done; call"
        .replace("PORT", &desk.ports[0].to_string());
    let said = desk.run(&format!("{started}{READY}{call}"))?;
    let answer: serde_json::Value = serde_json::from_str(said.lines().last().unwrap_or_default()).context(said)?;
    ensure!(answer["data"][0]["embedding"].as_array().map(Vec::len) == Some(256), "{answer}");
    Ok(())
}

#[test]
fn render_prints_the_config_and_fails_on_mistakes() -> anyhow::Result<()> {
    let desk = Desk::new()?;
    let said = desk.run(&block("render")?)?;
    ensure!(said.contains("teams:") && said.contains("kind: CustomResourceDefinition"), "{said}");
    let team = desk.folder.path().join("manifests/team.yaml");
    let text = with(&fs::read_to_string(&team)?, "displayName", "displayname")?;
    fs::write(&team, text)?;
    let error = desk.run(&block("render")?).unwrap_err().to_string();
    ensure!(error.contains("team.yaml") && error.contains("displayname"), "{error}");
    Ok(())
}
