//! The chart's store: its configuration on a real server, and its password, which outlives upgrades.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine;
use nix::sys::signal::Signal;
use serde_json::Value;
use vectoll_tests::{cluster::Operator, pair::poll, pair::process::Process};

use crate::cluster::{Cluster, eventually};
use crate::tool::{NAMESPACE, helm, repository, run};

const DEADLINE: Duration = Duration::from_secs(30);

/// The configuration that the chart renders, for a server in a folder of a test's own.
fn configuration(folder: &std::path::Path, port: u16) -> anyhow::Result<String> {
    let mut template = helm()?;
    template.args(["template", "vectoll", "--kube-version=1.33", "--show-only=templates/valkey.yaml"]);
    let rendered = run(template.arg(repository("charts/vectoll")))?.ok()?;
    let text = rendered
        .split("\n---\n")
        .filter_map(|one| serde_yaml::from_str::<Value>(one).ok())
        .find_map(|object| Some(object.get("data")?.get("valkey.conf")?.as_str()?.to_owned()))
        .context("no configuration")?;
    let here = folder.display().to_string();
    let moved = text
        .replace("port 6379", &format!("port {port}\nbind 127.0.0.1"))
        .replace("dir /data", &format!("dir {here}"))
        .replace("/etc/vectoll-store/secret", &here);
    ensure!(moved.matches(&here).count() == 2, "{text}");
    Ok(moved)
}

