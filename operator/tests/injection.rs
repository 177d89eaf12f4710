//! Pods and what becomes of them: a table of files. A first line `# expect: …` is what a refused pod's author must read,
//! `# untouched` a pod that is left alone; of all others the snapshot shows what they have become.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::{collections::BTreeMap, fs, path::Path};

use k8s_openapi::api::core::v1::Pod;
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use vectoll_operator::inject::{Injection, InjectionSettings, Namespace, inject, max_held_bytes};

const TOKEN_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn settings() -> InjectionSettings {
    InjectionSettings::read(
        "image: registry.example/vectoll-sidecar:0.1.0\nenv: [{name: HTTPS_PROXY, value: http://proxy.example:3128}]",
    )
    .unwrap()
}

/// What the API server has after the webhook: none if the pod is left alone, or the refusal.
fn injected(pod: &Value) -> Result<Option<Value>, String> {
    injected_in(pod, &[], &settings())
}

/// The same in a namespace with these annotations.
fn injected_in(
    pod: &Value,
    annotations: &[(&str, &str)],
    settings: &InjectionSettings,
) -> Result<Option<Value>, String> {
    let injection = injection_in(pod, annotations, settings, false)?;
    Ok(injection.map(|Injection { patch, .. }| {
        // As it goes over the wire.
        let patch: json_patch::Patch = serde_json::from_str(&serde_json::to_string(&patch).unwrap()).unwrap();
        let mut pod = pod.clone();
        json_patch::patch(&mut pod, &patch).unwrap();
        serde_json::from_value::<Pod>(pod.clone()).unwrap();
        pod
    }))
}

/// What the webhook says. `asks`: the namespace's label asks for sidecars.
fn injection_in(
    pod: &Value,
    annotations: &[(&str, &str)],
    settings: &InjectionSettings,
    asks: bool,
) -> Result<Option<Injection>, String> {
    let typed: Pod = serde_json::from_value(pod.clone()).unwrap();
    let annotations: BTreeMap<String, String> =
        annotations.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let namespace = Namespace { name: "shop", annotations: &annotations, asks };
    inject(&typed, namespace, settings).map_err(|refusal| refusal.to_string())
}

fn cases() -> Vec<(String, String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/injection");
    let mut cases: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let pod = serde_yaml::from_str(&text).unwrap();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), text, pod)
        })
        .collect();
    cases.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    assert!(cases.len() > 30, "the table is where it was");
    cases
}

#[test]
fn every_pod_becomes_what_the_table_says() {
    for (name, text, pod) in cases() {
        let first = text.lines().next().unwrap();
        if let Some(words) = first.strip_prefix("# expect: ") {
            assert_eq!(injected(&pod), Err(words.to_owned()), "{name}");
        } else if first == "# untouched" {
            assert_eq!(injected(&pod), Ok(None), "{name}");
        } else {
            insta::assert_yaml_snapshot!(name, injected(&pod).unwrap().unwrap());
        }
    }
}

#[test]
fn a_pod_that_was_injected_is_not_changed_again() {
    for (name, _, pod) in cases() {
        if let Ok(Some(once)) = injected(&pod) {
            assert_eq!(injected(&once).unwrap().unwrap(), once, "{name}");
        }
    }
}

