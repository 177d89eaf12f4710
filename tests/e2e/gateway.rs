//! The gateway of the release: its replicas, the ways to it, and a platform's namespace whose routes it carries out.

use std::net::SocketAddr;

use anyhow::{Context, ensure};

use crate::{
    cluster::{Cluster, DEADLINE, START, SYSTEM},
    load::Way,
    network::Network,
    upstream::Upstream,
};

/// The name that its certificate is for.
pub const HOST: &str = "vectoll-gateway.vectoll-system.svc";
/// Of the deployment.
pub const DEPLOYMENT: &str = "deployment/vectoll-gateway";
/// Of a token by the platform's routes, in pico-USD.
pub const PRICE: u64 = 20_000;
/// What callers on localhost may be told while a replica is killed, and while it reads its journal again: the pages say so.
pub const KILLED: [&str; 4] = ["200", "502 upstream_error", "503 gateway_unavailable", "503 store_unavailable"];
const LABEL: &str = "app.kubernetes.io/component=gateway";

/// Gives the release a gateway of three replicas, where it has none.
pub fn switch_on(cluster: &Cluster) -> anyhow::Result<()> {
    if replicas(cluster).is_ok_and(|all| all.len() == 3) {
        return Ok(());
    }
    cluster.release("upgrade", &["--set", "gateway.enabled=true,gateway.replicas=3"])?;
    // The Service leads to the new operators a moment after they are ready, and until then pods are injected by the old ones.
    cluster.kubectl(&["rollout", "status", "-n", SYSTEM, "deployment", "--timeout=120s"]).map(|_| ())
}

/// Takes it away: routes that it carries out are served by nobody, and say so.
pub fn switched_off(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = "e2e-no-gateway";
    if replicas(cluster)?.is_empty() {
        switch_on(cluster)?;
    }
    let upstream = Upstream::start(cluster, "e2e-no-gateway-provider")?;
    platform(cluster, ns, &upstream, &[("text", "{}")])?;
    let condition = |what: &str| {
        let path = format!("jsonpath={{.status.conditions[?(@.type=='Accepted')].{what}}}");
        cluster.kubectl(&["get", "modelroute", "text", "-n", ns, "-o", &path])
    };
    cluster.until("the route to be accepted", DEADLINE, || Ok((condition("status")? == "True").then_some(())))?;
    cluster.release("upgrade", &[])?;
    cluster.until("the route to say that there is no gateway", DEADLINE * 3, || {
        Ok((condition("reason")? == "NoGateway").then_some(()))
    })?;
    // What follows finds the release as it was: no replica of the gateway, and none of the operators that knew of it.
    let pods = |label: &str| -> anyhow::Result<usize> {
        Ok(cluster.kubectl(&["get", "pods", "-n", SYSTEM, "-l", label, "-o", "name"])?.lines().count())
    };
    cluster.until("the gateway's pods and the operators of before to be gone", START, || {
        Ok((pods(LABEL)? == 0 && pods("app.kubernetes.io/component=operator")? == 2).then_some(()))
    })
}

/// A replica, by its container.
#[derive(Clone, Debug)]
pub struct Replica {
    pub container: String,
}

/// Those that are not about to go.
pub fn replicas(cluster: &Cluster) -> anyhow::Result<Vec<Replica>> {
    let path = "jsonpath={range .items[*]}{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].ready} \
                {.metadata.deletionTimestamp}{'\\n'}{end}";
    let all = cluster.kubectl(&["get", "pods", "-n", SYSTEM, "-l", LABEL, "-o", path])?;
    let replica = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [container, "true"] => Some(Replica { container: container.to_owned() }),
        _ => None,
    };
    Ok(all.lines().filter_map(replica).collect())
}

