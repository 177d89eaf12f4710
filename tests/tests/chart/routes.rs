//! Ways to the gateway from outside, the webhook for labelled namespaces, and what can be added to all objects: as they are rendered.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use vectoll_tests::documents::block;

use crate::rendered::template;
use crate::tool::{repository, run};

/// What is rendered with a file of values and these settings.
fn objects(values: &Path, set: &[&str]) -> anyhow::Result<Vec<Value>> {
    let text = run(template(values)?.args(set.iter().flat_map(|one| ["--set", one])))?.ok()?;
    let documents = serde_yaml::Deserializer::from_str(&text).map(|document| Ok(Value::deserialize(document)?));
    let all: Vec<Value> = documents.collect::<anyhow::Result<_>>()?;
    Ok(all.into_iter().filter(|object| !object.is_null()).collect())
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> anyhow::Result<&'a Value> {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.with_context(|| format!("no {kind} {name}"))
}

fn arguments(objects: &[Value], deployment: &str) -> anyhow::Result<Vec<String>> {
    let container = &find(objects, "Deployment", deployment)?["spec"]["template"]["spec"]["containers"][0];
    let all = container["args"].as_array().context("no arguments")?;
    Ok(all.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The value of the only argument that begins so.
fn value_of(arguments: &[String], flag: &str) -> anyhow::Result<String> {
    let values: Vec<&str> = arguments.iter().filter_map(|one| one.strip_prefix(flag)).collect();
    ensure!(values.len() == 1, "{flag}: {arguments:?}");
    Ok(values[0].to_owned())
}

#[test]
fn where_sidecars_reach_it_the_gateway_answers_and_they_trust_who_has_signed_there() -> anyhow::Result<()> {
    let values = repository("tests/chart/values/gateway-elsewhere.yaml");
    let all = objects(&values, &[])?;
    let operator = arguments(&all, "vectoll")?;
    ensure!(value_of(&operator, "--gateway-url=")? == "https://embed.example.com:8443");
    for names in
        [value_of(&arguments(&all, "vectoll-gateway")?, "--allowed-hosts=")?, value_of(&operator, "--gateway-names=")?]
    {
        ensure!(names.ends_with(".svc.cluster.local,embed.example.com"), "{names}");
    }
    ensure!(value_of(&operator, "--gateway-ca-secret=")? == "ingress-ca");
    ensure!(operator.iter().any(|argument| argument == "--enforce-gateway"), "{operator:?}");
    let rules = find(&all, "Role", "vectoll-operator")?["rules"].to_string();
    ensure!(rules.contains("\"ingress-ca\""), "it may not read it: {rules}");
    let public = objects(&values, &["gateway.caSecret=", "gateway.wellKnownCAs=true"])?;
    let operator = arguments(&public, "vectoll")?;
    ensure!(operator.iter().any(|argument| argument == "--gateway-well-known-cas"), "{operator:?}");
    ensure!(value_of(&operator, "--gateway-ca-secret=").is_err(), "{operator:?}");
    Ok(())
}

#[test]
fn the_gateway_answers_to_the_hosts_of_its_ingress_and_route() -> anyhow::Result<()> {
    let all = objects(&repository("tests/chart/values/gateway-routes.yaml"), &[])?;
    let gateway = arguments(&all, "vectoll-gateway")?;
    let hosts = value_of(&gateway, "--allowed-hosts=")?;
    let outside = "direct.example.com,embeddings.example.com,vectors.example.com,api.example.com";
    ensure!(hosts.ends_with(&format!(".svc.cluster.local,{outside}")), "{hosts}");
    ensure!(
        value_of(&arguments(&all, "vectoll")?, "--gateway-names=")? == hosts,
        "its certificate is for them as well"
    );

    let ingress = find(&all, "Ingress", "vectoll-gateway")?;
    assert_eq!(ingress["spec"]["ingressClassName"], "nginx");
    let names = json!(["embeddings.example.com", "vectors.example.com"]);
    assert_eq!(ingress["spec"]["tls"], json!([{"hosts": names, "secretName": "embeddings"}]));
    let service = json!({"service": {"name": "vectoll-gateway", "port": {"name": "https"}}});
    for (rule, host) in ingress["spec"]["rules"].as_array().context("no rules")?.iter().zip(names.as_array().unwrap()) {
        assert_eq!(&rule["host"], host);
        let paths = json!([{"path": "/", "pathType": "Prefix", "backend": service}]);
        assert_eq!(rule["http"]["paths"], paths);
    }
    let port = &find(&all, "Service", "vectoll-gateway")?["spec"]["ports"][0];
    assert_eq!((&port["name"], &port["port"], &port["appProtocol"]), (&json!("https"), &json!(8443), &json!("https")));

    let route = find(&all, "HTTPRoute", "vectoll-gateway")?;
    let parents = json!([{"name": "public", "namespace": "gateways", "sectionName": "https"}]);
    assert_eq!(route["spec"]["parentRefs"], parents);
    assert_eq!(route["spec"]["hostnames"], json!(["vectors.example.com", "api.example.com"]));
    assert_eq!(route["spec"]["rules"][0]["backendRefs"], json!([{"name": "vectoll-gateway", "port": 8443}]));
    let policy = &find(&all, "BackendTLSPolicy", "vectoll-gateway")?["spec"];
    assert_eq!(policy["targetRefs"][0]["sectionName"], port["name"]);
    let validation = json!({
        "hostname": "vectoll-gateway.vectoll-system.svc",
        "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}, {"group": "", "kind": "Secret", "name": "other"}],
    });
    assert_eq!(policy["validation"], validation);
    ensure!(hosts.split(',').any(|name| validation["hostname"] == name), "no certificate is for that name: {hosts}");
    for object in [ingress, route] {
        assert_eq!(object["metadata"]["labels"]["exposed"], "yes");
    }

    // Nothing of it by default.
    let none = objects(&repository("tests/chart/values/gateway.yaml"), &[])?;
    let kinds = ["Ingress", "HTTPRoute", "BackendTLSPolicy"];
    ensure!(!none.iter().any(|object| kinds.iter().any(|kind| object["kind"] == *kind)));
    // What is not on lets no name in.
    let off = objects(&repository("tests/chart/values/gateway-routes.yaml"), &["gateway.ingress.enabled=false"])?;
    let hosts = value_of(&arguments(&off, "vectoll-gateway")?, "--allowed-hosts=")?;
    ensure!(hosts.ends_with("direct.example.com,vectors.example.com,api.example.com"), "{hosts}");
    // Something else may encrypt the way from the Gateway to the gateway.
    let own = ["gateway.httpRoute.backendTLS.enabled=false", "gateway.httpRoute.backendTLS.caCertificateRefs=null"];
    let own = objects(&repository("tests/chart/values/gateway-routes.yaml"), &own)?;
    ensure!(find(&own, "BackendTLSPolicy", "vectoll-gateway").is_err());
    let known =
        ["gateway.httpRoute.backendTLS.wellKnownCAs=true", "gateway.httpRoute.backendTLS.caCertificateRefs=null"];
    let known = objects(&repository("tests/chart/values/gateway-routes.yaml"), &known)?;
    let validation = &find(&known, "BackendTLSPolicy", "vectoll-gateway")?["spec"]["validation"];
    assert_eq!(validation["wellKnownCACertificates"], "System");
    Ok(())
}

#[test]
fn the_values_on_the_page_of_ways_from_outside_are_taken() -> anyhow::Result<()> {
    for (values, kind) in [(block("gateway-ingress")?, "Ingress"), (block("gateway-httproute")?, "HTTPRoute")] {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), values)?;
        let object = objects(file.path(), &[])?;
        find(&object, kind, "vectoll-gateway")?;
    }
    Ok(())
}