#[test]
fn tokens_for_clouds_are_the_sidecars_alone_and_good_for_nothing_else() {
    let with = |clouds: &str| InjectionSettings::read(&format!("image: a\nworkloadIdentity: {clouds}")).unwrap();
    let pod = json!({
        "metadata": {"labels": {"vectoll.dev/inject": "true"}, "annotations": {"vectoll.dev/api-key": "alice"}},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    });
    let become_of = |settings: &InjectionSettings| injected_in(&pod, &[], settings).unwrap().unwrap();
    assert!(!become_of(&with("{aws: {audience: ''}}")).to_string().contains("vectoll-identity"));
    let pod = become_of(&with(
        "{aws: {audience: sts.amazonaws.com}, azure: {audience: 'api://AzureADTokenExchange'}, openai: {audience: 'https://api.openai.com/v1'}}",
    ));
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let identity = volumes.iter().find(|volume| volume["name"] == "vectoll-identity").unwrap();
    let tokens: Vec<(&str, &str)> = identity["projected"]["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| &source["serviceAccountToken"])
        .map(|token| (token["path"].as_str().unwrap(), token["audience"].as_str().unwrap()))
        .collect();
    let openai = ("openai", "https://api.openai.com/v1");
    assert_eq!(tokens, [("aws", "sts.amazonaws.com"), ("azure", "api://AzureADTokenExchange"), openai]);
    let mounts = |container: &Value| container["volumeMounts"].to_string();
    assert!(mounts(&pod["spec"]["initContainers"][0]).contains("vectoll-identity"));
    assert!(!mounts(&pod["spec"]["containers"][0]).contains("vectoll-identity"), "not the application's");
}

#[test]
fn the_token_for_the_gateway_is_the_sidecars_alone_and_good_for_ten_minutes() {
    let settings = InjectionSettings::read("image: a\ngatewayToken: true").unwrap();
    let pod = json!({
        "metadata": {"labels": {"vectoll.dev/inject": "true"}, "annotations": {"vectoll.dev/api-key": "alice"}},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    });
    let pod = injected_in(&pod, &[], &settings).unwrap().unwrap();
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let identity = volumes.iter().find(|volume| volume["name"] == "vectoll-identity").unwrap();
    let token =
        json!({"serviceAccountToken": {"path": "gateway", "audience": "vectoll-gateway", "expirationSeconds": 600}});
    assert_eq!(identity["projected"]["sources"], json!([token]));
    let sidecar = &pod["spec"]["initContainers"][0];
    assert!(sidecar["volumeMounts"].to_string().contains("vectoll-identity"));
    assert!(sidecar["env"].to_string().contains("VECTOLL_IDENTITY_DIR"));
    assert!(!pod["spec"]["containers"][0].to_string().contains("vectoll-identity"), "not the application's");
}

/// What the admission plugin `ServiceAccount` does, before the webhooks and again after them.
fn mount_tokens(pod: &mut Value) {
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let mounts = container.as_object_mut().unwrap().entry("volumeMounts").or_insert_with(|| json!([]));
            let mounts = mounts.as_array_mut().unwrap();
            if !mounts.iter().any(|mount| mount["mountPath"] == TOKEN_DIR) {
                mounts.push(json!({"name": "kube-api-access", "mountPath": TOKEN_DIR, "readOnly": true}));
            }
        }
    }
}

#[test]
fn no_token_ever_gets_into_the_sidecar() {
    let mut pod = json!({
        "metadata": {"labels": {"vectoll.dev/inject": "true"}},
        "spec": {"containers": [{"name": "app"}]},
    });
    for _ in 0..3 {
        mount_tokens(&mut pod);
        pod = injected(&pod).unwrap().unwrap();
    }
    mount_tokens(&mut pod);
    let of = |container: &Value| -> Vec<Value> {
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        mounts.filter(|mount| mount["mountPath"] == TOKEN_DIR).map(|mount| mount["name"].clone()).collect()
    };
    assert_eq!(of(&pod["spec"]["initContainers"][0]), [json!("vectoll-no-token")]);
    assert_eq!(of(&pod["spec"]["containers"][0]), [json!("kube-api-access")]);
}