/// Waits until so many are ready, and no other is there.
pub fn settled(cluster: &Cluster, count: usize) -> anyhow::Result<Vec<Replica>> {
    cluster.until(&format!("{count} replicas"), START, || {
        let pods = cluster.kubectl(&["get", "pods", "-n", SYSTEM, "-l", LABEL, "-o", "name"])?;
        let ready = replicas(cluster)?;
        Ok((ready.len() == count && pods.lines().count() == count).then_some(ready))
    })
}

/// Past sidecars, from the node.
pub fn directly(cluster: &Cluster) -> anyhow::Result<Way> {
    let field = |kind: &str, name: &str, path: &str| cluster.kubectl(&["get", kind, name, "-n", SYSTEM, "-o", path]);
    let ip = field("service", "vectoll-gateway", "jsonpath={.spec.clusterIP}")?;
    let ca = field("secret", "vectoll-gateway-tls", "go-template={{index .data \"ca.crt\" | base64decode}}")?;
    let address: SocketAddr = format!("{ip}:443").parse().context(ip)?;
    let network = Network::of_node();
    Ok(Way { name: "the gateway", network, url: format!("https://{HOST}"), gateway: Some((ca, address)) })
}

/// As an application of a pod does it.
pub fn by_sidecar(cluster: &Cluster, ns: &str, pod: &str) -> anyhow::Result<Way> {
    let network = Network::of_container(&container(cluster, ns, pod, "containerStatuses")?)?;
    Ok(Way { name: "localhost", network, url: "http://127.0.0.1:4000".to_owned(), gateway: None })
}

/// The ID of a pod's first container of a kind: `containerStatuses`, or `initContainerStatuses` for its sidecar.
pub fn container(cluster: &Cluster, ns: &str, pod: &str, kind: &str) -> anyhow::Result<String> {
    let path = format!("jsonpath={{.status.{kind}[0].containerID}}");
    cluster.kubectl(&["get", "pod", pod, "-n", ns, "-o", &path])
}

/// A namespace of the platform's team: a Team of each name, a route to a model of the same name, one to the provider's faults, and its
/// credential. The gateway carries the routes out for every namespace, at 0.02 USD a million tokens.
pub fn platform(cluster: &Cluster, ns: &str, upstream: &Upstream, teams: &[(&str, &str)]) -> anyhow::Result<()> {
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {ns}}}}}\n---\n{{apiVersion: v1, kind: Secret, metadata: {{name: provider, \
         namespace: {ns}}}, stringData: {{api-key: {}}}}}\n",
        upstream.credential
    ))?;
    for (team, spec) in teams {
        let mut whole: serde_json::Value = serde_yaml::from_str(spec)?;
        whole["allowedNamespaces"] = serde_json::json!({"from": "All"});
        cluster.apply(&format!(
            "{{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {{name: {team}, namespace: {ns}}}, spec: {whole}}}\n---\n{}",
            route(ns, team, &format!("[{team}]"), &upstream.url())
        ))?;
    }
    cluster.apply(&route(ns, "faults", "['fault-*']", &upstream.url()))
}

/// A route of a namespace that the gateway carries out, to a provider with the namespace's credential.
pub fn route(ns: &str, name: &str, models: &str, url: &str) -> String {
    format!(
        "{{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {{name: {name}, namespace: {ns}}}, spec: {{models: {models}, \
         delivery: Gateway, allowedNamespaces: {{from: All}}, backends: [{{name: provider, openAI: {{baseURL: '{url}', apiKeySecretRef: \
         {{name: provider, key: api-key}}}}, price: {{inputPerMillionTokens: '0.02'}}, tokens: {{encoding: cl100k_base}}}}]}}}}"
    )
}

/// Waits until a key is good for a model by this way.
pub fn serves(cluster: &Cluster, way: &Way, key: &str) -> anyhow::Result<()> {
    cluster.until("the key to be known", START, || {
        let answer = way.get("/v1/models", key)?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.message());
        Ok((!answer.json["data"].as_array().is_none_or(Vec::is_empty)).then_some(()))
    })
}
