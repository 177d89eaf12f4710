//! Injection, by every kind of controller.

use anyhow::ensure;
use vectoll_tests::pair::metrics::Metrics;

use crate::cluster::{Cluster, START, container, idle, pod, pod_spec};

pub fn calls(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = "e2e-calls";
    cluster.namespace(ns)?;
    cluster.api_key(ns, "alice", "")?;
    cluster.apply(&pod(ns, "app", "vectoll.dev/api-key: alice"))?;
    cluster.wait(ns, "condition=Ready", "pod/app")?;
    let said = cluster.call(ns, "app", None, 10)?;
    ensure!(said.contains("a vector of 256 dimensions"), "{said}");
    // The sidecar is a native one, first, and the application does not see its files.
    let first = "jsonpath={.spec.initContainers[0].name} {.spec.initContainers[0].restartPolicy}";
    ensure!(cluster.kubectl(&["get", "pod", "app", "-n", ns, "-o", first])? == "vectoll-sidecar Always");
    let mounts = "jsonpath={.spec.containers[0].volumeMounts[*].name}";
    ensure!(!cluster.kubectl(&["get", "pod", "app", "-n", ns, "-o", mounts])?.contains("vectoll"));
    // A key that a person holds works as well, a wrong one does not.
    let value = cluster.value(ns, "alice")?;
    cluster.call(ns, "app", Some(&value), 5)?;
    let wrong = cluster.call(ns, "app", Some("sk-not-a-key-of-anyone"), 1);
    ensure!(wrong.is_err_and(|error| format!("{error:#}").contains("401")), "a wrong key got in");
    // Prometheus comes by the pod's address.
    let ip = cluster.kubectl(&["get", "pod", "app", "-n", ns, "-o", "jsonpath={.status.podIP}"])?;
    let metrics = cluster.inside(&["curl", "-sf", "--max-time", "5", &format!("http://{ip}:4001/metrics")], None)?;
    let calls = Metrics::parse(&metrics)?.sum("vectoll_key_requests_total", &[("key", &format!("{ns}/alice"))]);
    ensure!((calls - 2.0).abs() < 0.1, "{calls} calls were counted, and 2 were made");
    // And nobody else's calls do.
    let outside =
        cluster.inside(&["curl", "-s", "--max-time", "2", &format!("http://{ip}:4000/health/readiness")], None);
    ensure!(outside.is_err(), "port 4000 answers outside the pod");
    // Without any key.
    cluster.apply(&pod(ns, "keyless", "vectoll.dev/api-key: alice, vectoll.dev/keyless: 'true'"))?;
    cluster.wait(ns, "condition=Ready", "pod/keyless")?;
    cluster.call(ns, "keyless", None, 5).map(|_| ())
}

pub fn kinds(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = "e2e-kinds";
    cluster.namespace(ns)?;
    cluster.api_key(ns, "alice", "")?;
    let labels = "{app: APP, vectoll.dev/inject: 'true'}";
    let meta = |app: &str| {
        format!("metadata: {{labels: {}, annotations: {{vectoll.dev/api-key: alice}}}}", labels.replace("APP", app))
    };
    for (kind, name, more) in [
        ("Deployment", "deployment", ""),
        ("StatefulSet", "statefulset", ", serviceName: none"),
        ("DaemonSet", "daemonset", ""),
    ] {
        cluster.apply(&format!(
            "{{apiVersion: apps/v1, kind: {kind}, metadata: {{name: {name}, namespace: {ns}}}, spec: {{selector: {{matchLabels: \
             {{app: {name}}}}}{more}, template: {{{}, spec: {}}}}}}}",
            meta(name),
            pod_spec(&idle())
        ))?;
    }
    let job = format!(
        "{{backoffLimit: 0, template: {{{}, spec: {{restartPolicy: Never, automountServiceAccountToken: false, securityContext: \
         {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}, volumes: [{{name: scratch, emptyDir: \
         {{}}}}, {{name: config, emptyDir: {{}}}}], containers: [{}]}}}}}}",
        meta("job"),
        container("app", "[try, --model=builtin, --timeout-seconds=60]")
    );
    cluster.apply(&format!(
        "{{apiVersion: batch/v1, kind: Job, metadata: {{name: job, namespace: {ns}}}, spec: {job}}}\n---\n{{apiVersion: batch/v1, \
         kind: CronJob, metadata: {{name: cron, namespace: {ns}}}, spec: {{schedule: '0 0 1 1 *', jobTemplate: {{spec: {job}}}}}}}"
    ))?;
    cluster.kubectl(&["create", "job", "-n", ns, "from-cron", "--from=cronjob/cron"])?;
    // A Job ends although its sidecar would not.
    cluster.wait(ns, "condition=Complete", "job/job")?;
    cluster.wait(ns, "condition=Complete", "job/from-cron")?;
    for of in ["deployment/deployment", "statefulset/statefulset", "daemonset/daemonset"] {
        let timeout = format!("--timeout={}s", START.as_secs());
        cluster.kubectl(&["rollout", "status", "-n", ns, of, &timeout])?;
        cluster.call(ns, of, None, 10)?;
    }
    Ok(())
}

