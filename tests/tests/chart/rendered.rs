//! What the chart renders, for several files of values.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::{Cluster, RESTRICTED};
use crate::tool::{NAMESPACE, helm, read, repository, run, yaml_files};

pub fn template(values: &Path) -> anyhow::Result<Command> {
    let mut helm = helm()?;
    helm.args(["template", "vectoll"]).arg(repository("charts/vectoll")).arg("--values").arg(values);
    helm.args(["--namespace", NAMESPACE, "--kube-version", "1.33"]);
    Ok(helm)
}

#[test]
fn lint_finds_nothing() -> anyhow::Result<()> {
    for values in yaml_files("tests/chart/values")? {
        let said = run(helm()?
            .args(["lint", "--strict", "--namespace", NAMESPACE, "--values"])
            .arg(&values)
            .arg(repository("charts/vectoll")))?;
        let said = said.ok().with_context(|| values.display().to_string())?;
        // An icon is for catalogues of charts.
        let findings: Vec<&str> =
            said.lines().filter(|line| line.starts_with('[') && !line.contains("icon is recommended")).collect();
        assert_eq!(findings, Vec::<&str>::new(), "{}", values.display());
    }
    Ok(())
}

#[test]
fn wrong_values_are_refused_with_the_reason() -> anyhow::Result<()> {
    for values in yaml_files("tests/chart/refused")? {
        let text = read(&values)?;
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# ")).context("no expected words")?;
        let said = run(&mut template(&values)?)?.refused().with_context(|| values.display().to_string())?;
        assert!(said.contains(expected), "{}: expected {expected}, and not {said}", values.display());
    }
    Ok(())
}

#[test]
fn the_operator_is_told_the_allowed_hosts_and_nothing_where_all_are() -> anyhow::Result<()> {
    let flag = "--allowed-provider-hosts";
    let some = run(&mut template(&repository("tests/chart/values/everything.yaml"))?)?.ok()?;
    // In quotes, or the last one's colons would end the key of a map.
    let hosts = "api.openai.com,*.openai.azure.com,10.0.0.0/8,fd00::/8,fd00::";
    assert!(some.contains(&format!("- \"{flag}={hosts}\"\n")), "{some}");
    let all = run(&mut template(&repository("tests/chart/values/default.yaml"))?)?.ok()?;
    assert!(!all.contains(flag), "{all}");
    Ok(())
}