fn asking(annotations: &Value) -> Value {
    json!({
        "metadata": {"labels": {"vectoll.dev/inject": "true"}, "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    })
}

fn sidecar_of(pod: &Value) -> &Value {
    let sidecar = &pod["spec"]["initContainers"][0];
    assert_eq!(sidecar["name"], "vectoll-sidecar");
    sidecar
}

#[test]
fn where_no_sidecars_are_injected_a_pod_that_asks_for_one_is_refused() {
    let settings = InjectionSettings::read("image: a\nexcludedNamespaces: [other, shop]").unwrap();
    let refusal = injected_in(&asking(&json!({})), &[], &settings).unwrap_err();
    assert_eq!(
        refusal,
        "metadata.labels[vectoll.dev/inject]: no sidecars are injected in the namespace shop, which the cluster's administrator has \
         excluded: remove the label vectoll.dev/inject, or use another namespace"
    );
    for value in [json!({"vectoll.dev/inject": "false"}), json!({})] {
        let mut pod = asking(&json!({}));
        pod["metadata"]["labels"] = value;
        assert_eq!(injected_in(&pod, &[], &settings), Ok(None));
    }
    let elsewhere = InjectionSettings::read("image: a\nexcludedNamespaces: [other]").unwrap();
    assert!(injected_in(&asking(&json!({})), &[], &elsewhere).unwrap().is_some());
}

#[test]
fn where_only_the_gateway_has_credentials_a_pod_that_asks_for_a_sidecar_is_told_where_to_call() {
    let settings = InjectionSettings::read("image: a\ngatewayOnly: https://gateway.example/v1").unwrap();
    let refusal = injected_in(&asking(&json!({})), &[], &settings).unwrap_err();
    assert!(refusal.contains("call https://gateway.example/v1 with the value of an ApiKey"), "{refusal}");
    let mut pod = asking(&json!({}));
    pod["metadata"]["labels"] = json!({});
    assert_eq!(injected_in(&pod, &[], &settings), Ok(None));
}

#[test]
fn resources_are_the_pods_then_the_namespaces_then_the_settings() {
    let settings =
        InjectionSettings::read("image: a\nresources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 256Mi}}")
            .unwrap();
    let of = |pod: Value, namespace: &[(&str, &str)]| {
        let pod = injected_in(&asking(&pod), namespace, &settings).unwrap().unwrap();
        let again = injected_in(&pod, namespace, &settings).unwrap().unwrap();
        assert_eq!(pod, again, "once or twice");
        sidecar_of(&pod).clone()
    };
    let bound = |sidecar: &Value| {
        let found = sidecar["env"].as_array().unwrap().iter().find(|one| one["name"] == "VECTOLL_MAX_HELD_BYTES");
        found.map(|one| one["value"].as_str().unwrap().to_owned())
    };
    let usual = of(json!({}), &[]);
    let expected = json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}});
    let mib = |mib: u64| Some((mib * 1024 * 1024).to_string());
    assert_eq!((&usual["resources"], bound(&usual)), (&expected, mib(72)));

    let namespace =
        [("vectoll.dev/sidecar-cpu-limit", "200m"), ("vectoll.dev/sidecar-memory-limit", "128Mi"), ("note", "mine")];
    let quota = of(json!({}), &namespace);
    let expected = json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}});
    assert_eq!(quota["resources"], expected);
    // What calls may hold follows, whoever sets the limit.
    assert_eq!(bound(&quota), Some((88 * 1024 * 1024 / 3).to_string()));
    let more = of(json!({"vectoll.dev/sidecar-memory-limit": "1Gi"}), &namespace);
    assert_eq!(bound(&more), mib(328));
    let settings = InjectionSettings::read("image: a\nresources: {limits: {memory: 64Mi}}").unwrap();
    let pod = injected_in(&asking(&json!({})), &[], &settings).unwrap().unwrap();
    assert_eq!(bound(sidecar_of(&pod)), mib(8));
    let unbounded = InjectionSettings::read("image: a\nresources: {}").unwrap();
    let mut pod = injected_in(&asking(&json!({})), &[], &unbounded).unwrap().unwrap();
    assert_eq!(bound(sidecar_of(&pod)), None);
    // A LimitRange fills one in, and the webhook is called again.
    pod["spec"]["initContainers"][0]["resources"] = json!({"limits": {"memory": "100Mi"}});
    let pod = injected_in(&pod, &[], &unbounded).unwrap().unwrap();
    assert_eq!(bound(sidecar_of(&pod)), mib(20));
    let mut small = pod;
    small["spec"]["initContainers"][0]["resources"] = json!({"limits": {"memory": "32Mi"}});
    let refusal = injected_in(&small, &[], &unbounded).unwrap_err();
    assert!(refusal.starts_with("spec.initContainers[vectoll-sidecar].resources.limits.memory: \"32Mi\""), "{refusal}");
    assert!(refusal.contains("vectoll.dev/sidecar-memory-limit"), "{refusal}");
    assert_eq!(max_held_bytes(256 << 20), 72 << 20, "the sidecar's own default");

    let pod = json!({
        "vectoll.dev/sidecar-cpu-request": "1",
        "vectoll.dev/sidecar-cpu-limit": "1.5",
        "vectoll.dev/sidecar-ephemeral-storage-limit": "1Gi",
    });
    let expected = json!({
        "requests": {"cpu": "1", "memory": "64Mi"},
        "limits": {"cpu": "1.5", "memory": "128Mi", "ephemeral-storage": "1Gi"},
    });
    assert_eq!(of(pod, &namespace)["resources"], expected);

    // A limit that is nearer to the pod than the request takes the request down with it.
    let low =
        of(json!({"vectoll.dev/sidecar-memory-limit": "80Mi"}), &[("vectoll.dev/sidecar-memory-request", "96Mi")]);
    assert_eq!(low["resources"], json!({"requests": {"cpu": "50m", "memory": "80Mi"}, "limits": {"memory": "80Mi"}}));

    // Who has set the bound has set it.
    let own = InjectionSettings::read("image: a\nenv: [{name: VECTOLL_MAX_HELD_BYTES, value: '1048576'}]").unwrap();
    let pod = injected_in(&asking(&json!({})), &namespace, &own).unwrap().unwrap();
    assert_eq!(bound(sidecar_of(&pod)), Some("1048576".to_owned()));
}

