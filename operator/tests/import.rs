//! LiteLLM's config, teams and keys, and what is made of them.

use std::{fs, path::Path, process::Command};

fn operator(arguments: &[&str]) -> (bool, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_vectoll-operator")).args(arguments).output().expect("the operator runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn import(arguments: &[&str]) -> String {
    let (success, text, stderr) = operator(&[&["import", "litellm"], arguments].concat());
    assert!(success, "{stderr}");
    text
}

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import").join(name).display().to_string()
}

fn all() -> String {
    let [config, teams, keys] = ["config.yaml", "teams.json", "keys.json"].map(file);
    import(&["--config", &config, "--teams", &teams, "--keys", &keys])
}

#[test]
fn what_is_imported_is_as_it_was_and_the_rest_is_told() {
    let text = all();
    assert!(!text.contains("do-not-log-me"), "a credential is repeated: {text}");
    // Nothing that somebody wrote into LiteLLM begins a line of its own.
    let begins_nothing = |line: &str| !line.contains("planted") && line != "kind: Secret" && line != "kind: ConfigMap";
    assert!(
        text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
            .all(|line| line.starts_with('#') || begins_nothing(line)),
        "{text}"
    );
    insta::assert_snapshot!(text);
}

#[test]
fn what_is_imported_is_in_order() {
    let manifests = tempfile::tempdir().unwrap();
    fs::write(manifests.path().join("imported.yaml"), all()).unwrap();
    let secret = |name: &str, entries: &str| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: default}}\nstringData: {{{entries}}}\n"
        )
    };
    let secrets = [
        secret("openai-api-key", "key: one"),
        secret("text-embedding-3-small-credential", "key: two"),
        secret("cohere-key", "key: three"),
        secret(
            "vertex-embedding-credential",
            r#"key: '{"type": "service_account", "client_email": "a@acme.iam.gserviceaccount.com", "private_key": "x", "token_uri": "https://oauth2.googleapis.com/token"}'"#,
        ),
        secret("bge-credential", "key: five"),
        secret("bge-credential-2", "key: six"),
        secret("aws-access-key-id", "AWS_ACCESS_KEY_ID: AKIAIOSFODNN7EXAMPLE, AWS_SECRET_ACCESS_KEY: four"),
    ];
    fs::write(manifests.path().join("secrets.yaml"), secrets.concat()).unwrap();
    let (success, config, stderr) = operator(&["render", "--manifests", &manifests.path().display().to_string()]);
    assert!(success, "{stderr}");
    for served in
        ["sha256: 2c26b46b68ff", "- text-embedding-3-small", "- ada", "priority: 1", "requestsPerMinute: 5000"]
    {
        assert!(config.contains(served), "{served} is not in {config}");
    }
}

#[test]
fn keys_alone_get_the_teams_that_they_name() {
    let text = import(&["--keys", &file("keys.json"), "--namespace", "apps"]);
    assert!(
        text.contains("kind: Team\nmetadata:\n  name: 7d1c2b3a-0000-4000-8000-000000000001\n  namespace: apps"),
        "{text}"
    );
    assert_eq!(
        text.matches("kind: ApiKey").count(),
        4,
        "without a config every model may be one of embeddings: {text}"
    );
}

#[test]
fn what_is_no_export_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.json");
    for (text, flag, words) in [
        ("[1, 2", "--config", "is neither YAML nor JSON"),
        ("[1, 2]", "--config", "is no config"),
        ("{\"teams\": 5}", "--teams", "has no list of teams"),
        ("5", "--keys", "has no list of keys"),
    ] {
        fs::write(&wrong, text).unwrap();
        let (success, _, stderr) = operator(&["import", "litellm", flag, &wrong.display().to_string()]);
        assert!(!success && stderr.contains(words) && stderr.contains("wrong.json"), "{text}: {stderr}");
    }
    let (success, _, stderr) = operator(&["import", "litellm"]);
    assert!(!success && stderr.contains("give --config, --teams, --keys"), "{stderr}");
}