/// A quota and a range refuse the pods of a Deployment; the event leads to the annotations, and with them they run.
pub fn bounded(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = "e2e-bounded";
    cluster.namespace(ns)?;
    cluster.api_key(ns, "alice", "")?;
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: ResourceQuota, metadata: {{name: quota, namespace: {ns}}}, spec: {{hard: {{limits.cpu: '1'}}}}}}"
    ))?;
    let amounts = "{cpu: 100m, memory: 100Mi}";
    let app =
        idle().replace("{name: app,", &format!("{{name: app, resources: {{requests: {amounts}, limits: {amounts}}},"));
    cluster.apply(&format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: app, namespace: {ns}}}, spec: {{selector: {{matchLabels: {{app: \
         app}}}}, template: {{metadata: {{labels: {{app: app, vectoll.dev/inject: 'true'}}, annotations: {{vectoll.dev/api-key: \
         alice}}}}, spec: {}}}}}}}",
        pod_spec(&app)
    ))?;
    let message = "jsonpath={.items[?(@.reason=='FailedCreate')].message}";
    cluster.until("the event of the refusal", START, || {
        let said = cluster.kubectl(&["get", "events", "-n", ns, "-o", message])?;
        Ok(said.contains("the annotation vectoll.dev/sidecar-cpu-limit").then_some(()))
    })?;
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: LimitRange, metadata: {{name: range, namespace: {ns}}}, spec: {{limits: [{{type: Container, min: \
         {{cpu: 50m, memory: 100Mi}}, maxLimitRequestRatio: {{cpu: '4'}}}}]}}}}"
    ))?;
    let annotations = "{vectoll.dev/sidecar-cpu-request: 60m, vectoll.dev/sidecar-cpu-limit: 240m, vectoll.dev/sidecar-memory-request: 128Mi}";
    let annotations: serde_json::Value = serde_yaml::from_str(annotations)?;
    let patch = serde_json::json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}).to_string();
    cluster.kubectl(&["patch", "deployment", "app", "-n", ns, "-p", &patch])?;
    let timeout = format!("--timeout={}s", START.as_secs());
    cluster.kubectl(&["rollout", "status", "-n", ns, "deployment/app", &timeout])?;
    cluster.call(ns, "deployment/app", None, 10)?;
    let resources = "jsonpath={.items[0].spec.initContainers[0].resources}";
    let said = cluster.kubectl(&["get", "pods", "-n", ns, "-l", "app=app", "-o", resources])?;
    let found: serde_json::Value = serde_json::from_str(&said)?;
    ensure!(found["requests"]["cpu"] == "60m" && found["limits"]["cpu"] == "240m", "{said}");
    Ok(())
}

pub fn refused(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = "e2e-refused";
    cluster.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {ns}}}}}"))?;
    let with = |spec: &str, annotations: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: app, namespace: {ns}, labels: {{vectoll.dev/inject: 'true'}}, annotations: \
             {{{annotations}}}}}, spec: {spec}}}"
        )
    };
    for (yaml, words) in [
        (with("{hostNetwork: true, containers: [{name: app, image: a}]}", ""), "hostNetwork"),
        (with("{shareProcessNamespace: true, containers: [{name: app, image: a}]}", ""), "shareProcessNamespace"),
        (with("{containers: [{name: app, image: a, ports: [{containerPort: 4000}]}]}", ""), "4000"),
        (with("{containers: [{name: vectoll-sidecar, image: a}]}", ""), "vectoll-sidecar"),
        (with("{containers: [{name: app, image: a}]}", "vectoll.dev/keyless: 'true'"), "vectoll.dev/api-key"),
    ] {
        let said = cluster.apply(&yaml);
        let said = said.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(said.contains("denied the request") && said.contains(words), "{yaml}: {said:?}");
    }
    let unclear = with("{containers: [{name: app, image: a}]}", "").replace("inject: 'true'", "inject: 'yes'");
    let said = cluster.apply(&unclear).err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(said.contains("is not a boolean"), "{said:?}");
    let no = with("{containers: [{name: app, image: a}]}", "").replace("inject: 'true'", "inject: 'false'");
    cluster.apply(&no)?;
    let inits = cluster.kubectl(&["get", "pod", "app", "-n", ns, "-o", "jsonpath={.spec.initContainers}"])?;
    ensure!(inits.is_empty(), "{inits}");
    Ok(())
}