#[test]
fn resources_that_cannot_be_are_refused_by_the_annotations_name() {
    for (pod, namespace, words) in [
        (
            json!({"vectoll.dev/sidecar-cpu-request": "lots"}),
            vec![],
            "metadata.annotations[vectoll.dev/sidecar-cpu-request]: \"lots\" is not a quantity of Kubernetes: write one such as 100m or 0.5",
        ),
        (
            json!({"vectoll.dev/sidecar-memory-limit": "256MB"}),
            vec![],
            "metadata.annotations[vectoll.dev/sidecar-memory-limit]: \"256MB\" is not a quantity of Kubernetes: write one such as 128Mi or 1Gi",
        ),
        (
            json!({"vectoll.dev/sidecar-memory-limit": "256"}),
            vec![],
            "metadata.annotations[vectoll.dev/sidecar-memory-limit]: \"256\" is too little for a sidecar: at least 64Mi",
        ),
        (
            json!({"vectoll.dev/sidecar-cpu-limit": "0"}),
            vec![],
            "metadata.annotations[vectoll.dev/sidecar-cpu-limit]: \"0\" leaves the sidecar nothing",
        ),
        (
            json!({"vectoll.dev/sidecar-cpu-request": "-1"}),
            vec![],
            "metadata.annotations[vectoll.dev/sidecar-cpu-request]: \"-1\" is not a quantity",
        ),
        (
            json!({"vectoll.dev/sidecar-memory-request": "512Mi"}),
            vec![],
            "metadata.annotations[vectoll.dev/sidecar-memory-request]: 512Mi is above the sidecar's limit of 256Mi: set vectoll.dev/sidecar-memory-limit beside it",
        ),
        (
            json!({"vectoll.dev/sidecar-cpu-requests": "1"}),
            vec![],
            "metadata.annotations[vectoll.dev/sidecar-cpu-requests]: is not known",
        ),
        (
            json!({}),
            vec![("vectoll.dev/sidecar-cpu-limit", "much")],
            "namespace shop: metadata.annotations[vectoll.dev/sidecar-cpu-limit]: \"much\" is not a quantity",
        ),
        (
            json!({}),
            vec![("vectoll.dev/sidecar-memory-request", "1Gi")],
            "namespace shop: metadata.annotations[vectoll.dev/sidecar-memory-request]: 1Gi is above",
        ),
        (
            json!({}),
            vec![("vectoll.dev/sidecar-gpu-request", "1")],
            "namespace shop: metadata.annotations[vectoll.dev/sidecar-gpu-request]: is not known",
        ),
    ] {
        let refusal = injected_in(&asking(&pod), &namespace, &settings()).unwrap_err();
        assert!(refusal.starts_with(words) && !refusal.contains("; "), "{pod}: {refusal}");
    }
}

#[test]
fn a_namespace_asks_for_the_pods_that_say_nothing() {
    let plain = |label: Option<&str>, spec: Value| {
        let labels: serde_json::Map<String, Value> =
            label.into_iter().map(|value| ("vectoll.dev/inject".to_owned(), json!(value))).collect();
        json!({"metadata": {"labels": labels}, "spec": spec})
    };
    let of = |pod: &Value, settings: &InjectionSettings| injection_in(pod, &[], settings, true);
    let app = || json!({"containers": [{"name": "app", "image": "app"}]});
    let injection = of(&plain(None, app()), &settings()).unwrap().unwrap();
    assert!(!injection.patch.0.is_empty() && injection.warnings.is_empty());
    // The pod has the last word.
    assert_eq!(of(&plain(Some("false"), app()), &settings()), Ok(None));
    assert!(of(&plain(Some("true"), app()), &settings()).unwrap().is_some());
    let said = of(&plain(Some("yes"), app()), &settings()).unwrap_err();
    assert!(said.starts_with("metadata.labels[vectoll.dev/inject]: \"yes\" is not a boolean"), "{said}");
    // Without the namespace's label nothing becomes of it.
    assert_eq!(injection_in(&plain(None, app()), &[], &settings(), false), Ok(None));

    // Injected again, it comes out the same.
    let mut pod = plain(None, app());
    json_patch::patch(&mut pod, &injection.patch).unwrap();
    let again = of(&pod, &settings()).unwrap().unwrap();
    let once = pod.clone();
    json_patch::patch(&mut pod, &again.patch).unwrap();
    assert_eq!(pod, once);

    // What cannot have one is let in as it is, and whoever makes it is told why; unless it asks itself.
    let gateway = InjectionSettings::read("image: a\ngatewayOnly: https://gateway.example/v1").unwrap();
    let excluded = InjectionSettings::read("image: a\nexcludedNamespaces: [shop]").unwrap();
    let listens = json!({"containers": [{"name": "app", "image": "app", "ports": [{"containerPort": 4000}]}]});
    for (spec, settings, words) in [
        (json!({"hostNetwork": true, "containers": []}), &settings(), "spec.hostNetwork: "),
        (listens, &settings(), "spec.containers[0].ports[0].containerPort: "),
        (app(), &gateway, "lets only the gateway call providers"),
        (app(), &excluded, "which the cluster's administrator has excluded"),
    ] {
        let Injection { patch, warnings } = of(&plain(None, spec.clone()), settings).unwrap().unwrap();
        assert!(patch.0.is_empty() && warnings.len() == 1, "{warnings:?}");
        assert!(warnings[0].contains(words) && warnings[0].contains("if it is to have none"), "{warnings:?}");
        assert!(of(&plain(Some("true"), spec), settings).unwrap_err().contains(words));
    }
    // Another webhook has shared the processes of a pod that was injected: it must not start like that.
    let mut shared = once;
    shared["spec"]["shareProcessNamespace"] = json!(true);
    assert!(of(&shared, &settings()).unwrap_err().contains("spec.shareProcessNamespace"));
    // What the kubelet runs from a file cannot be changed.
    let mut mirror = plain(None, app());
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "a"});
    assert_eq!(of(&mirror, &settings()), Ok(None));
    // A mistake in what it is to be like is a mistake, whoever asked.
    let mut mistaken = plain(None, app());
    mistaken["metadata"]["annotations"] = json!({"vectoll.dev/sidecar-log-level": "loud"});
    assert!(of(&mistaken, &settings()).is_err());
}