#[test]
fn common_labels_are_on_every_object_and_pod_and_in_no_selector() -> anyhow::Result<()> {
    let with = objects(&repository("tests/chart/values/gateway-routes.yaml"), &[])?;
    let without = objects(&repository("tests/chart/values/gateway-routes.yaml"), &["commonLabels=null"])?;
    assert_eq!(with.len(), without.len());
    for (object, plain) in with.iter().zip(&without) {
        let what = format!("{} {}", object["kind"], object["metadata"]["name"]);
        let mut labels = vec![&object["metadata"]["labels"]];
        labels
            .extend(object["spec"]["template"].is_object().then(|| &object["spec"]["template"]["metadata"]["labels"]));
        for labels in labels {
            ensure!(labels["team"] == "platform" && labels["cost-centre"] == "4711", "{what}: {labels}");
        }
        assert_eq!(object["spec"]["selector"], plain["spec"]["selector"], "{what}");
    }
    ensure!(with.len() > 30, "{} objects", with.len());
    Ok(())
}

#[test]
fn what_is_added_reaches_the_programs() -> anyhow::Result<()> {
    let all = objects(&repository("tests/chart/values/gateway-routes.yaml"), &[])?;
    let (operator, gateway) = (arguments(&all, "vectoll")?, arguments(&all, "vectoll-gateway")?);
    ensure!(operator.last().is_some_and(|last| last == "--store-scope=blue"), "{operator:?}");
    ensure!(gateway.last().is_some_and(|last| last == "--idle-timeout-seconds=600"), "{gateway:?}");
    let pod = |name: &str| Ok::<_, anyhow::Error>(find(&all, "Deployment", name)?["spec"]["template"]["spec"].clone());
    let variables = pod("vectoll")?["containers"][0]["env"].clone();
    let variables = variables.as_array().context("no variables")?;
    ensure!(variables.contains(&json!({"name": "SSL_CERT_DIR", "value": "/etc/ssl/certs"})), "{variables:?}");
    assert_eq!(pod("vectoll-gateway")?["topologySpreadConstraints"][0]["whenUnsatisfiable"], "DoNotSchedule");
    let settings = &find(&all, "ConfigMap", "vectoll-injection")?["data"]["injection.yaml"];
    let settings = vectoll_operator::inject::InjectionSettings::read(settings.as_str().context("no settings")?)?;
    assert_eq!(settings.locked_annotations, ["https-proxy", "http-proxy", "no-proxy"]);
    Ok(())
}

