//! The data plane without the control plane.

use anyhow::ensure;
use vectoll_tests::pair::metrics::Metrics;

use crate::cluster::{Cluster, DEADLINE, START, SYSTEM, container, pod, pod_spec};

pub fn operator_killed(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = "e2e-killed";
    cluster.namespace(ns)?;
    let of = |what: &str| cluster.operators(&format!("status.containerStatuses[0].{what}"));
    let killed = of("containerID")?;
    ensure!(killed.len() == 2, "{killed:?}");
    for id in &killed {
        cluster.kill_container(id.trim_start_matches("containerd://"))?;
    }
    cluster.until("both to be others", START, || {
        let now = of("containerID")?;
        Ok((now.len() == 2 && now.iter().all(|id| !killed.contains(id))).then_some(()))
    })?;
    cluster.api_key(ns, "alice", "")?;
    cluster.until("the key to be made", START, || {
        let ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
        Ok((cluster.kubectl(&["get", "apikey", "alice", "-n", ns, "-o", ready])? == "True").then_some(()))
    })?;
    cluster.kubectl(&["rollout", "status", "-n", SYSTEM, "deployment", "--timeout=120s"])?;
    cluster.until("the webhook to answer", DEADLINE, || {
        Ok(cluster.apply(&pod(ns, "app", "vectoll.dev/api-key: alice")).ok())
    })?;
    cluster.wait(ns, "condition=Ready", "pod/app")?;
    // The Lease of the one that was killed has to run out.
    cluster.call(ns, "app", None, 75).map(|_| ())
}

/// Calls go on with operator, store and API server stopped, also through a sidecar that had to start again meanwhile.
pub fn nothing_but_the_pods(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = "e2e-outage";
    cluster.namespace(ns)?;
    cluster.api_key(ns, "alice", "")?;
    let caller = container("app", "[try, --model=builtin, --repeat]");
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: app, namespace: {ns}, labels: {{vectoll.dev/inject: 'true'}}, annotations: \
         {{vectoll.dev/api-key: alice}}}}, spec: {}}}",
        pod_spec(&caller)
    ))?;
    cluster.wait(ns, "condition=Ready", "pod/app")?;
    let of = |what: &str| cluster.kubectl(&["get", "pod", "app", "-n", ns, "-o", what]);
    let url = format!("http://{}:4001/metrics", of("jsonpath={.status.podIP}")?);
    let sidecar = of("jsonpath={.status.initContainerStatuses[0].containerID}")?;
    let sidecar = sidecar.trim_start_matches("containerd://");
    let metric = |name: &str| -> anyhow::Result<f64> {
        let text = cluster.inside(&["curl", "-sf", "--max-time", "5", &url], None)?;
        Ok(Metrics::parse(&text)?.sum(name, &[]))
    };
    // Nobody but the caller in the pod raises it.
    let goes_on = || -> anyhow::Result<()> {
        let before = cluster.until("the sidecar's metrics", START, || Ok(metric("vectoll_key_requests_total").ok()))?;
        cluster.until("calls to go on", START, || {
            Ok((metric("vectoll_key_requests_total")? >= before + 3.0).then_some(()))
        })
    };
    goes_on()?;
    let outcome = (|| {
        cluster.kubectl(&["scale", "deployment,statefulset", "-n", SYSTEM, "--all", "--replicas=0"])?;
        cluster.kubectl(&["wait", "-n", SYSTEM, "--for=delete", "pods", "--all", "--timeout=120s"])?;
        cluster.component("kill", "kube-apiserver")?;
        ensure!(cluster.kubectl(&["get", "--raw", "/readyz"]).is_err(), "the API server is still there");
        goes_on()?;
        let started = metric("process_start_time_seconds")?;
        cluster.kill_container(sidecar)?;
        cluster.until("the sidecar to be another one", START, || {
            Ok(metric("process_start_time_seconds").is_ok_and(|now| now > started).then_some(()))
        })?;
        goes_on()
    })();
    cluster.component("start", "kube-apiserver")?;
    cluster.until("the API server", START, || Ok(cluster.kubectl(&["get", "--raw", "/readyz"]).ok()))?;
    cluster.kubectl(&["scale", "deployment", "-n", SYSTEM, "--all", "--replicas=2"])?;
    cluster.kubectl(&["scale", "statefulset", "-n", SYSTEM, "--all", "--replicas=1"])?;
    cluster.kubectl(&["rollout", "status", "-n", SYSTEM, "deployment", "--timeout=120s"])?;
    // Between a pod that is ready and a Service that leads to it there is a moment.
    cluster.until("the webhook to answer", START, || {
        let pod = pod(ns, "asked", "");
        Ok(cluster.inside(&["kubectl", "apply", "--dry-run=server", "-f", "-"], Some(&pod)).ok())
    })?;
    outcome
}
