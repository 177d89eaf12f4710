//! A table of bad manifests, each with the words that its author must read.

use std::{fs, path::Path, process::Command};

use vectoll_crds::Backend;

/// Runs `render` over some manifests. Returns whether it succeeded, what it printed, and what it said.
fn render(manifests: &Path) -> (bool, String, String) {
    render_with(manifests, &[])
}

fn render_with(manifests: &Path, flags: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_vectoll-operator"))
        .args(["render", "--manifests"])
        .arg(manifests)
        .args(flags)
        .output()
        .expect("the operator runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_bad_manifest_is_named_with_its_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refusals");
    let mut cases: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 20, "the table is where it was");
    let mut wrong = Vec::new();
    for case in cases {
        let text = fs::read_to_string(&case).unwrap();
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect: ")).expect("an expectation");
        let manifests = tempfile::tempdir().unwrap();
        fs::copy(&case, manifests.path().join("case.yaml")).unwrap();
        let flags: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# flags: ")).flat_map(str::split_whitespace).collect();
        let (success, config, stderr) = render_with(manifests.path(), &flags);
        // The log escapes quotes once where the value is quoted.
        let expected = expected.replace(": reason", "\" reason");
        if success || !stderr.contains(&expected) {
            wrong.push(format!("{}\n  expected: {expected}\n  stderr: {stderr}", case.display()));
        }
        assert!(!stderr.contains("do-not-log-me"), "{}: a credential stands in the log: {stderr}", case.display());
        assert!(config.starts_with("version: v1\n"), "the rest is rendered all the same: {config}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_quickstart_renders() {
    let (success, config, stderr) = render(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/examples/quickstart"));
    assert!(success, "{stderr}");
    assert!(stderr.contains("SecretPending"), "keys are made by `standalone`, not by `render`: {stderr}");
    assert!(config.contains("namespace: default"));
}

/// Each of the examples by itself, for what people apply is one file: it is in order, and every price in it is known.
#[test]
fn every_example_of_a_provider_renders() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/examples/providers");
    let mut shown = std::collections::BTreeSet::new();
    for example in fs::read_dir(folder).unwrap() {
        let path = example.unwrap().path();
        let manifests = tempfile::tempdir().unwrap();
        fs::copy(&path, manifests.path().join("example.yaml")).unwrap();
        let (success, _, stderr) = render(manifests.path());
        assert!(success, "{}: {stderr}", path.display());
        assert!(!stderr.contains("PriceUnknown"), "{}: {stderr}", path.display());
        let text = fs::read_to_string(&path).unwrap();
        let provider =
            |line: &str| line.strip_prefix("    ").and_then(|line| line.split(':').next()).map(str::to_owned);
        shown.extend(text.lines().filter_map(provider));
    }
    for provider in Backend::PROVIDERS.split(", ").filter(|provider| *provider != "builtin") {
        assert!(shown.contains(provider), "no example of {provider}");
    }
}

/// The name that callers use says nothing about what somebody has deployed under another one.
#[test]
fn a_deployment_is_priced_by_its_model_and_not_by_the_public_name() {
    for (model, known) in [("", false), ("model: text-embedding-3-large, ", true)] {
        let manifests = tempfile::tempdir().unwrap();
        let azure =
            "azureOpenAI: {endpoint: \"https://x.openai.azure.com\", deployment: d, entra: {tenantID: t, clientID: c}}";
        let route = format!(
            "apiVersion: vectoll.dev/v1alpha1\nkind: ModelRoute\nmetadata: {{name: r}}\nspec: {{models: \
             [text-embedding-3-small], backends: [{{name: a, {model}{azure}}}]}}\n"
        );
        fs::write(manifests.path().join("route.yaml"), route).unwrap();
        let (success, _, stderr) = render(manifests.path());
        assert!(success, "{stderr}");
        assert_eq!(!stderr.contains("PriceUnknown"), known, "{stderr}");
    }
}

/// The examples together, for a key that may use all of them: what the sidecar is told of each provider.
#[test]
fn every_provider_fills_the_contract() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifests = tempfile::tempdir().unwrap();
    let examples = fs::read_dir(crates.join("../crds/examples/providers")).unwrap();
    for path in examples.map(|example| example.unwrap().path()).chain([crates.join("tests/caller.yaml")]) {
        fs::copy(&path, manifests.path().join(path.file_name().unwrap())).unwrap();
    }
    let (success, config, stderr) = render(manifests.path());
    assert!(success, "{stderr}");
    vectoll_config::read_v1(&config).expect("the sidecar reads what the operator writes");
    let (_, routes) = config.split_once("routes:").unwrap();
    insta::assert_snapshot!(routes);
}

