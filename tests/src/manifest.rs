//! Manifests for tests, written as JSON, which is YAML.

#![allow(clippy::needless_pass_by_value, reason = "callers write json!(…) in place")]

use serde_json::{Value, json};

/// The key that the test provider wants.
pub const PROVIDER_KEY: &str = "sk-provider-0123456789";

/// The value of the key that [`api_key`] makes under this name.
pub fn key_value(name: &str) -> String {
    format!("sk-test-{name}-0123456789abcdef")
}

/// An object with the fields of another one on top.
pub fn on_top(mut whole: Value, more: Value) -> Value {
    if let (Some(whole), Value::Object(more)) = (whole.as_object_mut(), more) {
        whole.extend(more);
    }
    whole
}

/// A resource of ours in namespace `default`.
pub fn resource(kind: &str, name: &str, spec: Value) -> Value {
    resource_in("default", kind, name, spec)
}

/// A resource of ours.
pub fn resource_in(namespace: &str, kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "vectoll.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

/// A Secret.
pub fn secret(namespace: &str, name: &str, entries: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": entries,
    })
}

/// A Team in namespace `default`.
pub fn team(name: &str, spec: Value) -> Value {
    resource("Team", name, spec)
}

/// An ApiKey of a Team in namespace `default`, with a Secret that holds [`key_value`]. `spec` goes on top.
pub fn api_key(name: &str, team: &str, spec: Value) -> Vec<Value> {
    let whole = json!({"teamRef": {"name": team}, "user": name, "secretRef": {"name": format!("{name}-key")}});
    vec![
        resource("ApiKey", name, on_top(whole, spec)),
        secret("default", &format!("{name}-key"), json!({"key": key_value(name)})),
    ]
}

/// A backend at a provider, at 0.02 USD a million tokens of `cl100k_base`, with the key in the Secret `provider`. All of them are of one
/// space, whatever their models are called. `more` goes on top.
pub fn backend(name: &str, model: &str, provider: &str, more: Value) -> Value {
    let whole = json!({
        "name": name,
        "model": model,
        "openAI": {"baseURL": provider, "apiKeySecretRef": {"name": "provider", "key": "api-key"}},
        "space": "one",
        "price": {"inputPerMillionTokens": "0.02"},
        "tokens": {"encoding": "cl100k_base"},
    });
    on_top(whole, more)
}

/// A ModelRoute in namespace `default` for some models at a provider, at 0.02 USD a million tokens, and the Secret with
/// the provider's key. Models keep their names.
pub fn route(name: &str, models: &[&str], provider: &str) -> Vec<Value> {
    let backend = json!({
        "name": "test",
        "openAI": {"baseURL": provider, "apiKeySecretRef": {"name": "provider", "key": "api-key"}},
        "price": {"inputPerMillionTokens": "0.02"},
        "tokens": {"encoding": "cl100k_base"},
    });
    vec![
        resource("ModelRoute", name, json!({"models": models, "backends": [backend]})),
        secret("default", "provider", json!({"api-key": PROVIDER_KEY})),
    ]
}

/// A ModelRoute in namespace `default` on the built-in model, at 0.02 USD a million tokens.
pub fn builtin(name: &str, models: &[&str]) -> Value {
    let backend = json!({"name": "builtin", "builtin": {}, "price": {"inputPerMillionTokens": "0.02"}});
    resource("ModelRoute", name, json!({"models": models, "backends": [backend]}))
}

/// A file of several documents.
pub fn file(documents: impl IntoIterator<Item = Value>) -> String {
    documents.into_iter().fold(String::new(), |file, document| file + &format!("---\n{document:#}\n"))
}
