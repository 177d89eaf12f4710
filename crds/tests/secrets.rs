//! Whatever in a backend refers to a Secret is listed by `Provider::credentials`, or is its `caSecretRef`: the operator reads no other.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vectoll_crds::Backend;

/// A backend with every provider at once, and every reference that each can hold.
fn everything() -> Value {
    let key = json!({"name": "s", "key": "k"});
    let aws = json!({"name": "s"});
    let hosted = json!({"apiKeySecretRef": key});
    let own = json!({"baseURL": "http://x.example", "apiKeySecretRef": key});
    json!({
        "name": "all",
        "caSecretRef": {"name": "s"},
        "openAI": hosted,
        "azureOpenAI": {"endpoint": "https://x.example", "apiKeySecretRef": key,
            "entra": {"tenantID": "t", "clientID": "c", "clientSecretRef": key}},
        "bedrock": {"region": "us-east-1", "accessKeySecretRef": aws, "apiKeySecretRef": key},
        "cohere": hosted,
        "databricks": {"workspaceURL": "https://x.example", "apiKeySecretRef": key},
        "gemini": hosted,
        "huggingFace": own,
        "jina": hosted,
        "mistral": hosted,
        "nvidia": own,
        "ollama": {"baseURL": "http://x.example"},
        "sageMaker": {"region": "us-east-1", "endpointName": "e", "container": "OpenAI", "accessKeySecretRef": aws},
        "vertexAI": {"project": "p", "location": "global", "serviceAccountSecretRef": key},
        "voyage": hosted,
        "watsonx": {"baseURL": "https://x.example", "apiKeySecretRef": key},
    })
}

/// The paths of all properties of a schema that refer to Secrets.
fn references(path: &str, schema: &Value, found: &mut BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if name.ends_with("SecretRef") || name.ends_with("secretRef") {
            found.insert(path.clone());
        }
        references(&path, property, found);
    }
}

#[test]
fn every_reference_to_a_secret_is_listed() {
    let crd = vectoll_crds::definitions().into_iter().find(|crd| crd.spec.names.kind == "ModelRoute").unwrap();
    let crd = serde_json::to_value(crd).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut possible = BTreeSet::new();
    references("", &spec["properties"]["backends"]["items"], &mut possible);
    assert!(possible.len() > 14, "{possible:?}");

    let backend: Backend = serde_json::from_value(everything()).unwrap();
    let listed: BTreeSet<String> = backend
        .providers()
        .flat_map(|provider| {
            let of = provider.field();
            provider.credentials().into_iter().map(move |credential| format!("{of}.{}", credential.field))
        })
        .chain(backend.ca_secret_ref.iter().map(|_| "caSecretRef".to_owned()))
        .collect();
    assert_eq!(listed, possible);
}

#[test]
fn the_names_of_all_providers_are_told() {
    let mut backend: Backend = serde_json::from_value(everything()).unwrap();
    backend.builtin = Some(vectoll_crds::Builtin {});
    let set: BTreeSet<&str> = backend.providers().map(|provider| provider.field()).collect();
    assert_eq!(set, Backend::PROVIDERS.split(", ").collect());
}