/// Who asks for a whole namespace does not lose its pods with the operator; who asks for a pod does not get it without its sidecar.
#[test]
fn labelled_namespaces_have_a_webhook_of_their_own() -> anyhow::Result<()> {
    let webhooks = |values: &str, set: &[&str]| {
        let all = objects(&repository(values), set)?;
        let webhooks = find(&all, "MutatingWebhookConfiguration", "vectoll")?["webhooks"].clone();
        Ok::<_, anyhow::Error>(webhooks.as_array().context("no webhooks")?.clone())
    };
    let default = "tests/chart/values/default.yaml";
    let all = webhooks(default, &["webhook.excludedNamespaces={shop}"])?;
    assert_eq!(all.iter().map(|one| &one["failurePolicy"]).collect::<Vec<_>>(), ["Fail", "Ignore"]);
    assert_eq!(all[1]["clientConfig"]["service"]["path"], vectoll_operator::webhook::NAMESPACE_PATH);
    let silent = json!([{"key": "vectoll.dev/inject", "operator": "DoesNotExist"}]);
    assert_eq!(all[1]["objectSelector"]["matchExpressions"], silent);
    let asks = json!([
        {"key": "vectoll.dev/inject", "operator": "In", "values": ["true"]},
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "vectoll-system", "shop"]},
    ]);
    assert_eq!(all[1]["namespaceSelector"]["matchExpressions"], asks);
    assert_eq!(webhooks(default, &["webhook.namespaceFailurePolicy=Fail"])?[1]["failurePolicy"], "Fail");
    let only = webhooks("tests/chart/values/gateway.yaml", &["gateway.only=true"])?;
    assert_eq!(only.len(), 1, "no sidecar is injected where the gateway alone calls providers");
    let scoped = webhooks("tests/chart/values/watch-namespaces.yaml", &[])?;
    ensure!(scoped[1]["namespaceSelector"].to_string().contains("\"In\",\"values\":[\"search\""), "{}", scoped[1]);
    Ok(())
}
