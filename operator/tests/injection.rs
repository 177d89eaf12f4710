//! Pods and what becomes of them: a table of files. A first line `# expect: …` is what a refused pod's author must read,
//! `# untouched` a pod that is left alone; of all others the snapshot shows what they have become.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{fs, path::Path};

use k8s_openapi::api::core::v1::Pod;
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use vectoll_operator::inject::{InjectionSettings, inject};

const TOKEN_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn settings() -> InjectionSettings {
    InjectionSettings::read(
        "image: registry.example/vectoll-sidecar:0.1.0\nenv: [{name: HTTPS_PROXY, value: http://proxy.example:3128}]",
    )
    .unwrap()
}

/// What the API server has after the webhook: none if the pod is left alone, or the refusal.
fn injected(pod: &Value) -> Result<Option<Value>, String> {
    let typed: Pod = serde_json::from_value(pod.clone()).unwrap();
    let patch = inject(&typed, "shop", &settings()).map_err(|refusal| refusal.to_string())?;
    Ok(patch.map(|patch| {
        // As it goes over the wire.
        let patch: json_patch::Patch = serde_json::from_str(&serde_json::to_string(&patch).unwrap()).unwrap();
        let mut pod = pod.clone();
        json_patch::patch(&mut pod, &patch).unwrap();
        serde_json::from_value::<Pod>(pod.clone()).unwrap();
        pod
    }))
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
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"labels": {"vectoll.dev/inject": "true"}, "annotations": {"vectoll.dev/api-key": "alice"}},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    }))
    .unwrap();
    let become_of = |settings: &InjectionSettings| -> Value {
        let mut value = serde_json::to_value(&pod).unwrap();
        json_patch::patch(&mut value, &inject(&pod, "shop", settings).unwrap().unwrap()).unwrap();
        value
    };
    assert!(!become_of(&with("{aws: {audience: ''}}")).to_string().contains("vectoll-identity"));
    let pod = become_of(&with("{aws: {audience: sts.amazonaws.com}, azure: {audience: 'api://AzureADTokenExchange'}}"));
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let identity = volumes.iter().find(|volume| volume["name"] == "vectoll-identity").unwrap();
    let tokens: Vec<(&str, &str)> = identity["projected"]["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| &source["serviceAccountToken"])
        .map(|token| (token["path"].as_str().unwrap(), token["audience"].as_str().unwrap()))
        .collect();
    assert_eq!(tokens, [("aws", "sts.amazonaws.com"), ("azure", "api://AzureADTokenExchange")]);
    let mounts = |container: &Value| container["volumeMounts"].to_string();
    assert!(mounts(&pod["spec"]["initContainers"][0]).contains("vectoll-identity"));
    assert!(!mounts(&pod["spec"]["containers"][0]).contains("vectoll-identity"), "not the application's");
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

fn name() -> impl Strategy<Value = &'static str> {
    select(vec!["app", "mesh", "job", "vectoll-sidecar"])
}

fn container() -> impl Strategy<Value = Value> {
    let variable = select(vec!["OPENAI_API_KEY", "OPENAI_BASE_URL", "OTHER"])
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
                        !variable["name"].as_str().unwrap().starts_with("OPENAI_") || variable["value"] == "own"
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