#[test]
fn a_folder_of_all_kinds_becomes_one_config() {
    let (success, config, stderr) = render(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/whole"));
    assert!(success, "{stderr}");
    insta::assert_snapshot!(config);
}

/// The list and the discounts of a release, and of a backend, come out as one price a token.
#[test]
fn what_is_charged_is_the_list_price_less_what_is_taken_off_it() {
    let manifests = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        manifests.path().join("all.yaml"),
        "{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {name: t}, spec: {}}\n---\n{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, \
         metadata: {name: k}, spec: {teamRef: {name: t}, keyHash: 'sha256:25a8d24ec23df9f8e64298e913d58fd133e58f26820244aa02ed000a114bf971'}}\n---\n\
         {apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {name: r}, spec: {models: [text-embedding-3-small], backends: [\
         {name: a, openAI: {}}, {name: b, openAI: {}, discountPercent: '33.33'}]}}\n",
    )
    .unwrap();
    let prices = folder.path().join("prices.yaml");
    let file = prices.display().to_string();
    let flags = ["--provider-discounts=openAI=10,cohere=5", "--prices-file", &file, "--price-max-age-days=30"];
    let charged = |config: &str| {
        let lines = config.lines().filter_map(|line| line.trim().strip_prefix("pricePerMillionTokens: "));
        lines.map(|price| price.trim_matches('\'').to_owned()).collect::<Vec<_>>()
    };
    let (success, config, stderr) = render_with(manifests.path(), &flags);
    assert!(success, "{stderr}");
    assert_eq!(charged(&config), ["0.018", "0.013334"], "a list that is not there is none");
    fs::write(&prices, "text-embedding-3-small: {inputPerMillionTokens: '0.03', date: 2020-01-01}\n").unwrap();
    let (success, config, stderr) = render_with(manifests.path(), &flags);
    assert!(success, "an old price is no fault: {stderr}");
    assert_eq!(charged(&config), ["0.027", "0.020001"]);
    assert!(stderr.contains("PricesCurrent=False PriceOld: list prices that were last checked more than 30 days ago: text-embedding-3-small (2020-01-01)."), "{stderr}");
    fs::write(&prices, "text-embedding-3-small: {inputPerMillionTokens: '0.03'}\n").unwrap();
    let (success, _, stderr) = render_with(manifests.path(), &flags);
    assert!(!success && stderr.contains("text-embedding-3-small: missing field `date`"), "{stderr}");
    let (_, _, stderr) = render_with(manifests.path(), &["--provider-discounts=ollama=10"]);
    assert!(stderr.contains("\"ollama\" is not a provider with list prices"), "{stderr}");
}

/// What is printed is a manifest, and what is in it is read again.
#[test]
fn the_list_of_prices_is_printed_as_a_config_map() {
    let folder = tempfile::tempdir().unwrap();
    let prices = folder.path().join("prices.yaml");
    let print = |flags: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_vectoll-operator")).arg("prices").args(flags).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let map: serde_yaml::Value = serde_yaml::from_slice(&output.stdout).unwrap();
        assert_eq!((map["apiVersion"].as_str(), map["kind"].as_str()), (Some("v1"), Some("ConfigMap")));
        (map["metadata"]["name"].as_str().unwrap().to_owned(), map["data"]["prices.yaml"].as_str().unwrap().to_owned())
    };
    let (name, list) = print(&[]);
    assert_eq!(name, "vectoll-prices");
    assert!(
        list.contains("amazon.titan-embed-text-v2:0:\n  inputPerMillionTokens: '0.02'\n  date: 2026-11-24\n"),
        "{list}"
    );
    fs::write(&prices, &list).unwrap();
    assert_eq!(print(&["--name=mine", "--prices-file", prices.to_str().unwrap()]), ("mine".to_owned(), list));
}

#[test]
fn an_empty_folder_is_told_and_renders_an_empty_config() {
    let manifests = tempfile::tempdir().unwrap();
    let (success, config, stderr) = render(manifests.path());
    assert!(success);
    assert!(stderr.contains("there is no ApiKey, Team or ModelRoute in the folder"), "{stderr}");
    assert!(config.contains("keys: []"));
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let (success, _, stderr) = render(Path::new("/nonexistent/manifests"));
    assert!(!success);
    assert!(stderr.contains("failed to open the folder /nonexistent/manifests"), "{stderr}");
}

#[test]
fn the_crds_are_printed_as_they_are_committed() {
    let output = Command::new(env!("CARGO_BIN_EXE_vectoll-operator")).arg("crds").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    for name in ["apikeys", "modelroutes", "teams"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../crds/vectoll.dev_{name}.yaml"));
        let committed = fs::read_to_string(path).unwrap();
        let body = committed.split_once('\n').map(|(_, body)| body.trim_end()).unwrap();
        assert!(printed.contains(body), "{name}");
    }
}