/// `report.enabled`: a job with the store's login and a claim that stays, which may list names and do nothing else.
#[test]
fn bills_are_written_by_a_job_that_reads_names_and_the_ledger() -> anyhow::Result<()> {
    let render = |values: &str, set: &[&str]| {
        let mut template = template(&repository(values))?;
        let text = run(template.args(set.iter().flat_map(|one| ["--set", one])))?.ok()?;
        let all: Result<Vec<Value>, _> = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize).collect();
        anyhow::Ok(all?)
    };
    let of = |all: &[Value], kind: &str, name: &str| {
        all.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name).cloned()
    };
    let off = render("tests/chart/values/default.yaml", &[])?;
    assert!(of(&off, "CronJob", "vectoll-report").is_none());
    let on = render("tests/chart/values/default.yaml", &["report.enabled=true"])?;
    let job = of(&on, "CronJob", "vectoll-report").context("no CronJob")?;
    let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let arguments: Vec<&str> =
        pod["containers"][0]["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for argument in [
        "report",
        "--by=team,key,user,model",
        "--output=csv",
        "--store-password-file=/etc/vectoll-store/login/password",
    ] {
        assert!(arguments.contains(&argument), "{argument}: {arguments:?}");
    }
    assert!(!arguments.contains(&"--without-names"));
    let role = of(&on, "ClusterRole", "vectoll-report").context("no ClusterRole")?;
    assert_eq!(
        role["rules"],
        json!([{"apiGroups": ["vectoll.dev"], "resources": ["apikeys", "teams"], "verbs": ["list"]}])
    );
    let claim = of(&on, "PersistentVolumeClaim", "vectoll-report").context("no claim")?;
    assert_eq!(claim["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    let policy = of(&on, "NetworkPolicy", "vectoll-store").context("no NetworkPolicy")?.to_string();
    assert!(policy.contains("\"app.kubernetes.io/component\":\"report\""), "{policy}");
    // In single namespaces nobody may list all names; and a claim of one's own is taken.
    let own = ["report.enabled=true", "watchNamespaces={search}", "report.persistence.existingClaim=bills"];
    let own = render("tests/chart/values/default.yaml", &own)?;
    assert!(
        of(&own, "ClusterRole", "vectoll-report").is_none()
            && of(&own, "PersistentVolumeClaim", "vectoll-report").is_none()
    );
    let job = of(&own, "CronJob", "vectoll-report").context("no CronJob")?.to_string();
    assert!(job.contains("--without-names") && job.contains("\"claimName\":\"bills\""), "{job}");
    Ok(())
}

/// `sidecar.metricsNetworkPolicy`: of injected pods, in each namespace, every port but 4001 stays open to all, and that one to whom it names.
#[test]
fn sidecars_metrics_are_closed_to_all_but_who_is_named() -> anyhow::Result<()> {
    let policies = |set: &[&str]| {
        let mut template = template(&repository("tests/chart/values/default.yaml"))?;
        let on = "sidecar.metricsNetworkPolicy.enabled=true";
        let text = run(template.args(["--set", on]).args(set.iter().flat_map(|one| ["--set", one])))?.ok()?;
        let mut found = Vec::new();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object = Value::deserialize(document)?;
            if object["metadata"]["name"] == "vectoll-sidecar-metrics" {
                found.push(object);
            }
        }
        anyhow::Ok(found)
    };
    let from = "sidecar.metricsNetworkPolicy.from[0].namespaceSelector.matchLabels.name=monitoring";
    let found = policies(&["sidecar.metricsNetworkPolicy.namespaces={search,shop}", from])?;
    let namespaces: Vec<&Value> = found.iter().map(|policy| &policy["metadata"]["namespace"]).collect();
    assert_eq!(namespaces, ["search", "shop"]);
    for policy in &found {
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]));
        // The label that the injection puts on each pod, and on no other.
        let of_injected = json!({"matchExpressions": [{"key": "vectoll.dev/contract", "operator": "Exists"}]});
        assert_eq!(policy["spec"]["podSelector"], of_injected);
        let open_to = |protocol: &str, port: u64| -> Option<Value> {
            let is_in = |one: &Value| {
                let (first, last) = (one["port"].as_u64(), one["endPort"].as_u64().or(one["port"].as_u64()));
                one["protocol"] == protocol && first <= Some(port) && Some(port) <= last
            };
            let rules = policy["spec"]["ingress"].as_array()?;
            let rule =
                rules.iter().find(|rule| rule["ports"].as_array().is_some_and(|ports| ports.iter().any(is_in)))?;
            Some(rule["from"].clone())
        };
        for port in [1, 80, 3999, 4000, 4002, 8080, 65535] {
            assert_eq!(open_to("TCP", port), Some(Value::Null), "{port} is closed, or not to all");
        }
        for protocol in ["UDP", "SCTP"] {
            assert_eq!(open_to(protocol, 4001), Some(Value::Null), "{protocol}");
        }
        let monitoring = json!([{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]);
        assert_eq!(open_to("TCP", 4001), Some(monitoring));
    }
    // Nobody is named: nobody reads them. No namespaces: the watched ones.
    let closed = policies(&["watchNamespaces={search}"])?;
    assert_eq!(closed.len(), 1);
    assert!(!closed[0]["spec"]["ingress"].to_string().contains("4001"), "{}", closed[0]);
    assert_eq!(closed[0]["metadata"]["namespace"], "search");
    let said = policies(&[]).err().map(|error| format!("{error:#}")).unwrap_or_default();
    assert!(said.contains("name those in sidecar.metricsNetworkPolicy.namespaces"), "{said}");
    Ok(())
}

