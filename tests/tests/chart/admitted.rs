//! Pods that ask for a sidecar, at the API server, with the operator's webhook behind it: where they are refused, and what of.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually};
use crate::tool::NAMESPACE;

/// What the release is told, and its pods become.
pub const SETTINGS: &str =
    "webhook.excludedNamespaces={shop},sidecar.userMetrics=false,sidecar.probe=Exec,sidecar.runAsUser=1234";

/// A pod that asks for the sidecar. Its own container is modest and says so.
fn pod(namespace: &str, name: &str, annotations: &Value) -> Value {
    let mut pod = template(annotations);
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(name);
    pod["metadata"]["namespace"] = json!(namespace);
    pod
}

fn template(annotations: &Value) -> Value {
    let amounts = json!({"cpu": "200m", "memory": "200Mi"});
    let app = json!({"name": "app", "image": "app", "resources": {"requests": amounts, "limits": amounts}});
    json!({
        "metadata": {"labels": {"vectoll.dev/inject": "true", "app": "app"}, "annotations": annotations},
        "spec": {"containers": [app]},
    })
}

/// The release's webhook answers on a port of this machine: the Service leads there by name, the certificate stays the Service's.
fn lead_to(cluster: &Cluster, port: u16) -> anyhow::Result<()> {
    let service = ["service", "vectoll-webhook", "--namespace", NAMESPACE];
    cluster.kubectl(&[&["delete"], &service[..]].concat())?.ok()?;
    cluster.apply(
        &json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "vectoll-webhook", "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        })
        .to_string(),
    )?;
    let path = json!([{"op": "replace", "path": "/webhooks/0/clientConfig/service/port", "value": port}]).to_string();
    cluster.kubectl(&["patch", "mutatingwebhookconfiguration", "vectoll", "--type=json", "--patch", &path])?.ok()?;
    Ok(())
}

impl Cluster {
    fn create(&self, object: &Value) -> anyhow::Result<crate::tool::Said> {
        self.kubectl_with(&["create"], &object.to_string())
    }
}

