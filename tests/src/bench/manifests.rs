//! The resources of the sidecar under test: everything on, nothing ever reached.

use std::fmt::Write;
use std::net::SocketAddr;

use super::responder::Responder;

/// The key that the load generator sends.
pub const KEY: &str = "sk-bench-0123456789";
/// The model of calls that are large on purpose, at a provider of its own.
pub const LARGE_MODEL: &str = "bench-large";
/// Keys in a file of manifests.
const KEYS_IN_A_FILE: usize = 1_000;

/// What the sidecar is configured with.
#[derive(Debug, Clone)]
pub struct Resources {
    /// The provider's base URL.
    pub provider: String,
    /// The provider's CA, if it needs one.
    pub ca: Option<String>,
    /// What calls are held to.
    pub limits: Limits,
    /// How many keys there are; the one that is used is among them.
    pub keys: usize,
    /// How many routes there are, the two that are used besides.
    pub further_routes: usize,
    /// Where [`LARGE_MODEL`] is.
    pub large: Option<SocketAddr>,
    /// Who carries out the routes' calls: the gateway, or the sidecar itself.
    pub by_gateway: bool,
    /// The Team's limit on requests, a number that an edit may change.
    pub requests_per_minute: u64,
}

/// What calls are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Limits on requests, tokens and calls at a time, of key and Team.
    pub rates: bool,
    /// A limit for each end user.
    pub users: bool,
    /// A budget of the key, and one of the Team.
    pub budgets: bool,
}

impl Limits {
    /// All of them.
    pub const ALL: Self = Self { rates: true, users: true, budgets: true };
    /// None of them.
    pub const NONE: Self = Self { rates: false, users: false, budgets: false };
}

impl Resources {
    /// Everything on, for calls that go to a provider.
    pub fn new(provider: &Responder) -> Self {
        Self {
            provider: provider.base_url(),
            ca: provider.certificate().map(|made| made.certificate.clone()),
            limits: Limits::ALL,
            keys: 1,
            further_routes: 0,
            large: None,
            by_gateway: false,
            requests_per_minute: 100_000_000,
        }
    }

    /// The file with the Team, the only one that an edit changes.
    pub fn team(&self) -> (String, String) {
        let Self { limits, requests_per_minute, .. } = self;
        let mut spec = String::new();
        if limits.rates {
            let further = "tokensPerMinute: 1000000000000, parallelRequests: 100000";
            // Writing to a string cannot fail.
            let _ = write!(spec, "\n  limits: {{requestsPerMinute: {requests_per_minute}, {further}}}");
        }
        if limits.users {
            spec += "\n  userLimits: {requestsPerMinute: 100000000}";
        }
        if limits.budgets {
            spec += "\n  budget: {limit: \"1000000.00\", period: Monthly, timeZone: Europe/Berlin}";
        }
        let spec = if spec.is_empty() { " {}".to_owned() } else { spec };
        let head = "apiVersion: vectoll.dev/v1alpha1\nkind: Team\nmetadata: {name: search, namespace: default}\nspec:";
        ("team.yaml".to_owned(), format!("{head}{spec}\n"))
    }

    /// All files of manifests, by name.
    pub fn files(&self) -> Vec<(String, String)> {
        let mut files = vec![self.team(), ("routes.yaml".to_owned(), self.routes())];
        let all: Vec<usize> = (0..self.keys).collect();
        for (number, chunk) in all.chunks(KEYS_IN_A_FILE).enumerate() {
            let keys: String = chunk.iter().map(|key| self.key(*key)).collect();
            files.push((format!("keys-{number}.yaml"), keys));
        }
        files
    }

    /// The values of all keys.
    pub fn key_values(&self) -> Vec<String> {
        (0..self.keys).map(value).collect()
    }

    /// The first one is the one that is used.
    fn key(&self, number: usize) -> String {
        let name = if number == 0 { "bench".to_owned() } else { format!("key-{number}") };
        let value = value(number);
        let Limits { rates, budgets, users: _ } = self.limits;
        let mut spec = String::new();
        if rates {
            spec +=
                "\n  limits: {requestsPerMinute: 100000000, tokensPerMinute: 1000000000000, parallelRequests: 100000}";
        }
        if budgets {
            spec += "\n  budget: {limit: \"1000000.00\", period: Daily}";
        }
        format!(
            "---
apiVersion: vectoll.dev/v1alpha1
kind: ApiKey
metadata: {{name: {name}, namespace: default}}
spec:
  teamRef: {{name: search}}
  user: alice
  secretRef: {{name: {name}-key}}{spec}
---
apiVersion: v1
kind: Secret
metadata: {{name: {name}-key, namespace: default}}
stringData: {{key: {value}}}
"
        )
    }