/// A pod's sidecar, with what was said by annotation on it and on its namespace.
fn changed(pod: &Value, namespace: &[(&str, &str)], settings: &InjectionSettings) -> Value {
    let once = injected_in(&asking(pod), namespace, settings).unwrap().unwrap();
    assert_eq!(injected_in(&once, namespace, settings).unwrap().unwrap(), once, "once or twice");
    sidecar_of(&once).clone()
}

fn variable(sidecar: &Value, name: &str) -> Option<String> {
    let all = sidecar["env"].as_array().unwrap();
    let found: Vec<&Value> = all.iter().filter(|one| one["name"] == name).collect();
    assert!(found.len() < 2, "{name} is there twice");
    found.first().map(|one| one["value"].as_str().unwrap().to_owned())
}

#[test]
fn a_workload_changes_what_is_its_own_business() {
    let usual = changed(&json!({}), &[], &settings());
    let is = |sidecar: &Value, name: &str, value: &str| {
        assert_eq!(variable(sidecar, name).as_deref(), Some(value), "{name}");
    };
    is(&usual, "VECTOLL_LOG", "info");
    is(&usual, "VECTOLL_DRAIN_TIMEOUT_SECONDS", "25");
    is(&usual, "HTTPS_PROXY", "http://proxy.example:3128");

    let namespace = [
        ("vectoll.dev/sidecar-log-level", "warn"),
        ("vectoll.dev/sidecar-log-format", "text"),
        ("vectoll.dev/sidecar-drain-timeout-seconds", "120"),
    ];
    let annotations = json!({
        "vectoll.dev/sidecar-log-level": "debug",
        "vectoll.dev/sidecar-https-proxy": "http://other.example:8080",
        "vectoll.dev/sidecar-http-proxy": "http://other.example:8080",
        "vectoll.dev/sidecar-no-proxy": ".svc,.cluster.local, 10.0.0.0/8,[fd00::1],db:5432,*.internal",
        "vectoll.dev/sidecar-probe": "Exec",
    });
    let sidecar = changed(&annotations, &namespace, &settings());
    is(&sidecar, "VECTOLL_LOG", "info,vectoll=debug");
    is(&sidecar, "VECTOLL_LOG_FORMAT", "text");
    // The pod ends after 30 seconds, whatever the namespace says of all of its pods.
    is(&sidecar, "VECTOLL_DRAIN_TIMEOUT_SECONDS", "29");
    is(&sidecar, "HTTPS_PROXY", "http://other.example:8080");
    is(&sidecar, "HTTP_PROXY", "http://other.example:8080");
    is(&sidecar, "NO_PROXY", ".svc,.cluster.local, 10.0.0.0/8,[fd00::1],db:5432,*.internal");
    assert!(sidecar["readinessProbe"]["exec"].is_object());
    // The rest is as ever.
    assert_eq!((&sidecar["image"], &sidecar["securityContext"]), (&usual["image"], &usual["securityContext"]));

    let mut patient = asking(&json!({"vectoll.dev/sidecar-drain-timeout-seconds": "120"}));
    patient["spec"]["terminationGracePeriodSeconds"] = json!(130);
    let pod = injected(&patient).unwrap().unwrap();
    is(sidecar_of(&pod), "VECTOLL_DRAIN_TIMEOUT_SECONDS", "120");

    // None instead of the cluster's; names in small letters are the same.
    let small =
        InjectionSettings::read("image: a\nenv: [{name: https_proxy, value: http://proxy.example:3128}]").unwrap();
    let none = changed(&json!({"vectoll.dev/sidecar-https-proxy": ""}), &[], &small);
    assert_eq!((variable(&none, "HTTPS_PROXY"), variable(&none, "https_proxy")), (None, None));
}