/// Starts a server as the chart does.
fn start(folder: &std::path::Path, port: u16, password: &str) -> anyhow::Result<Process> {
    std::fs::write(folder.join("valkey.conf"), configuration(folder, port)?)?;
    std::fs::write(folder.join("store.conf"), password)?;
    let mut server = Command::new("redis-server");
    server.arg(folder.join("valkey.conf")).stdin(Stdio::null());
    Process::spawn("redis-server", server, None).context("missing: redis-server (Debian: apt-get install redis-server)")
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// One question, as the probes ask theirs. Whether it ended well, and what was said.
fn ask(port: u16, login: &[&str], question: &[&str]) -> anyhow::Result<(bool, String)> {
    let mut client = Command::new("redis-cli");
    client.args(["-p", &port.to_string(), "--no-auth-warning", "-e"]).args(login).args(question);
    let said = run(&mut client)?;
    Ok((said.well, format!("{}{}", said.out, said.err)))
}

const PROBE: [&str; 4] = ["--user", "vectoll-probe", "--pass", "none"];

#[test]
fn a_real_server_takes_the_configuration_and_keeps_strangers_out() -> anyhow::Result<()> {
    let (folder, port) = (tempfile::tempdir()?, free_port()?);
    let server = start(folder.path(), port, "requirepass secret\n")?;
    eventually("a PONG", || Ok(ask(port, &PROBE, &["ping"])?.0)).with_context(|| server.log().text())?;
    let admin = ["-a", "secret"];
    for (login, question, well, expected) in [
        (&PROBE[..], &["ping"][..], true, "PONG"),
        // A probe holds no password, so it may do nothing else.
        (&PROBE[..], &["get", "a"][..], false, "NOPERM"),
        (&PROBE[..], &["info"][..], false, "NOPERM"),
        // A probe fails where there is an error in place of an answer, as while the server loads its file.
        (&[][..], &["ping"][..], false, "NOAUTH"),
        (&["-a", "wrong"][..], &["ping"][..], false, "NOAUTH"),
        (&admin[..], &["acl", "whoami"][..], true, "default"),
        (&admin[..], &["config", "get", "appendfsync"][..], true, "always"),
        (&admin[..], &["config", "get", "maxmemory-policy"][..], true, "noeviction"),
        (&admin[..], &["config", "get", "maxmemory"][..], true, "268435456"),
        (&admin[..], &["config", "get", "save"][..], true, "save"),
        // What one login may send, and what may wait for it.
        (&admin[..], &["config", "get", "proto-max-bulk-len"][..], true, "1048576"),
        (&admin[..], &["config", "get", "client-query-buffer-limit"][..], true, "16777216"),
        (&admin[..], &["config", "get", "maxmemory-clients"][..], true, "20%"),
        (&admin[..], &["config", "get", "timeout"][..], true, "300"),
        (&admin[..], &["config", "get", "busy-reply-threshold"][..], true, "1000"),
    ] {
        let (ended_well, said) = ask(port, login, question)?;
        assert!(ended_well == well && said.contains(expected), "{login:?} {question:?}: {said}");
    }
    assert!(folder.path().join("appendonlydir").is_dir());
    Ok(())
}

/// The operator, with the roles that the chart gives it, makes the password; the store takes it from there; and what comes later,
/// upgrades and other replicas, finds it as it was.
#[test]
fn the_password_is_made_once_and_outlives_upgrades() -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    cluster.kubectl(&["create", "namespace", "search"])?.ok()?;
    let chart = repository("charts/vectoll").display().to_string();
    cluster.helm(&["install", "vectoll", &chart, "--set", "watchNamespaces={search}"])?.ok()?;
    let folder = tempfile::tempdir()?;
    let token = cluster.kubectl(&["create", "token", "vectoll", "--namespace", NAMESPACE])?.ok()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, cluster.kubeconfig_of(token.trim())?)?;
    let port = free_port()?;
    // As the Deployment says, but for the address.
    let deployment = cluster.get(&["deployment", "vectoll", "--namespace", NAMESPACE])?;
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().cloned();
    let url = "--store-url=redis://vectoll-store.vectoll-system.svc:6379";
    let arguments: Vec<String> = arguments
        .context("no arguments")?
        .iter()
        .filter_map(Value::as_str)
        .filter(|argument| argument.starts_with("--store-") || argument.starts_with("--watch-"))
        .map(
            |argument| {
                if argument == url { format!("--store-url=redis://127.0.0.1:{port}") } else { argument.to_owned() }
            },
        )
        .collect();
    ensure!(arguments.iter().any(|argument| argument.contains("127.0.0.1")), "{arguments:?}");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut operator = Operator::launch(&kubeconfig, NAMESPACE, "one", &arguments)?;
        operator.ready().await?;
        let secret = async || {
            poll::until("the Secret of the store", DEADLINE, async || {
                Ok(Some(cluster.get(&["secret", "vectoll-store-master", "--namespace", NAMESPACE])?))
            })
            .await
        };
        let made = secret().await.with_context(|| operator.log())?;
        ensure!(made["type"] == "vectoll.dev/store-master" && made["immutable"] == true, "{made}");
        let entry = |name: &str| -> anyhow::Result<String> {
            let text = made["data"][name].as_str().with_context(|| format!("no entry {name}"))?;
            Ok(String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text)?)?)
        };
        // The store starts when the password is there; until then the operator waits for it.
        let store = tempfile::tempdir()?;
        let _server = start(store.path(), port, &entry("store.conf")?)?;
        let up = async |operator: &Operator| {
            poll::until("the operator's users in the store", DEADLINE, async || {
                Ok((operator.metrics().await?.value("vectoll_operator_store_up", &[]) == Some(1.0)).then_some(()))
            })
            .await
            .with_context(|| operator.log())
        };
        up(&operator).await?;
        let password = entry("password")?;
        ensure!(ask(port, &["-a", &password], &["acl", "whoami"])?.1.contains("default"));

        cluster.helm(&["upgrade", "vectoll", &chart, "--reuse-values", "--set", "operator.logFilter=debug"])?.ok()?;
        ensure!(operator.end(Signal::SIGTERM).await?.success(), "{}", operator.log());
        let log = operator.log();
        let mut next = Operator::launch(&kubeconfig, NAMESPACE, "two", &arguments)?;
        next.ready().await?;
        up(&next).await?;
        ensure!(secret().await? == made, "the Secret has changed");
        let logs = format!("{log}{}", next.log());
        for hidden in [&password, &entry("master")?] {
            ensure!(!logs.contains(hidden.as_str()), "a password stands in the log");
        }
        ensure!(!logs.to_lowercase().contains("forbidden"), "the operator lacks a privilege: {logs}");
        Ok(())
    })
}
