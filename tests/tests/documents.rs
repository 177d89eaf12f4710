//! The pages: every fenced block is run, applied or read by a test, and every link leads somewhere.
//!
//! | block | is |
//! |---|---|
//! | `text` | a picture, or what a command prints: not run, and no command |
//! | `yaml` with `apiVersion` | decoded here, and applied to a real API server by `cel/` |
//! | all others | named (`<!-- run: NAME -->`), and taken by name (`block("NAME")`) by the test that runs it |

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::Parser;
use serde::Deserialize;
use vectoll_crds::{ApiKey, ModelRoute, Team};
use vectoll_operator::{cli::Cli, inject::InjectionSettings};
use vectoll_tests::{
    documents::{anchors, block, blocks, files, links, pages, repository, with},
    pair::binaries::binary,
};

/// Programs that pages have readers run.
const PROGRAMS: [&str; 9] =
    ["helm ", "kubectl ", "make ", "curl ", "jq ", "cargo ", "vectoll-operator ", "vectoll-sidecar ", "$ "];

#[test]
fn every_fenced_block_is_claimed() {
    let mut sources = String::new();
    for path in files("rs").unwrap().iter().filter(|path| path.starts_with("tests/")) {
        sources += &fs::read_to_string(repository().join(path)).unwrap();
    }
    let mut wrong = Vec::new();
    for page in pages().unwrap() {
        for block in blocks(&page.text).unwrap_or_else(|error| panic!("{}: {error}", page.path)) {
            let claimed = match (block.language.as_str(), &block.name) {
                (_, Some(name)) => sources.contains(&format!("block({name:?})")),
                ("text", None) => !block
                    .text
                    .lines()
                    .any(|line| PROGRAMS.iter().any(|program| line.trim_start().starts_with(program))),
                ("yaml", None) => documents(&block.text).iter().all(|document| decoded(document).is_ok()),
                _ => false,
            };
            if !claimed {
                wrong.push(format!("{}:{}: {}", page.path, block.line, block.text.lines().next().unwrap_or_default()));
            }
        }
    }
    assert!(wrong.is_empty(), "no test runs these blocks; see the head of this file:\n{}", wrong.join("\n"));
}

/// The documents of a block in YAML.
fn documents(text: &str) -> Vec<serde_yaml::Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| serde_yaml::Value::deserialize(document).unwrap_or_else(|error| panic!("{error}: {text}")))
        .collect()
}

/// Whether a manifest is one of ours that the types take, to the last field.
fn decoded(manifest: &serde_yaml::Value) -> anyhow::Result<()> {
    ensure!(manifest["apiVersion"] == "vectoll.dev/v1alpha1", "not one of ours");
    let manifest = manifest.clone();
    match manifest["kind"].as_str() {
        Some("ApiKey") => drop(serde_yaml::from_value::<ApiKey>(manifest)?),
        Some("Team") => drop(serde_yaml::from_value::<Team>(manifest)?),
        Some("ModelRoute") => drop(serde_yaml::from_value::<ModelRoute>(manifest)?),
        other => anyhow::bail!("no kind of ours: {other:?}"),
    }
    Ok(())
}