#[test]
fn what_a_workload_cannot_have_is_refused_by_the_annotations_name_and_the_form() {
    let locked = InjectionSettings::read("image: a\nlockedAnnotations: [https-proxy, memory-limit]").unwrap();
    for (name, value, settings, words) in [
        ("log-level", "verbose", settings(), "\"verbose\" is not a level: write error, warn, info, debug or trace"),
        ("log-level", "", settings(), "\"\" is not a level"),
        ("log-format", "JSON", settings(), "\"JSON\" is not a form of a log: write json or text"),
        ("probe", "http", settings(), "\"http\" is not a kind of probe: write Auto, Http or Exec"),
        ("drain-timeout-seconds", "1m", settings(), "\"1m\" is not a number of seconds: write one from 0 to 3600"),
        ("drain-timeout-seconds", "3601", settings(), "\"3601\" is not a number of seconds"),
        ("drain-timeout-seconds", "-1", settings(), "\"-1\" is not a number of seconds"),
        (
            "drain-timeout-seconds",
            "30",
            settings(),
            "\"30\" is not shorter than the pod's terminationGracePeriodSeconds of 30",
        ),
        (
            "https-proxy",
            "https://proxy:3128",
            settings(),
            "\"https://proxy:3128\": only proxies that are spoken to over http:",
        ),
        (
            "https-proxy",
            "http://proxy/path",
            settings(),
            "\"http://proxy/path\" is not the URL of a proxy: write http://HOST:PORT",
        ),
        ("https-proxy", "proxy", settings(), "\"proxy\" is not the URL of a proxy"),
        (
            "http-proxy",
            "http://me:hush@proxy:3128",
            settings(),
            "has credentials, and everybody may read an annotation",
        ),
        ("no-proxy", "10.0.0.0/33", settings(), "\"10.0.0.0/33\" is not a host: write names, HOST:PORT"),
        ("no-proxy", "a, http://b", settings(), "\"http://b\" is not a host"),
        ("no-proxy", "a:b", settings(), "\"a:b\" is not a host"),
        ("https-proxy", "http://proxy:3128", locked.clone(), "the cluster's administrator lets no workload set it"),
        ("memory-limit", "1Gi", locked, "the cluster's administrator lets no workload set it"),
        // What would make it less safe is not there.
        (
            "image",
            "mine",
            settings(),
            "is not known: vectoll.dev/sidecar- is followed by one of cpu-limit, cpu-request",
        ),
        ("run-as-user", "0", settings(), "is not known"),
        ("env", "A=b", settings(), "is not known"),
    ] {
        let name = format!("vectoll.dev/sidecar-{name}");
        let refusal = injected_in(&asking(&json!({&name: value})), &[], &settings).unwrap_err();
        assert!(refusal.starts_with(&format!("metadata.annotations[{name}]: {words}")), "{value}: {refusal}");
        assert!(!refusal.contains("; ") && !refusal.contains("hush"), "{refusal}");
    }
    let of_namespace = [("vectoll.dev/sidecar-log-level", "loud")];
    let refusal = injected_in(&asking(&json!({})), &of_namespace, &settings()).unwrap_err();
    assert!(refusal.starts_with("namespace shop: metadata.annotations[vectoll.dev/sidecar-log-level]: \"loud\""));
}

#[test]
fn the_user_is_the_settings_or_the_platforms() {
    let asked = asking(&json!({}));
    let user = |settings: &str, pod: &Value| {
        let settings = InjectionSettings::read(settings).unwrap();
        let pod = injected_in(pod, &[], &settings).unwrap().unwrap();
        (sidecar_of(&pod)["securityContext"].clone(), pod)
    };
    let (ours, _) = user("image: a", &asked);
    assert_eq!((&ours["runAsUser"], &ours["runAsGroup"]), (&json!(65532), &json!(65532)));
    let (ours, _) = user("image: a\nrunAsUser: 1234", &asked);
    assert_eq!((&ours["runAsUser"], &ours["runAsGroup"]), (&json!(1234), &json!(1234)));

    let (open, mut pod) = user("image: a\nrunAsUser: null", &asked);
    assert_eq!(
        (&open["runAsUser"], &open["runAsGroup"], &open["runAsNonRoot"]),
        (&json!(null), &json!(null), &json!(true))
    );
    // The platform fills it in, and a later call of the webhook leaves it.
    pod["spec"]["initContainers"][0]["securityContext"]["runAsUser"] = json!(1_000_680_000);
    pod["spec"]["initContainers"][0]["securityContext"]["seLinuxOptions"] = json!({"level": "s0:c26,c15"});
    pod["spec"]["initContainers"][0]["securityContext"]["privileged"] = json!(true);
    let (filled, again) = user("image: a\nrunAsUser: null", &pod);
    assert_eq!((&filled["runAsUser"], &filled["privileged"]), (&json!(1_000_680_000), &json!(false)));
    assert_eq!(filled["seLinuxOptions"], json!({"level": "s0:c26,c15"}));
    // Any user can write the books and read the config.
    let volumes = again["spec"]["volumes"].as_array().unwrap();
    let config = volumes.iter().find(|volume| volume["name"] == "vectoll-config").unwrap();
    assert_eq!(config["secret"]["defaultMode"], 0o444);
    // But where the settings name one, nobody else's counts.
    assert_eq!(user("image: a", &pod).0["runAsUser"], 65532);
}

