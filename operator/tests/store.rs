//! The store without a cluster: `standalone` and `render` pass on what the command line says, and refuse what is invalid.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

fn operator(command: &str, manifests: &Path) -> Command {
    let mut operator = Command::new(env!("CARGO_BIN_EXE_vectoll-operator"));
    operator.arg(command).arg("--manifests").arg(manifests).stdin(Stdio::null());
    operator
}

/// Ends it, also when a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn within_a_while(mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

#[test]
fn a_folder_is_told_of_the_store_and_of_a_password_that_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (manifests, config) = (folder.path().join("manifests"), folder.path().join("config"));
    fs::create_dir(&manifests).unwrap();
    let (password, ca) = (folder.path().join("password"), folder.path().join("ca"));
    fs::write(&password, "first\n").unwrap();
    fs::write(&ca, "-----BEGIN CERTIFICATE-----\n").unwrap();
    let mut standalone = operator("standalone", &manifests);
    standalone.arg("--config-dir").arg(&config).args(["--store-url=rediss://valkey.example", "--store-username=app"]);
    standalone.arg("--store-password-file").arg(&password).arg("--store-ca-file").arg(&ca);
    let running = Running(standalone.stderr(Stdio::null()).spawn().unwrap());
    let holds = |name: &str, text: &str| fs::read_to_string(config.join(name)).is_ok_and(|found| found == text);
    assert!(within_a_while(|| holds("store.password", "first")));
    assert!(holds("store.ca", "-----BEGIN CERTIFICATE-----\n"));
    let text = fs::read_to_string(config.join("config.v1.yaml")).unwrap();
    let store = vectoll_config::read_v1(&text).unwrap().store.unwrap();
    assert_eq!((store.username.as_deref(), store.password_file.as_deref()), (Some("app"), Some("store.password")));
    assert_eq!(store.ca_file.as_deref(), Some("store.ca"));
    fs::write(&password, "second\n").unwrap();
    assert!(within_a_while(|| holds("store.password", "second")));
    // What cannot be used leaves the last good one in force.
    fs::write(&password, "").unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(holds("store.password", "second"));
    drop(running);
}

#[test]
fn render_shows_the_store_and_refuses_what_makes_no_sense() {
    let manifests = tempfile::tempdir().unwrap();
    let render = |arguments: &[&str]| {
        let output = operator("render", manifests.path()).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let (success, config, stderr) = render(&["--store-url=redis://valkey", "--on-store-failure=closed"]);
    assert!(success && config.contains("store:\n  url: redis://valkey\n  onFailure: Closed\n"), "{config}{stderr}");
    for (arguments, expected) in [
        (&["--on-store-failure=Local"][..], "set --store-url as well"),
        (&["--store-url=redis://valkey", "--store-username=app"][..], "set --store-password-file as well"),
        (&["--store-url=redis://app:do-not-log-me@valkey"][..], "must hold no user and no password"),
        (&["--store-url=redis://valkey", "--on-store-failure=Open"][..], "possible values: Local, Closed"),
    ] {
        let (success, _, stderr) = render(arguments);
        assert!(!success && stderr.contains(expected), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("do-not-log-me"), "{stderr}");
    }
}
