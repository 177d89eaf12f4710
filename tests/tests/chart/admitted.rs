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
    call_on(cluster, port)
}

/// The port on which both webhooks are called: the one for pods that ask, and the one for namespaces that do.
fn call_on(cluster: &Cluster, port: u16) -> anyhow::Result<()> {
    let ports = [0, 1].map(|webhook| {
        let path = format!("/webhooks/{webhook}/clientConfig/service/port");
        json!({"op": "replace", "path": path, "value": port})
    });
    let patch = json!(ports).to_string();
    cluster.kubectl(&["patch", "mutatingwebhookconfiguration", "vectoll", "--type=json", "--patch", &patch])?.ok()?;
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
    range(cluster)?;
    changed(cluster)?;
    whole_namespace(cluster, port)
}

/// What a workload changes of its sidecar by annotation, and what it is told where it cannot.
fn changed(cluster: &Cluster) -> anyhow::Result<()> {
    let annotations = json!({
        "vectoll.dev/sidecar-log-level": "debug",
        "vectoll.dev/sidecar-https-proxy": "http://proxy.example.com:3128",
        "vectoll.dev/sidecar-no-proxy": ".svc,.cluster.local",
        "vectoll.dev/sidecar-probe": "Http",
    });
    cluster.create(&pod("search", "changed", &annotations))?.ok()?;
    let found = cluster.get(&["pod", "changed", "--namespace=search"])?;
    let sidecar = &found["spec"]["initContainers"][0];
    let variables = sidecar["env"].as_array().context("no variables")?;
    for (name, value) in [
        ("VECTOLL_LOG", "info,vectoll=debug"),
        ("HTTPS_PROXY", "http://proxy.example.com:3128"),
        ("NO_PROXY", ".svc,.cluster.local"),
    ] {
        ensure!(variables.contains(&json!({"name": name, "value": value})), "{name}: {variables:?}");
    }
    ensure!(sidecar["readinessProbe"]["httpGet"].is_object(), "{sidecar}");
    let late = json!({"vectoll.dev/sidecar-drain-timeout-seconds": "30"});
    let said = cluster.create(&pod("search", "late", &late))?.refused()?;
    let words = "metadata.annotations[vectoll.dev/sidecar-drain-timeout-seconds]: \"30\" is not shorter than the pod's \
                 terminationGracePeriodSeconds of 30";
    ensure!(said.contains(words), "{said}");
    Ok(())
}

/// A namespace whose label asks for a sidecar in each of its pods.
fn whole_namespace(cluster: &Cluster, port: u16) -> anyhow::Result<()> {
    cluster
        .apply("{apiVersion: v1, kind: Namespace, metadata: {name: whole, labels: {vectoll.dev/inject: 'true'}}}")?;
    let account = ["get", "serviceaccount", "default", "--namespace", "whole"];
    eventually("the default ServiceAccount", || Ok(cluster.kubectl(&account)?.well))?;
    let plain = |namespace: &str, name: &str, label: Option<&str>| {
        let mut pod = pod(namespace, name, &json!({}));
        pod["metadata"]["labels"] = label.map_or_else(|| json!({}), |label| json!({"vectoll.dev/inject": label}));
        pod
    };
    let initial = |name: &str| {
        let found = cluster.get(&["pod", name, "--namespace=whole"])?;
        Ok::<_, anyhow::Error>((
            found["spec"]["initContainers"][0]["name"].clone(),
            found["metadata"]["labels"].clone(),
        ))
    };
    // An API server may take a moment to hear of the label.
    let mut tries = 0;
    eventually("a pod that its namespace has asked for", || {
        tries += 1;
        let name = format!("silent-{tries}");
        cluster.create(&plain("whole", &name, None))?.ok()?;
        Ok(initial(&name)?.0 == "vectoll-sidecar")
    })?;
    let (_, labels) = initial(&format!("silent-{tries}"))?;
    ensure!(labels["vectoll.dev/contract"] == "v1" && labels["vectoll.dev/inject"].is_null(), "{labels}");
    cluster.create(&plain("whole", "declines", Some("false")))?.ok()?;
    ensure!(initial("declines")?.0.is_null());
    cluster.create(&plain("whole", "asks", Some("true")))?.ok()?;
    ensure!(initial("asks")?.0 == "vectoll-sidecar");
    // What cannot have one is let in without; what asks itself is not.
    for (label, is_let_in) in [(None, true), (Some("true"), false)] {
        let mut pod = plain("whole", "on-the-node", label);
        pod["spec"]["hostNetwork"] = json!(true);
        let said = cluster.create(&pod)?;
        ensure!(
            said.well == is_let_in && said.err.contains("spec.hostNetwork"),
            "{label:?}: {} {}",
            said.out,
            said.err
        );
    }
    ensure!(initial("on-the-node")?.0.is_null());
    // Elsewhere nobody has asked.
    cluster.create(&plain("search", "silent", None))?.ok()?;
    ensure!(cluster.get(&["pod", "silent", "--namespace=search"])?["spec"]["initContainers"].is_null());

    // Nobody listens there: the namespace keeps its pods, and who asks itself waits.
    call_on(cluster, 1)?;
    let mut said = String::new();
    eventually("no webhook", || {
        let answer = cluster.create(&plain("whole", "waits", Some("true")))?;
        if answer.well {
            cluster.kubectl(&["delete", "pod", "waits", "--namespace=whole", "--now"])?.ok()?;
        }
        said = answer.err;
        Ok(!answer.well)
    })?;
    ensure!(said.contains("failed calling webhook \"inject.vectoll.dev\""), "{said}");
    cluster.create(&plain("whole", "alone", None))?.ok()?;
    ensure!(initial("alone")?.0.is_null());
    call_on(cluster, port)
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