#[test]
fn the_kubelet_asks_by_a_process_only_where_a_mesh_stands_between() {
    let by_process = |settings: &str, pod: &Value| {
        let settings = InjectionSettings::read(settings).unwrap();
        let pod = injected_in(pod, &[], &settings).unwrap().unwrap();
        let sidecar = sidecar_of(&pod);
        let process = json!({"command": ["/vectoll-sidecar", "health"]});
        let kinds = ["startupProbe", "readinessProbe"].map(|probe| {
            assert_eq!(sidecar[probe]["exec"].is_object(), sidecar[probe]["httpGet"].is_null());
            sidecar[probe]["exec"] == process
        });
        assert_eq!(kinds[0], kinds[1]);
        kinds[0]
    };
    let plain = asking(&json!({}));
    let mut istio = plain.clone();
    istio["spec"]["initContainers"] =
        json!([{"name": "istio-init"}, {"name": "istio-proxy", "restartPolicy": "Always"}]);
    let mut linkerd = plain.clone();
    linkerd["spec"]["containers"] = json!([{"name": "linkerd-proxy"}, {"name": "app"}]);
    for (settings, pod, expected) in [
        ("image: a", &plain, false),
        ("image: a", &istio, true),
        ("image: a", &linkerd, true),
        ("image: a\nprobe: Http", &istio, false),
        ("image: a\nprobe: Exec", &plain, true),
    ] {
        assert_eq!(by_process(settings, pod), expected, "{settings}");
    }
    // A mesh whose webhook comes later: ours is called again.
    let mut later = injected(&plain).unwrap().unwrap();
    later["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "istio-proxy"}));
    assert!(by_process("image: a", &later));
}

#[test]
fn whatever_another_webhook_makes_of_the_sidecar_the_next_call_puts_right() {
    let good = injected(&asking(&json!({"vectoll.dev/api-key": "alice"}))).unwrap().unwrap();
    // What the others have left in the pod is theirs; the sidecar is as it was.
    let check = |name: &str, pod: &Value| {
        let pod = injected(pod).unwrap_or_else(|refusal| panic!("{name}: {refusal}")).unwrap();
        assert_eq!(sidecar_of(&pod), sidecar_of(&good), "{name}");
        for list in ["initContainers", "containers"] {
            let ours =
                pod["spec"][list].as_array().unwrap().iter().filter(|one| one["name"] == "vectoll-sidecar").count();
            assert_eq!(ours, usize::from(list == "initContainers"), "{name}");
        }
        pod
    };
    // It knows no restartPolicy of init containers: the sidecar would never end, and the pod never start.
    let mut dropped = good.clone();
    dropped["spec"]["initContainers"][0].as_object_mut().unwrap().remove("restartPolicy");
    check("dropped restartPolicy", &dropped);
    // It puts init containers of its own first.
    let mut before = good.clone();
    before["spec"]["initContainers"].as_array_mut().unwrap().insert(0, json!({"name": "agent-init", "image": "agent"}));
    let before = check("an init container before it", &before);
    let names: Vec<&Value> =
        before["spec"]["initContainers"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["vectoll-sidecar", "agent-init"]);
    // It makes a container of it, as before there were native sidecars.
    let mut moved = good.clone();
    let ours = moved["spec"]["initContainers"].as_array_mut().unwrap().remove(0);
    moved["spec"]["containers"].as_array_mut().unwrap().push(ours);
    check("moved among the containers", &moved);
    moved["spec"]["containers"].as_array_mut().unwrap().reverse();
    moved["spec"].as_object_mut().unwrap().remove("initContainers");
    check("moved in front of the containers", &moved);
    // It throws all init containers away.
    let mut gone = good.clone();
    gone["spec"].as_object_mut().unwrap().remove("initContainers");
    check("removed", &gone);
}

fn name() -> impl Strategy<Value = &'static str> {
    select(vec!["app", "mesh", "job", "vectoll-sidecar"])
}

