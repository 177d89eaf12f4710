//! The contract as a file: what reads, what is refused, and with which words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use vectoll_config::{KeyHash, POD_KEY, check_files_v1, entry_size, read_v1, v1, write_v1};

const WHOLE: &str = include_str!("whole.v1.yaml");

#[test]
fn a_whole_config_reads_and_writes_back_the_same() {
    let config = read_v1(WHOLE).unwrap_or_else(|error| panic!("{error}"));
    let written = write_v1(&config).unwrap();
    assert_eq!(read_v1(&written).unwrap(), config);
    // As sidecars read it that know no JSON.
    assert_eq!(serde_yaml::from_str::<v1::Config>(&written).unwrap(), config);
    assert_eq!(serde_yaml::to_string(&config).unwrap(), WHOLE);
}

#[test]
fn what_is_written_has_a_line_for_each_entry() {
    let written = write_v1(&read_v1(WHOLE).unwrap()).unwrap();
    let begins: Vec<&str> = written.lines().map(|line| line.get(..22).unwrap_or(line)).collect();
    insta::assert_snapshot!(begins.join("\n"), @r#"
    {
    "version":"v1",
    "generation":7,
    "namespace":"default",
    "store":{"url":"rediss
    "teams":[
    {"name":"ml/search","u
    {"name":"ml/organisati
    "keys":[
    {"name":"default/alice
    "routes":[
    {"name":"default/opena
    {"name":"ml/federated"
    {"name":"ml/builtin","
    "complete":true}
    "#);
    let faulty = written.replacen(r#""weight":1"#, r#""weight":"heavy""#, 1);
    let error = read_v1(&faulty).unwrap_err().to_string();
    assert_eq!(error, "routes[0].backends[0].weight: invalid type: string \"heavy\", expected u32 (line 12)");
}

#[test]
fn an_entry_takes_what_it_adds_to_the_file() {
    let config = read_v1(WHOLE).unwrap();
    let [route, ..] = &config.routes[..] else { panic!("no routes") };
    let more = v1::Config { routes: [&config.routes[..], std::slice::from_ref(route)].concat(), ..config.clone() };
    let added = write_v1(&more).unwrap().len() - write_v1(&config).unwrap().len();
    assert_eq!(entry_size(route).unwrap(), added);
}

/// Replaces the first `from` in the whole config by `to` and returns the error's words.
fn refusal(from: &str, to: &str) -> String {
    assert!(WHOLE.contains(from), "{from} is not in whole.v1.yaml");
    let text = WHOLE.replacen(from, to, 1);
    match read_v1(&text) {
        Ok(_) => panic!("{to:?} was accepted"),
        Err(error) => {
            let line = error.line.unwrap_or_else(|| panic!("no line in: {error}"));
            let changed = WHOLE.lines().zip(text.lines()).position(|(a, b)| a != b).unwrap() + 1;
            assert!(line.abs_diff(changed) <= 1, "line {line} for a change in line {changed}: {error}");
            error.to_string()
        }
    }
}

#[test]
fn errors_name_the_path_and_the_line() {
    insta::assert_snapshot!(
        [
            refusal("version: v1", "version: v2"),
            refusal("generation: 7", "generation: seven"),
            refusal("    weight: 1", "    weight: heavy"),
            refusal("    weight: 1", "    weight: 0"),
            refusal("    weight: 1", "    wieght: 1"),
            refusal("    weight: 1", "    weight: 1\n    unknown: 1"),
            refusal("limit: '25.00'", "limit: '25,00'"),
            refusal("timeZone: Europe/Berlin", "timeZone: Europe/Bremen"),
            refusal("period: Monthly", "period: Fortnightly"),
            refusal("tokensPerMinute: 1000", "tokensPerMinute: 0"),
            refusal("tokensPerMinute: 500", "tokensPerMinute: 0"),
            refusal("tokensPerMinute: 1000", "tokensPerMinute: -1"),
            refusal("team: ml/search", "team: ml/other"),
            refusal("parent: ml/organisation", "parent: ml/other"),
            refusal("parent: ml/organisation", "parent: ml/search"),
            refusal("- name: default/alice", "- name: alice"),
            refusal("  - sha256: ba78", "  - sha256: zz78"),
            refusal("  - text-embedding-3-*", "  - text-*-3"),
            refusal("        credentialFile: credential.default.openai.api-key", "        credentialFile: ../key"),
            refusal("      openAI:", "      openAi:"),
            refusal("    timeoutSeconds: 60", "    timeoutSeconds: 0"),
            refusal("rediss+sentinel://", "https://"),
            refusal("rediss+sentinel://", "rediss+sentinel://user:hunter2@"),
            refusal("scope: vectoll-system.vectoll", "scope: vectoll-system:vectoll"),
            refusal("passwordFile: store.password", "passwordFile: ../password"),
            refusal("onFailure: Closed", "onFailure: Open"),
        ]
        .join("\n")
    );
}

#[test]
fn no_beginning_of_a_config_is_a_config() {
    let written = write_v1(&read_v1(WHOLE).unwrap()).unwrap();
    for whole in [WHOLE, &written] {
        // Cut just before the last line's end, the file is whole.
        for end in (0..whole.len() - 1).filter(|&end| whole.is_char_boundary(end)) {
            assert!(read_v1(&whole[..end]).is_err(), "a config cut at byte {end} was accepted");
        }
    }
}

#[test]
fn what_stands_in_for_a_key_cannot_be_one() {
    let text = WHOLE.replacen(
        "  - sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        &format!("  - sha256: {}", KeyHash::of(POD_KEY.as_bytes())),
        1,
    );
    let error = read_v1(&text).unwrap_err().to_string();
    assert!(error.contains("credentials[0]: vectoll-pod-key is what pods send in place of a key"), "{error}");
}

#[test]
fn a_file_that_is_named_must_be_there_and_a_password_must_be_text() {
    let config = read_v1(WHOLE).unwrap();
    let all = |name: &str| (name != "missing").then_some(&b"content"[..]);
    check_files_v1(&config, all).unwrap();
    let without = |gone: &'static str| {
        check_files_v1(&config, |name| all(name).filter(|_| name != gone)).unwrap_err().to_string()
    };
    assert_eq!(without("store.password"), "store.passwordFile: the file store.password is not in the config folder");
    let error = without("credential.default.openai.api-key");
    assert!(
        error.ends_with("provider: the file credential.default.openai.api-key is not in the config folder"),
        "{error}"
    );
    let binary = |name: &str| Some(if name == "store.password" { &b"\xff"[..] } else { b"x" });
    assert_eq!(
        check_files_v1(&config, binary).unwrap_err().to_string(),
        "store.passwordFile: the password is not UTF-8"
    );
}