#[test]
fn a_manifest_with_a_mistake_is_not_claimed() {
    let of = |text: &str| decoded(&documents(text)[0]);
    of("{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {name: a}, spec: {tags: [b]}}").unwrap();
    assert!(of("{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {name: a}, spec: {tag: [b]}}").is_err());
    assert!(of("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {}}").is_err());
}

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

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages().unwrap() {
        let at = repository().join(&page.path);
        for link in links(&page.text).unwrap_or_else(|error| panic!("{}: {error}", page.path)) {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            if !leads_somewhere(&at, &link) {
                wrong.push(format!("{}: {link}", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn leads_somewhere(from: &Path, link: &str) -> bool {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let to: PathBuf = if path.is_empty() { from.to_owned() } else { from.parent().unwrap().join(path) };
    match anchor {
        None => to.exists(),
        Some(anchor) => fs::read_to_string(to).is_ok_and(|text| anchors(&text).contains(anchor)),
    }
}

#[test]
fn a_link_to_nothing_is_found() {
    let readme = repository().join("README.md");
    assert!(leads_somewhere(&readme, "crds/README.md") && leads_somewhere(&readme, "#what-it-promises"));
    for broken in ["crds/READ.md", "#what-it-promised", "crds/README.md#nowhere"] {
        assert!(!leads_somewhere(&readme, broken), "{broken}");
    }
}

/// Every page but those that are read beside the code is reached from the first one.
#[test]
fn every_page_is_reached_from_the_first() {
    let all = pages().unwrap();
    let mut reached = BTreeSet::from(["README.md".to_owned()]);
    let mut next = vec!["README.md".to_owned()];
    while let Some(path) = next.pop() {
        let Some(page) = all.iter().find(|page| page.path == path) else { continue };
        for link in links(&page.text).unwrap() {
            let target = link.split('#').next().unwrap();
            let folder = Path::new(&path).parent().unwrap();
            let Ok(to) = repository().join(folder).join(target).canonicalize() else { continue };
            let to = to.strip_prefix(repository().canonicalize().unwrap()).unwrap().to_string_lossy().into_owned();
            if reached.insert(to.clone()) {
                next.push(to);
            }
        }
    }
    let lost: Vec<&String> = all.iter().map(|page| &page.path).filter(|path| !reached.contains(*path)).collect();
    assert!(lost.is_empty(), "no page links to {lost:?}");
}

/// The messages in the first column of the tables by symptom are the code's own.
#[test]
fn messages_to_search_for_are_those_of_the_code() {
    let mut sources = fs::read_to_string(repository().join("tests/fixtures/errors.txt")).unwrap();
    for path in files("rs").unwrap().into_iter().chain(files("yaml").unwrap()) {
        let shipped = path.starts_with("operator/src")
            || path.starts_with("sidecar/")
            || path.starts_with("charts/vectoll/templates");
        if shipped {
            // A text that goes on in the next line is one text.
            sources += &fs::read_to_string(repository().join(path)).unwrap().replace("\\\n", "");
        }
    }
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let sources = one_line(&sources);
    let page = fs::read_to_string(repository().join("charts/vectoll/docs/troubleshooting.md")).unwrap();
    let (mut column, mut count, mut wrong) = (None, 0, Vec::new());
    for line in page.lines() {
        let cells: Vec<&str> = line.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        if !line.starts_with('|') {
            column = None;
        } else if let Some(found) = cells.iter().position(|cell| *cell == "message") {
            column = Some(found);
        } else if let Some(cell) = column.and_then(|column| cells.get(column)) {
            for message in cell.split('`').skip(1).step_by(2).filter(|message| message.contains(' ')) {
                count += 1;
                if !sources.contains(&one_line(message)) {
                    wrong.push(message.to_owned());
                }
            }
        }
    }
    assert!(count > 80, "only {count} messages were found");
    assert!(wrong.is_empty(), "the code has no such messages: {wrong:#?}");
}

#[test]
fn the_targets_of_make_are_there() -> anyhow::Result<()> {
    let makefile = fs::read_to_string(repository().join("Makefile"))?;
    let blocks = [block("make")?, block("contribute")?];
    let targets: Vec<&str> = blocks
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("make ")?.split(' ').next())
        .collect();
    ensure!(targets.len() > 5, "{targets:?}");
    for target in targets {
        ensure!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "no target {target}");
    }
    Ok(())
}

/// Packages, test programs and names in the commands that run a single test.
#[test]
fn the_single_tests_of_contributing_are_there() -> anyhow::Result<()> {
    let mut sources = String::new();
    for path in files("rs")? {
        sources += &fs::read_to_string(repository().join(path))?;
    }
    let workspace = fs::read_to_string(repository().join("Cargo.toml"))?;
    let text = block("one-test")?;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |flag: &str| words.iter().skip_while(|word| **word != flag).nth(1).copied();
        let package = after("-p").with_context(|| line.to_owned())?;
        ensure!(workspace.contains(&format!("\n{package} = ")) || package == "vectoll-tests", "no package {package}");
        if let Some(program) = after("--test") {
            ensure!(repository().join(format!("tests/tests/{program}.rs")).exists(), "no test program {program}");
        }
        if words.contains(&"test") {
            let name = words.last().context("no name")?;
            ensure!(
                sources.contains(&format!("fn {name}")) || sources.contains(&format!("mod {name}")),
                "no test {name}"
            );
        }
    }
    Ok(())
}

/// Every path in backticks on the page for contributors is there.
#[test]
fn the_places_of_contributing_are_there() -> anyhow::Result<()> {
    let page = fs::read_to_string(repository().join("tests/CONTRIBUTING.md"))?;
    let quoted = page.split('`').skip(1).step_by(2);
    let places: Vec<&str> = quoted.filter(|text| text.contains('/') && !text.contains([' ', '\n', '…'])).collect();
    ensure!(places.len() > 30, "{places:?}");
    let lost: Vec<&&str> = places.iter().filter(|place| !repository().join(place).exists()).collect();
    ensure!(lost.is_empty(), "moved or gone: {lost:?}");
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

/// A folder in which the commands of the pages are run, with both programs on the path.
struct Desk {
    folder: tempfile::TempDir,
    path: String,
    ports: [u16; 2],
}

impl Desk {
    /// With the quickstart's manifests.
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let manifests = folder.path().join("manifests");
        fs::create_dir(&manifests)?;
        for entry in repository().join("crds/examples/quickstart").read_dir()? {
            let from = entry?.path();
            fs::copy(&from, manifests.join(from.file_name().context("no name")?))?;
        }
        let bin = folder.path().join("bin");
        fs::create_dir(&bin)?;
        for name in ["vectoll-operator", "vectoll-sidecar"] {
            std::os::unix::fs::symlink(binary(name)?, bin.join(name))?;
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH")?);
        let free = || anyhow::Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        Ok(Self { folder, path, ports: [free()?, free()?] })
    }

    /// Runs commands, with `before` and `after` as they stand. What runs in the background ends with them.
    fn run(&self, script: &str) -> anyhow::Result<String> {
        let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n{script}");
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(self.folder.path())
            .env("PATH", &self.path)
            .env("VECTOLL_LISTEN", format!("127.0.0.1:{}", self.ports[0]))
            .env("VECTOLL_ACCESS_LOG", "off")
            .env("VECTOLL_ADMIN_LISTEN", format!("127.0.0.1:{}", self.ports[1]))
            .stdin(Stdio::null())
            .output()?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{script}\n{out}{err}");
        Ok(out.into_owned())
    }

    /// Has the operator judge manifests. An error: what it refuses.
    fn judged(&self, manifests: &str) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("shown.yaml"), manifests)?;
        let said =
            self.run(&format!("vectoll-operator render --manifests {} 2>&1 || true", folder.path().display()))?;
        let refused = said.lines().find(|line| line.contains("manifest refused") || line.contains("Accepted=False"));
        ensure!(refused.is_none(), "{}", refused.unwrap_or_default());
        // It was read, and not passed over.
        ensure!(said.contains("Accepted=True") || said.contains("Ready=True"), "{said}");
        Ok(())
    }

    /// The value of a key, from where the page on standalone says that it is.
    fn key(&self, name: &str) -> anyhow::Result<String> {
        let text = fs::read_to_string(self.folder.path().join(format!("config.state/secrets/default.{name}.yaml")))?;
        let secret: serde_yaml::Value = serde_yaml::from_str(&text)?;
        let value = secret["data"]["key"].as_str().context("no key")?;
        Ok(String::from_utf8(BASE64_STANDARD.decode(value)?)?)
    }
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
    ensure!(key.starts_with("sk-vt-"), "{key}");

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