fn container() -> impl Strategy<Value = Value> {
    let variable = select(vec!["OPENAI_API_KEY", "OPENAI_BASE_URL", "OTHER", "HTTP_PROXY", "no_proxy"])
        .prop_map(|name| json!({"name": name, "value": "own"}));
    let env = proptest::option::of(prop::collection::vec(variable, 0..3));
    let port = select(vec![80, 4000, 4001]).prop_map(|port| json!([{"containerPort": port}]));
    let mount = select(vec!["cache", "vectoll-config"]).prop_map(|name| json!([{"name": name, "mountPath": "/mnt"}]));
    let rare = |value: BoxedStrategy<Value>| proptest::option::weighted(0.1, value);
    let resources = rare(Just(json!({"limits": {"cpu": "1", "memory": "1Gi"}})).boxed());
    (name(), env, rare(port.boxed()), rare(mount.boxed()), resources).prop_map(
        |(name, env, ports, mounts, resources)| {
            let fields =
                [("env", env.map(Value::Array)), ("ports", ports), ("volumeMounts", mounts), ("resources", resources)];
            let mut container = json!({"name": name, "image": "image", "fieldOfTomorrow": name});
            let given = fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?)));
            container.as_object_mut().unwrap().extend(given);
            container
        },
    )
}

fn pod() -> impl Strategy<Value = Value> {
    let volume = select(vec!["cache", "vectoll-config", "vectoll-state", "vectoll-no-token", "vectoll-other"])
        .prop_map(|name| json!({"name": name, "emptyDir": {}}));
    let list = |element: BoxedStrategy<Value>| proptest::option::of(prop::collection::vec(element, 0..4));
    let entry = |key: &'static str, values: Vec<&'static str>| {
        proptest::option::of(select(values)).prop_map(move |value| value.map(|value| (key.to_owned(), json!(value))))
    };
    let labels = (entry("vectoll.dev/contract", vec!["v1", "v0"]), entry("app", vec!["web"]));
    let annotations = (
        entry("vectoll.dev/api-key", vec!["alice", "alice.2"]),
        entry("vectoll.dev/keyless", vec!["true", "false"]),
        entry(
            "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes",
            vec!["", "cache", "vectoll-state,cache", "a, b"],
        ),
    );
    let containers = (list(container().boxed()), prop::collection::vec(container(), 1..4), list(volume.boxed()));
    (labels, annotations, containers).prop_map(|(labels, annotations, (init, containers, volumes))| {
        let mut pod =
            json!({"metadata": {"labels": {"vectoll.dev/inject": "true"}}, "spec": {"containers": containers}});
        pod["metadata"]["labels"].as_object_mut().unwrap().extend([labels.0, labels.1].into_iter().flatten());
        let annotations: serde_json::Map<_, _> =
            [annotations.0, annotations.1, annotations.2].into_iter().flatten().collect();
        if !annotations.is_empty() {
            pod["metadata"]["annotations"] = annotations.into();
        }
        let spec = pod["spec"].as_object_mut().unwrap();
        spec.extend(init.map(|init| ("initContainers".to_owned(), init.into())));
        spec.extend(volumes.map(|volumes| ("volumes".to_owned(), volumes.into())));
        pod
    })
}

/// A pod without what injection may add or change.
fn rest(mut pod: Value) -> Value {
    for list in ["initContainers", "containers"] {
        let containers: Vec<Value> = pod["spec"][list].as_array().into_iter().flatten().cloned().collect();
        pod["spec"][list] = containers
            .into_iter()
            .filter(|container| container["name"] != "vectoll-sidecar")
            .map(|mut container| {
                container["env"] = container["env"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|variable| {
                        let name = variable["name"].as_str().unwrap();
                        !name.eq_ignore_ascii_case("no_proxy")
                            && (!name.starts_with("OPENAI_") || variable["value"] == "own")
                    })
                    .cloned()
                    .collect();
                container
            })
            .collect();
    }
    let volumes: Vec<Value> = pod["spec"]["volumes"].as_array().into_iter().flatten().cloned().collect();
    pod["spec"]["volumes"] =
        volumes.into_iter().filter(|volume| !volume["name"].as_str().unwrap().starts_with("vectoll-")).collect();
    pod["metadata"] = Value::Null;
    pod
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn injecting_twice_is_injecting_once(pod in pod()) {
        if let Ok(Some(once)) = injected(&pod) {
            prop_assert_eq!(injected(&once), Ok(Some(once.clone())));
            let first = &once["spec"]["initContainers"][0];
            prop_assert_eq!(&first["image"], "registry.example/vectoll-sidecar:0.1.0");
            prop_assert!(first.get("fieldOfTomorrow").is_none(), "nothing of another container got into ours");
            prop_assert_eq!(rest(once.clone()), rest(pod));
            if once["metadata"]["annotations"].get("vectoll.dev/api-key").is_some() {
                for list in ["initContainers", "containers"] {
                    for container in once["spec"][list].as_array().into_iter().flatten() {
                        for name in ["OPENAI_API_KEY", "OPENAI_BASE_URL"] {
                            let has = container["env"].as_array().unwrap().iter().any(|variable| variable["name"] == name);
                            prop_assert_eq!(has, container["name"] != "vectoll-sidecar");
                        }
                    }
                }
            }
        }
    }
}