/// The sidecar's resources in a pod that was let in.
fn resources(cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<Value> {
    let pod = cluster.get(&["pod", name, "--namespace", namespace])?;
    let first = &pod["spec"]["initContainers"][0];
    ensure!(first["name"] == "vectoll-sidecar", "no sidecar: {}", pod["spec"]);
    Ok(first["resources"].clone())
}

pub fn pods(cluster: &Cluster, port: u16) -> anyhow::Result<()> {
    for namespace in ["shop", "quota", "range"] {
        cluster.kubectl(&["create", "namespace", namespace])?.ok()?;
    }
    for namespace in ["search", "shop", "quota", "range"] {
        let account = ["get", "serviceaccount", "default", "--namespace", namespace];
        eventually("the default ServiceAccount", || Ok(cluster.kubectl(&account)?.well))?;
    }
    lead_to(cluster, port)?;
    let none = json!({});
    let mut last = String::new();
    eventually("an injected pod", || {
        last = cluster.create(&pod("search", "app", &none))?.err;
        Ok(last.is_empty())
    })
    .with_context(|| last.clone())?;
    resources(cluster, "search", "app")?;
    as_the_values_say(cluster)?;
    excluded(cluster)?;
    quota(cluster)?;
    range(cluster)
}

/// From the chart's values by the operator's settings into the pod.
fn as_the_values_say(cluster: &Cluster) -> anyhow::Result<()> {
    let pod = cluster.get(&["pod", "app", "--namespace=search"])?;
    let sidecar = &pod["spec"]["initContainers"][0];
    let variables = sidecar["env"].as_array().context("no variables")?;
    ensure!(variables.contains(&json!({"name": "VECTOLL_USER_METRICS", "value": "off"})), "{variables:?}");
    for probe in ["startupProbe", "readinessProbe"] {
        let command = &sidecar[probe]["exec"]["command"];
        ensure!(*command == json!(["/vectoll-sidecar", "health"]), "{probe}: {sidecar}");
    }
    let user = &sidecar["securityContext"];
    ensure!(user["runAsUser"] == 1234 && user["runAsGroup"] == 1234 && user["runAsNonRoot"] == true, "{user}");
    Ok(())
}

/// `webhook.excludedNamespaces`: who asks for a proxy there is refused, and does not start without one.
fn excluded(cluster: &Cluster) -> anyhow::Result<()> {
    let said = cluster.create(&pod("shop", "app", &json!({})))?.refused()?;
    ensure!(said.contains("denied the request") && said.contains("shop") && said.contains("excluded"), "{said}");
    // Who does not ask is nobody's business.
    let mut plain = pod("shop", "app", &json!({}));
    plain["metadata"]["labels"] = json!({"vectoll.dev/inject": "false"});
    cluster.create(&plain)?.ok().map(drop)
}

/// A `ResourceQuota` on what the sidecar's settings do not name.
fn quota(cluster: &Cluster) -> anyhow::Result<()> {
    let hard = json!({"limits.cpu": "1", "limits.memory": "1Gi", "requests.cpu": "1"});
    let quota = json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "quota", "namespace": "quota"},
        "spec": {"hard": hard},
    });
    cluster.apply(&quota.to_string())?;
    eventually("a quota in force", || {
        Ok(cluster.get(&["resourcequota", "quota", "--namespace=quota"])?["status"]["hard"].is_object())
    })?;
    // The event of whoever makes the pods leads to what helps.
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "app", "namespace": "quota"},
        "spec": {"selector": {"matchLabels": {"app": "app"}}, "template": template(&json!({}))},
    });
    cluster.create(&deployment)?.ok()?;
    let words = "Set on the pod, or on its namespace for all pods, the annotation vectoll.dev/sidecar-cpu-limit";
    let mut last = Value::Null;
    eventually("the event of the refusal", || {
        last = cluster.get(&["events", "--namespace=quota", "--field-selector=reason=FailedCreate"])?;
        let events = last["items"].as_array().cloned().unwrap_or_default();
        let says =
            |event: &Value, words: &str| event["message"].as_str().is_some_and(|message| message.contains(words));
        Ok(events.iter().any(|event| says(event, words)))
    })
    .with_context(|| last.to_string())?;
    let said = cluster.create(&pod("quota", "bare", &json!({})))?.refused()?;
    ensure!(said.contains("the ResourceQuota quota wants") && said.trim_end().ends_with("sidecar-cpu-limit"), "{said}");
    cluster.create(&pod("quota", "alone", &json!({"vectoll.dev/sidecar-cpu-limit": "150m"})))?.ok()?;
    let found = resources(cluster, "quota", "alone")?;
    ensure!(found["limits"]["cpu"] == "150m" && found["limits"]["memory"] == "256Mi", "{found}");
    let used = || cluster.get(&["resourcequota", "quota", "--namespace=quota"]);
    eventually("what is used", || Ok(used()?["status"]["used"]["limits.cpu"] == "350m"))?;
    // One with scopes may be of other pods: it explains itself, where it has a say.
    let scoped = json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "scoped", "namespace": "search"},
        "spec": {"hard": {"limits.cpu": "1"}, "scopes": ["Terminating"]},
    });
    cluster.apply(&scoped.to_string())?;
    cluster.create(&pod("search", "beside", &json!({})))?.ok()?;
    // Of ephemeral storage a quota asks no container for a word, so nobody is refused for it.
    let more = quota.to_string().replace("{\"hard\":{", "{\"hard\":{\"requests.ephemeral-storage\":\"1Gi\",");
    cluster.apply(&more)?;
    eventually("the larger quota in force", || Ok(used()?["status"]["hard"]["requests.ephemeral-storage"] == "1Gi"))?;
    cluster.kubectl(&["delete", "pod", "alone", "--namespace=quota", "--now"])?.ok()?;
    eventually("what is used without it", || Ok(used()?["status"]["used"]["limits.cpu"] == "0"))?;
    cluster.create(&pod("quota", "another", &json!({"vectoll.dev/sidecar-cpu-limit": "150m"})))?.ok().map(drop)
}

/// A `LimitRange` with a minimum and a ratio: by annotations on the namespace, for all of its pods.
fn range(cluster: &Cluster) -> anyhow::Result<()> {
    let limit = json!({
        "type": "Container",
        "min": {"cpu": "50m", "memory": "100Mi"},
        "maxLimitRequestRatio": {"cpu": "2", "memory": "2"},
    });
    let range = json!({
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "range", "namespace": "range"},
        "spec": {"limits": [limit]},
    });
    cluster.apply(&range.to_string())?;
    let mut said = String::new();
    eventually("a range in force", || {
        let answer = cluster.create(&pod("range", "before", &json!({})))?;
        if answer.well {
            cluster.kubectl(&["delete", "pod", "before", "--namespace=range", "--now"])?.ok()?;
        }
        said = answer.err;
        Ok(!answer.well)
    })?;
    ensure!(said.contains("minimum cpu usage per Container is 50m, but request is 10m"), "{said}");
    ensure!(said.contains("cpu max limit to request ratio per Container is 2"), "{said}");
    let annotations = ["cpu-request=60m", "cpu-limit=120m", "memory-request=128Mi", "memory-limit=200Mi"];
    let annotations = annotations.map(|one| format!("vectoll.dev/sidecar-{one}"));
    let annotations: Vec<&str> = annotations.iter().map(String::as_str).collect();
    cluster.kubectl(&[&["annotate", "namespace", "range"], &annotations[..]].concat())?.ok()?;
    let mut last = String::new();
    eventually("a pod within the range", || {
        last = cluster.create(&pod("range", "app", &json!({})))?.err;
        Ok(last.is_empty())
    })
    .with_context(|| last.clone())?;
    let expected = json!({"requests": {"cpu": "60m", "memory": "128Mi"}, "limits": {"cpu": "120m", "memory": "200Mi"}});
    let found = resources(cluster, "range", "app")?;
    ensure!(found == expected, "{found}");
    Ok(())
}
