//! What the scenarios share: an API server, an operator, and short ways to look.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use vectoll_config::v1::Config;
use vectoll_crds::ApiKey;
use vectoll_sidecar::policy::{Identity, SharedState, compile};
use vectoll_tests::{
    cluster::{Light, Operator},
    pair::poll,
};
use vectoll_upstream::{health::BackendMetrics, provider::egress::Egress};

/// Five times what users are promised.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// The operator's namespace and its Lease.
pub const SCOPE: &str = "default.vectoll-operator";

pub struct World {
    pub operator: Operator,
    pub client: Client,
    // Last: the API server goes when the operator is gone.
    pub light: Light,
}

impl World {
    pub async fn start() -> anyhow::Result<Self> {
        let light = Light::start().await?;
        let operator = Operator::start(&light, "one", &[]).await?;
        let client = light.client().await?;
        Ok(Self { operator, client, light })
    }

    pub fn namespace(&self, name: &str) -> anyhow::Result<()> {
        self.light
            .apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{of: test}}}}}}"))
    }

    pub async fn key(&self, namespace: &str, name: &str) -> anyhow::Result<Option<ApiKey>> {
        Ok(Api::<ApiKey>::namespaced(self.client.clone(), namespace).get_opt(name).await?)
    }

    pub async fn secret(&self, namespace: &str, name: &str) -> anyhow::Result<Option<Secret>> {
        Ok(Api::<Secret>::namespaced(self.client.clone(), namespace).get_opt(name).await?)
    }

    /// The value of a key.
    pub async fn value(&self, namespace: &str, secret: &str) -> anyhow::Result<String> {
        let secret = self.secret(namespace, secret).await?.context("no Secret")?;
        entry(&secret, "key").context("no entry \"key\"")
    }

    /// The config that a namespace's sidecars read, and its other files.
    pub async fn config(&self, namespace: &str) -> anyhow::Result<Option<(Config, BTreeMap<String, String>)>> {
        let Some(secret) = self.secret(namespace, "vectoll-sidecar").await? else { return Ok(None) };
        let mut files: BTreeMap<String, String> = secret
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| (name, String::from_utf8_lossy(&value.0).into_owned()))
            .collect();
        let text = files.remove("config.v1.yaml").context("no config.v1.yaml")?;
        let config = vectoll_config::read_v1(&text)?;
        // What no sidecar could serve is no config.
        let contents = files.iter().map(|(name, text)| (name.clone(), text.clone().into_bytes())).collect();
        let withheld = config.store.as_ref().is_some_and(|store| store.password_file.is_some()) && files.is_empty();
        if !files.is_empty() || !withheld && config.routes.iter().all(|route| route.backends.iter().all(is_free)) {
            let lasting = SharedState::new(Identity::default(), Egress::default(), BackendMetrics::unseen()?)?;
            compile(config.clone(), &contents, &lasting, None)?;
        }
        Ok(Some((config, files)))
    }

    /// Waits until a key's condition has a status and reason.
    pub async fn until_key(
        &self,
        namespace: &str,
        name: &str,
        condition: &str,
        wanted: &str,
    ) -> anyhow::Result<ApiKey> {
        let what = format!("ApiKey {namespace}/{name} {condition}={wanted}");
        until(&what, async || {
            let key = self.key(namespace, name).await?;
            let found = key.as_ref().and_then(|key| key.status.as_ref()).and_then(|status| {
                let condition = status.conditions.iter().find(|found| found.type_ == condition)?;
                Some(format!("{}/{}", condition.status, condition.reason))
            });
            Ok(key.filter(|_| found.as_deref() == Some(wanted)))
        })
        .await
    }

    /// Waits until a Team's or `ModelRoute`'s condition has a status and reason. Returns its message.
    pub async fn until_other(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        condition: &str,
        wanted: &str,
    ) -> anyhow::Result<String> {
        until(&format!("{resource} {namespace}/{name} {condition}={wanted}"), async || {
            let text = self.light.kubectl(&["get", resource, name, "-n", namespace, "-o", "json"], None)?;
            let object: serde_json::Value = serde_json::from_str(&text)?;
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let found = conditions.into_iter().find(|found| found["type"] == condition).unwrap_or_default();
            let told = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
            let is_so = format!("{}/{}", told("status"), told("reason")) == wanted;
            Ok(is_so.then(|| told("message")))
        })
        .await
    }

    /// Waits until a namespace's config is as it should be.
    pub async fn until_config<T>(
        &self,
        namespace: &str,
        what: &str,
        found: impl Fn(&Config, &BTreeMap<String, String>) -> Option<T>,
    ) -> anyhow::Result<T> {
        until(&format!("the config of {namespace} {what}"), async || {
            Ok(self.config(namespace).await?.and_then(|(config, files)| found(&config, &files)))
        })
        .await
    }

    /// Reasons of the events on a resource.
    pub fn events(&self, namespace: &str, name: &str) -> anyhow::Result<Vec<String>> {
        let path = format!("jsonpath={{range .items[?(@.regarding.name==\"{name}\")]}}{{.reason}}{{\"\\n\"}}{{end}}");
        let text = self.light.kubectl(&["get", "events.events.k8s.io", "-n", namespace, "-o", &path], None)?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// Whether a backend needs no credential.
fn is_free(backend: &vectoll_config::v1::Backend) -> bool {
    backend.files().next().is_none()
}

pub fn entry(secret: &Secret, name: &str) -> Option<String> {
    Some(String::from_utf8_lossy(&secret.data.as_ref()?.get(name)?.0).into_owned())
}

pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    poll::until(what, DEADLINE, look).await
}

/// A Team, and a key of it, in YAML.
pub fn team_and_key(namespace: &str, key: &str, more: &str) -> String {
    format!(
        "{{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {{name: team, namespace: {namespace}}}, spec: {{}}}}\n\
         ---\n{}",
        api_key(namespace, key, more)
    )
}

/// An ApiKey in YAML; `more` is flow YAML that begins with a comma.
pub fn api_key(namespace: &str, name: &str, more: &str) -> String {
    format!(
        "{{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {{name: {name}, namespace: {namespace}}}, spec: \
         {{teamRef: {{name: team}}{more}}}}}\n"
    )
}
