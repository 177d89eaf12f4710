//! The page in a cluster: with the roles that the chart gives operator and readers, one sees what one may list.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};
use vectoll_tests::{
    cluster::Operator,
    page::client,
    pair::binaries::{after, binary},
};

use crate::cluster::Cluster;
use crate::tool::{NAMESPACE, repository};

/// A Team with a key.
const RESOURCES: &str = "
{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {name: team}, spec: {displayName: Search}}
---
{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {name: alice}, spec: {teamRef: {name: team}}}
";

#[test]
fn one_sees_on_the_page_what_one_may_list() -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    for namespace in ["search", "shop"] {
        cluster.kubectl(&["create", "namespace", namespace])?.ok()?;
    }
    let chart = repository("charts/vectoll").display().to_string();
    // The page alone asks for these rights as well.
    let settings = "page.enabled=true,metrics.authentication=false,store.enabled=false";
    cluster.helm(&["install", "vectoll", &chart, "--set", settings])?.ok()?;
    for namespace in ["search", "shop"] {
        cluster.kubectl_with(&["apply", "--namespace", namespace], RESOURCES)?.ok()?;
    }
    for (name, role) in [("viewer", "vectoll-view"), ("nobody", "")] {
        cluster.kubectl(&["create", "serviceaccount", name, "--namespace=search"])?.ok()?;
        if !role.is_empty() {
            let binding = ["create", "rolebinding", name, "--namespace=search", &format!("--clusterrole={role}")];
            cluster.kubectl(&[&binding[..], &[&format!("--serviceaccount=search:{name}")]].concat())?.ok()?;
        }
    }
    let token = |namespace: &str, name: &str| {
        anyhow::Ok(cluster.kubectl(&["create", "token", name, "--namespace", namespace])?.ok()?.trim().to_owned())
    };
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, cluster.kubeconfig_of(&token(NAMESPACE, "vectoll")?)?)?;
    let (viewer, nobody) = (token("search", "viewer")?, token("search", "nobody")?);
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(async {
            let mut operator = Operator::launch(&kubeconfig, NAMESPACE, "one", &[&format!("--page-listen={free}")])?;
            operator.ready().await?;
            let client = client()?;
            let ask = async |path: &str, token: Option<&str>| {
                let mut request = client.get(format!("http://{free}/page/{path}"));
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                let answer = request.send().await?;
                let status = answer.status().as_u16();
                anyhow::Ok((status, serde_json::from_str::<Value>(&answer.text().await?).unwrap_or_default()))
            };
            ensure!(ask("api/keys", None).await?.0 == 401);
            ensure!(ask("api/keys", Some("abc")).await?.0 == 401);
            let (status, keys) = ask("api/keys", Some(&viewer)).await?;
            ensure!(status == 200 && keys["total"] == 1 && keys["rows"][0]["id"] == "search/alice", "{keys}");
            let (_, about) = ask("api/about", Some(&viewer)).await?;
            ensure!(about["reader"] == "system:serviceaccount:search:viewer", "{about}");
            ensure!(about["sees"]["teams"] == json!(["search"]), "{about}");
            ensure!(ask("api/teams/detail?id=search/team", Some(&viewer)).await?.0 == 200);
            ensure!(ask("api/teams/detail?id=shop/team", Some(&viewer)).await?.0 == 404);
            let (status, nothing) = ask("api/teams", Some(&nobody)).await?;
            ensure!(status == 200 && nothing["total"] == 0, "{nothing}");
            ensure!(ask("api/about", Some(&nobody)).await?.1["seesNothing"] == true);
            by_the_plugin(&cluster, free).await?;
            let log = operator.log();
            ensure!(!log.contains(&viewer) && !log.contains(&nobody), "a token stands in the log");
            ensure!(!log.to_lowercase().contains("could not be asked"), "{log}");
            ensure!(operator.end(Signal::SIGTERM).await?.success(), "{}", operator.log());
            Ok(())
        })
        .context("the page")
}

/// `kubectl vectoll page` finds the operator, signs in a `ServiceAccount`, and hands its token to a browser once. There are no nodes here, so
/// that a script stands in for the forwarding of kubectl.
async fn by_the_plugin(cluster: &Cluster, page: SocketAddr) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let asked = folder.path().join("asked");
    let lines = format!("echo \"$*\" > {}\necho \"Forwarding from {page} -> 8082\"\nexec sleep 600", asked.display());
    after(Path::new("/bin/true"), &folder.path().join("kubectl"), &lines)?;
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH")?);
    let mut command = Command::new(binary("kubectl-vectoll")?);
    command.args(["page", "--no-open", "--service-account=search/viewer", "--kubeconfig"]).arg(cluster.kubeconfig());
    let mut plugin = command.env("PATH", path).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(plugin.stdout.take().context("no output")?).lines();
    let url = loop {
        let line = lines.next_line().await?.context("the plugin ended without an address")?;
        if let Some(url) = line.trim().strip_prefix("http://") {
            break format!("http://{url}");
        }
    };
    let client = client()?;
    let first = client.get(&url).send().await?;
    let to = first.headers().get("location").context("it leads nowhere")?.to_str()?;
    let (to, token) = to.split_once("#token=").context("without a token")?;
    ensure!(to == format!("http://{page}/page/"), "{to}");
    let about = client.get(format!("{to}api/about")).bearer_auth(token).send().await?.text().await?;
    ensure!(about.contains("system:serviceaccount:search:viewer"), "{about}");
    ensure!(client.get(&url).send().await?.status().as_u16() == 410, "a second time");
    let asked = std::fs::read_to_string(asked)?;
    ensure!(asked.contains(&format!("--namespace {NAMESPACE} port-forward --address 127.0.0.1 ")), "{asked}");
    ensure!(asked.contains("/vectoll") && asked.trim_end().ends_with(" :8082"), "{asked}");
    Ok(())
}