/// `page`: nothing by default; turned on, the operator listens, a Service of its own leads there, and only whom it names passes the policy.
#[test]
fn the_page_is_off_by_default_and_on_with_all_that_it_needs() -> anyhow::Result<()> {
    let objects = |values: &str, set: &[&str]| -> anyhow::Result<Vec<Value>> {
        let mut template = template(&repository(values))?;
        let text = run(template.args(set.iter().flat_map(|one| ["--set", one])))?.ok()?;
        serde_yaml::Deserializer::from_str(&text).map(|document| Ok(Value::deserialize(document)?)).collect()
    };
    let off = objects("tests/chart/values/default.yaml", &["metrics.authentication=false"])?;
    for object in &off {
        let text = object.to_string();
        assert!(!text.contains("--page-listen") && !text.contains("tokenreviews") && !text.contains("8082"), "{text}");
    }
    let on = objects("tests/chart/values/monitors-and-network-policy.yaml", &["metrics.authentication=false"])?;
    let find = |kind: &str, name: &str| {
        let found = on.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.with_context(|| format!("no {kind} {name}"))
    };
    let container = &find("Deployment", "vectoll")?["spec"]["template"]["spec"]["containers"][0];
    assert!(container["args"].as_array().context("no arguments")?.contains(&json!("--page-listen=0.0.0.0:8082")));
    assert!(
        container["ports"].as_array().context("no ports")?.contains(&json!({"name": "page", "containerPort": 8082}))
    );
    let service = find("Service", "vectoll-page")?;
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "page");
    assert_eq!(service["spec"]["ports"].as_array().map(Vec::len), Some(1), "to nothing else");
    let policy = find("NetworkPolicy", "vectoll")?;
    let rules = policy["spec"]["ingress"].as_array().context("no rules")?;
    let of_page = rules.iter().find(|rule| rule["ports"][0]["port"] == "page").context("no rule of the page")?;
    assert_eq!(of_page["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], "ingress");
    let rules = find("ClusterRole", "vectoll-operator")?["rules"].to_string();
    assert!(rules.contains("tokenreviews") && rules.contains("subjectaccessreviews"), "{rules}");
    Ok(())
}

/// `gateway`: nothing by default; turned on, the Secrets that the operator writes are those that the pods mount and that its role and its
/// admission policy are for, and no figures leave a pod that nobody scrapes.
#[test]
fn the_gateway_reads_what_the_operator_may_write() -> anyhow::Result<()> {
    let none = run(&mut template(&repository("tests/chart/values/default.yaml"))?)?.ok()?;
    assert!(!none.contains("component: gateway") && !none.contains("--gateway"), "{none}");
    let text = run(&mut template(&repository("tests/chart/values/gateway.yaml"))?)?.ok()?;
    let objects: Vec<Value> = serde_yaml::Deserializer::from_str(&text)
        .map(|document| Ok(Value::deserialize(document)?))
        .collect::<anyhow::Result<_>>()?;
    let find = |kind: &str, name: &str| {
        let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.with_context(|| format!("no {kind} {name}"))
    };
    let gateway = find("Deployment", "vectoll-gateway")?;
    assert_eq!(gateway["spec"]["replicas"], Value::Null, "the autoscaler says how many");
    let pod = &gateway["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().context("no volumes")?;
    let config = volumes.iter().find(|volume| volume["name"] == "config").context("no config")?;
    let sources = config["projected"]["sources"].as_array().context("no sources")?;
    let mounted: Vec<&str> = sources.iter().filter_map(|source| source["secret"]["name"].as_str()).collect();
    assert_eq!(
        (mounted.len(), mounted[0], mounted[7], mounted[8]),
        (9, "vectoll-gateway-0", "vectoll-gateway-7", "vectoll-gateway-issuer")
    );
    assert!(sources.iter().all(|source| source["secret"]["optional"] == json!(true)), "a pod waits for a Secret");
    let rules = find("Role", "vectoll-operator")?["rules"].as_array().context("no rules")?;
    let may_write = |name: &str| {
        rules.iter().any(|rule| {
            let names = rule["resourceNames"].as_array();
            names.is_some_and(|names| names.contains(&json!(name))) && rule["verbs"].to_string().contains("patch")
        })
    };
    assert!(mounted.iter().all(|name| may_write(name)) && !may_write("vectoll-gateway-8"));
    let operator = find("Deployment", "vectoll")?["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    for argument in [
        "--gateway-shards=8",
        "--gateway-secrets=vectoll-gateway",
        "--gateway-tls-secret=vectoll-gateway-tls",
        "--gateway-url=https://vectoll-gateway.vectoll-system.svc",
        "--gateway-ca-secret=vectoll-gateway-tls",
        "--default-delivery=gateway",
    ] {
        assert!(operator.contains(&format!("\"{argument}\"")), "{operator}");
    }
    let injection = find("ConfigMap", "vectoll-injection")?["data"]["injection.yaml"].to_string();
    assert!(injection.contains("gatewayToken: true"), "{injection}");
    let names = "vectoll-gateway,vectoll-gateway.vectoll-system,vectoll-gateway.vectoll-system.svc,\
                 vectoll-gateway.vectoll-system.svc.cluster.local,embeddings.example.com";
    assert!(operator.contains(&format!("--gateway-names={names}")), "{operator}");
    let arguments = pod["containers"][0]["args"].to_string();
    assert!(arguments.contains(&format!("--allowed-hosts={names}")) && arguments.contains("--admin-listen=[::]:4001"));
    let unscraped =
        run(template(&repository("tests/chart/values/gateway.yaml"))?.args(["--set", "podMonitor.enabled=false"]))?
            .ok()?;
    assert!(
        unscraped.contains("--admin-listen=127.0.0.1:4001") && !unscraped.contains("containerPort: 4001"),
        "{unscraped}"
    );
    let policy = find("ValidatingAdmissionPolicy", "vectoll-operator-secrets")?.to_string();
    assert!(
        policy.contains("variables.isGatewayConfig") && policy.contains("^vectoll-gateway-([0-9]+|issuer)$"),
        "{policy}"
    );
    Ok(())
}

/// `prometheusRule`, `grafanaDashboards`: nothing by default; turned on, all that the files have, with the labels that are asked for.
#[test]
fn rules_and_dashboards_are_rendered_where_they_are_wanted() -> anyhow::Result<()> {
    let objects = |values: &str| -> anyhow::Result<Vec<Value>> {
        let text = run(&mut template(&repository(values))?)?.ok()?;
        serde_yaml::Deserializer::from_str(&text).map(|document| Ok(Value::deserialize(document)?)).collect()
    };
    let is_monitoring = |object: &&Value| object["metadata"]["labels"]["app.kubernetes.io/component"] == "monitoring";
    let none = objects("tests/chart/values/default.yaml")?;
    assert_eq!(none.iter().filter(is_monitoring).count(), 0);
    assert!(!none.iter().any(|object| object["kind"] == "PrometheusRule"));

    let all = objects("tests/chart/values/monitors-and-network-policy.yaml")?;
    let rule = all.iter().find(|object| object["kind"] == "PrometheusRule").context("no PrometheusRule")?;
    assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
    let mut expected = Vec::new();
    for file in yaml_files("charts/vectoll/files/rules")? {
        let groups: Value = serde_yaml::from_str(&read(file)?)?;
        expected.extend(groups["groups"].as_array().context("no groups")?.clone());
    }
    // The chart adds an address to each alert, and nothing else.
    for rule in expected.iter_mut().flat_map(|group| group["rules"].as_array_mut().into_iter().flatten()) {
        if let Some(name) = rule["alert"].as_str().map(str::to_lowercase) {
            rule["annotations"]["runbook_url"] = json!(format!("https://wiki.example.com/vectoll/alerts#{name}"));
        }
    }
    assert_eq!(rule["spec"]["groups"], json!(expected));

    let dashboards: Vec<&Value> = all.iter().filter(is_monitoring).filter(|one| one["kind"] == "ConfigMap").collect();
    let mut names = Vec::new();
    for dashboard in &dashboards {
        let labels = &dashboard["metadata"]["labels"];
        assert_eq!((&labels["grafana_dashboard"], &labels["team"]), (&json!("1"), &json!("platform")));
        assert_eq!(dashboard["metadata"]["annotations"], json!({"grafana_folder": "Vectoll"}));
        let data = dashboard["data"].as_object().context("no data")?;
        for (name, text) in data {
            let of = name.strip_prefix("vectoll-system-vectoll-").context("another name")?;
            let file = read(repository("charts/vectoll/files/dashboards").join(of))?;
            let [found, file]: [Value; 2] =
                [serde_json::from_str(text.as_str().context("no text")?)?, serde_json::from_str(&file)?];
            assert_eq!(found, file, "{name}");
            names.push(of.to_owned());
        }
    }
    assert_eq!(names, ["health.json", "limits.json", "spend.json"]);

    // Without an address alerts have none.
    let mut plain = template(&repository("tests/chart/values/default.yaml"))?;
    let text = run(plain.args(["--set", "prometheusRule.enabled=true"]))?.ok()?;
    assert!(text.contains("alert: VectollStoreAway") && !text.contains("runbook_url"));
    Ok(())
}

#[test]
fn too_old_a_cluster_is_refused() -> anyhow::Result<()> {
    let mut helm = helm()?;
    helm.args(["template", "vectoll", "--kube-version", "1.32.9"]).arg(repository("charts/vectoll"));
    let said = run(&mut helm)?.refused()?;
    assert!(said.contains("requires kubeVersion: >=1.33"), "{said}");
    Ok(())
}

/// The API server judges every object by its schema and by admission, Pod Security `restricted` included. Certificates and monitors
/// are taken by stand-ins that know no fields.
#[test]
fn the_api_server_takes_what_is_rendered_without_a_warning() -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    cluster.apply(&read(repository("tests/chart/stand-ins.yaml"))?)?;
    for file in yaml_files("charts/vectoll/files/crds")? {
        cluster.apply(&read(file)?)?;
    }
    for namespace in ["search", "shop", "vectoll-test"] {
        cluster.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}, labels: {RESTRICTED}}}}}"
        ))?;
        // A dry run makes nothing, and a pod needs its ServiceAccount.
        for release in ["vectoll", "embeddings"] {
            let account = format!("{release}-helm-test");
            cluster.apply(&format!(
                "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {account}, namespace: {namespace}}}}}"
            ))?;
        }
    }
    for values in yaml_files("tests/chart/values")? {
        let rendered = run(&mut template(&values)?)?.ok().with_context(|| values.display().to_string())?;
        let dry_run = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"];
        let said = cluster.kubectl_with(&dry_run, &rendered)?;
        assert!(said.well && said.err.is_empty(), "{}: {}", values.display(), said.err);
        let count = rendered.matches("\nkind: ").count();
        assert_eq!(said.out.lines().count(), count, "{}: {}", values.display(), said.out);
    }
    Ok(())
}