    fn routes(&self) -> String {
        let mut out = "apiVersion: v1
kind: Secret
metadata: {name: provider, namespace: default}
stringData: {api-key: sk-provider-0123456789}
"
        .to_owned();
        let provider = &self.provider;
        if let Some(ca) = &self.ca {
            out += &ca_secret(ca);
        }
        let trust = if self.ca.is_some() { TRUST } else { "" };
        // Of the route, and no longer of its backend.
        let delivery = if self.by_gateway { "\n  delivery: Gateway" } else { "" };
        let further = format!("{trust}{delivery}");
        for (name, model) in [("small", "text-embedding-3-small"), ("large", "text-embedding-3-large")] {
            out += &route(name, model, provider, &further);
        }
        for number in 0..self.further_routes {
            let name = format!("further-{number}");
            out += &route(&name, &name, provider, &further);
        }
        if let Some(address) = self.large {
            // In one request, however large: what is measured is the sidecar, and not how many answers its provider writes.
            let whole = "\n    batch: {maxItems: 2048, maxTokens: 1000000000}";
            out += &route("bench-large", LARGE_MODEL, &format!("http://{address}/v1"), whole);
        }
        out
    }
}

/// A key's value.
fn value(number: usize) -> String {
    if number == 0 { KEY.to_owned() } else { format!("sk-bench-another-{number:08}") }
}

/// A backend's trust in [`ca_secret`].
pub(super) const TRUST: &str = "\n    caSecretRef: {name: provider-ca}";

/// The Secret with a provider's CA.
pub(super) fn ca_secret(ca: &str) -> String {
    let lines = ca.lines().fold(String::new(), |lines, line| lines + "\n    " + line);
    format!(
        "---
apiVersion: v1
kind: Secret
metadata: {{name: provider-ca, namespace: default}}
stringData:
  ca.crt: |{lines}
"
    )
}

/// A route for one model, to a provider that speaks `OpenAI`'s API.
pub(super) fn route(name: &str, model: &str, provider: &str, further: &str) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "---
apiVersion: vectoll.dev/v1alpha1
kind: ModelRoute
metadata: {{name: {name}, namespace: default}}
spec:
  models: [{model}]
  backends:
  - name: openai
    model: {model}
    openAI:
      baseURL: {provider}
      apiKeySecretRef: {{name: provider, key: api-key}}
    price: {{inputPerMillionTokens: \"0.02\"}}{further}
"
    );
    out
}

#[cfg(test)]
mod tests {
    use super::super::tls::Certificate;
    use super::*;

    /// What the documents of a file are, and how they are called.
    fn documents(text: &str) -> Vec<(String, String)> {
        use serde::Deserialize;
        let of = |document| {
            let found = serde_yaml::Value::deserialize(document).unwrap();
            let text = |value: &serde_yaml::Value| value.as_str().unwrap().to_owned();
            (text(&found["kind"]), text(&found["metadata"]["name"]))
        };
        serde_yaml::Deserializer::from_str(text).map(of).collect()
    }

    #[test]
    fn manifests_are_as_many_as_asked_for() {
        let responder = Responder::start(None, Some(Certificate::generate().unwrap()), &[]).unwrap();
        let resources = Resources {
            keys: 2_001,
            further_routes: 3,
            large: Some(responder.address()),
            ..Resources::new(&responder)
        };
        let files = resources.files();
        assert_eq!(files.len(), 5);
        let all: Vec<_> = files.iter().flat_map(|(_, text)| documents(text)).collect();
        let count = |kind: &str| all.iter().filter(|(found, _)| found == kind).count();
        assert_eq!((count("Team"), count("ApiKey"), count("Secret"), count("ModelRoute")), (1, 2_001, 2_003, 6));
        assert!(files[1].1.contains("https://127.0.0.1") && files[1].1.contains("    -----BEGIN CERTIFICATE-----"));
        let bare = Resources { limits: Limits::NONE, ..Resources::new(&responder) };
        assert!(bare.team().1.ends_with("spec: {}\n"));
        assert!(!bare.files().iter().any(|(_, text)| text.contains("imits:") || text.contains("budget")));
    }
}
