//! How the sidecars of a cluster are set up: a file that the chart renders.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{EnvVar, EnvVarSource},
    apimachinery::pkg::api::resource::Quantity,
};
use serde::Deserialize;
use vectoll_config::{GATEWAY_AUDIENCE, GATEWAY_TOKEN_FILE};

use super::{amounts::memory_fault, names::SIDECAR_ANNOTATIONS};

/// Settings of every sidecar that is injected. Unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InjectionSettings {
    /// The image; its entrypoint is the sidecar.
    pub image: String,
    /// When the image is pulled.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// What the container asks for and may use.
    #[serde(default)]
    pub resources: Resources,
    /// The form of the sidecars' logs.
    #[serde(default)]
    pub log_format: LogFormat,
    /// What they log.
    #[serde(default = "info")]
    pub log_filter: String,
    /// Further variables of the sidecar's.
    #[serde(default)]
    pub env: Vec<Variable>,
    /// Seconds that calls under way get to finish when a pod ends.
    #[serde(default = "drain_timeout")]
    pub drain_timeout_seconds: u32,
    /// Tokens of the pod's own service account that the sidecar gets.
    #[serde(default)]
    pub workload_identity: WorkloadIdentity,
    /// Namespaces in which a pod that asks for a sidecar is refused.
    #[serde(default)]
    pub excluded_namespaces: Vec<String>,
    /// Where callers find the gateway, if only that has credentials: a pod that asks for a sidecar is refused then, and told so.
    #[serde(default)]
    pub gateway_only: Option<String>,
    /// Whether sidecars get a token that proves their pod's namespace to the gateway.
    #[serde(default)]
    pub gateway_token: bool,
    /// The user and group of the sidecar's container; null: the platform chooses, as `OpenShift` does.
    #[serde(default = "user")]
    pub run_as_user: Option<i64>,
    /// Whether the sidecars' metrics tell end users apart.
    #[serde(default = "yes")]
    pub user_metrics: bool,
    /// How the kubelet asks whether a sidecar is ready.
    #[serde(default)]
    pub probe: ProbeKind,
    /// Annotations that no workload may set, without what all of them begin with: `https-proxy`.
    #[serde(default)]
    pub locked_annotations: Vec<String>,
}

/// How the kubelet asks whether a sidecar is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ProbeKind {
    /// By a process in the pods of a service mesh, by HTTP in all others.
    #[default]
    Auto,
    /// By HTTP, to the pod's address.
    Http,
    /// By a process in the container.
    Exec,
}

/// Tokens of the pod's own service account for providers' clouds, each for one audience only, and for the sidecar alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadIdentity {
    /// AWS: exchanged for keys of a role.
    #[serde(default)]
    pub aws: Audience,
    /// Microsoft Entra ID: stands for an application.
    #[serde(default)]
    pub azure: Audience,
    /// Google Cloud: workload identity federation.
    #[serde(default)]
    pub google: Audience,
    /// OpenAI: exchanged for a token of a service account's.
    #[serde(default)]
    pub openai: Audience,
}

/// Whom a token is for; empty: there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audience {
    /// The audience, as the cloud's identity provider expects it.
    #[serde(default)]
    pub audience: String,
}

impl WorkloadIdentity {
    /// The clouds' tokens by the names of their files.
    fn tokens(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Self { aws, azure, google, openai } = self;
        let all = [("aws", aws), ("azure", azure), ("google", google), ("openai", openai)];
        all.into_iter().map(|(name, of)| (name, &*of.audience)).filter(|(_, audience)| !audience.is_empty())
    }
}

/// How long a token for a cloud is good, in seconds. The kubelet renews it in time.
const CLOUD_TOKEN_LIFE: i64 = 3600;
/// And one for the gateway: the shortest that a cluster issues.
const GATEWAY_TOKEN_LIFE: i64 = 600;

impl InjectionSettings {
    /// The tokens of the pod's service account that the sidecar gets: each one's file, audience and life.
    pub(super) fn tokens(&self) -> impl Iterator<Item = (&'static str, &str, i64)> {
        let gateway = (GATEWAY_TOKEN_FILE, GATEWAY_AUDIENCE, GATEWAY_TOKEN_LIFE);
        let clouds = self.workload_identity.tokens().map(|(file, audience)| (file, audience, CLOUD_TOKEN_LIFE));
        clouds.chain(self.gateway_token.then_some(gateway))
    }
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// If the node does not have it.
    #[default]
    IfNotPresent,
    /// Not at all.
    Never,
}

impl PullPolicy {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// The form of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

impl LogFormat {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
        }
    }
}

/// What a container asks for and may use, as Kubernetes writes it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// What the scheduler sets aside.
    #[serde(default)]
    pub requests: BTreeMap<String, Quantity>,
    /// What it cannot go beyond.
    #[serde(default)]
    pub limits: BTreeMap<String, Quantity>,
}

impl Default for Resources {
    /// Room for the built-in model, a tokenizer and some large batches at a time. No limit on CPU: throttled, the sidecar
    /// would slow down every call of its application.
    fn default() -> Self {
        let amounts = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|&(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).collect()
        };
        Self { requests: amounts(&[("cpu", "50m"), ("memory", "64Mi")]), limits: amounts(&[("memory", "256Mi")]) }
    }
}

/// A variable of the sidecar's environment, as Kubernetes writes it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(default)]
    pub value: Option<String>,
    /// Where its value is from.
    #[serde(default)]
    pub value_from: Option<EnvVarSource>,
}

impl From<Variable> for EnvVar {
    fn from(Variable { name, value, value_from }: Variable) -> Self {
        Self { name, value, value_from }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not of the right form.
    #[error("{0}")]
    Form(#[from] serde_path_to_error::Error<serde_yaml::Error>),
    /// No image.
    #[error("image: is empty: name the sidecar's image")]
    NoImage,
    /// A variable that injection sets itself.
    #[error(
        "env[{index}].name: {name} is set by the injection itself: use the field that stands for it, or leave it out"
    )]
    Ours {
        /// Where in the list.
        index: usize,
        /// The variable.
        name: String,
    },
    /// A user that the container would not start as.
    #[error(
        "runAsUser: {0} is not a user that is allowed: a number from 1 to 2147483647, or null to leave it to the platform"
    )]
    User(i64),
    /// Less memory than a sidecar needs.
    #[error("resources.limits.memory: {0}")]
    Memory(String),
    /// An annotation that there is not.
    #[error("lockedAnnotations[{index}]: {name:?} is not known: one of {}", SIDECAR_ANNOTATIONS.join(", "))]
    Locked {
        /// Where in the list.
        index: usize,
        /// What is in it.
        name: String,
    },
    /// The same variable twice.
    #[error("env[{index}].name: {name} is listed twice")]
    Twice {
        /// Where in the list.
        index: usize,
        /// The variable.
        name: String,
    },
}

/// What [`container`](super::container) sets.
const OURS: [&str; 12] = [
    "VECTOLL_ADMIN_LISTEN",
    "VECTOLL_CONFIG_DIR",
    "VECTOLL_DRAIN_TIMEOUT_SECONDS",
    "VECTOLL_IDENTITY_DIR",
    "VECTOLL_KEYLESS",
    "VECTOLL_LISTEN",
    "VECTOLL_LOG",
    "VECTOLL_LOG_FORMAT",
    "VECTOLL_POD_API_KEY",
    "VECTOLL_POD_NAME",
    "VECTOLL_STATE_DIR",
    "VECTOLL_USER_METRICS",
];

impl InjectionSettings {
    /// Reads and checks a file's content.
    pub fn read(yaml: &str) -> Result<Self, SettingsError> {
        let settings: Self = serde_path_to_error::deserialize(serde_yaml::Deserializer::from_str(yaml))?;
        if settings.image.trim().is_empty() {
            return Err(SettingsError::NoImage);
        }
        if let Some(user) = settings.run_as_user.filter(|user| !(1..=i64::from(i32::MAX)).contains(user)) {
            return Err(SettingsError::User(user));
        }
        if let Some(reason) = memory_fault(&settings.resources.limits) {
            return Err(SettingsError::Memory(reason));
        }
        for (index, name) in settings.locked_annotations.iter().enumerate() {
            if !SIDECAR_ANNOTATIONS.contains(&name.as_str()) {
                return Err(SettingsError::Locked { index, name: name.clone() });
            }
        }
        let mut seen = BTreeSet::new();
        for (index, Variable { name, .. }) in settings.env.iter().enumerate() {
            if OURS.contains(&name.as_str()) {
                return Err(SettingsError::Ours { index, name: name.clone() });
            }
            if !seen.insert(name) {
                return Err(SettingsError::Twice { index, name: name.clone() });
            }
        }
        Ok(settings)
    }
}

fn info() -> String {
    "info".to_owned()
}

fn drain_timeout() -> u32 {
    25
}

fn yes() -> bool {
    true
}

/// The user of distroless images, and no one on a node.
#[allow(clippy::unnecessary_wraps, reason = "what a missing field stands for")]
fn user() -> Option<i64> {
    Some(65532)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_image_is_enough() {
        let settings = InjectionSettings::read("image: registry.example/vectoll-sidecar:0.1.0").unwrap();
        assert_eq!(settings.image_pull_policy, PullPolicy::IfNotPresent);
        assert_eq!((settings.log_format, settings.log_filter.as_str()), (LogFormat::Json, "info"));
        assert_eq!(settings.drain_timeout_seconds, 25);
        assert_eq!((settings.run_as_user, settings.user_metrics, settings.probe), (Some(65532), true, ProbeKind::Auto));
        let platform = InjectionSettings::read("image: a\nrunAsUser: null").unwrap();
        assert_eq!(platform.run_as_user, None);
        assert_eq!(settings.resources.limits.get("memory"), Some(&Quantity("256Mi".to_owned())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (yaml, words) in [
            ("imagePullPolicy: Always", "missing field `image`"),
            ("image: ''", "image: is empty"),
            ("image: a\nimagepullpolicy: Always", "imagepullpolicy"),
            ("image: a\nimagePullPolicy: Sometimes", "imagePullPolicy"),
            ("image: a\nresources: {limit: {cpu: 1}}", "resources"),
            (
                "image: a\nenv: [{name: VECTOLL_LISTEN, value: x}]",
                "env[0].name: VECTOLL_LISTEN is set by the injection",
            ),
            ("image: a\nenv: [{name: A}, {name: A}]", "env[1].name: A is listed twice"),
            ("image: a\nenv: [{name: A, valuefrom: {}}]", "env[0]"),
            ("image: a\ndrainTimeoutSeconds: -1", "drainTimeoutSeconds"),
            ("image: a\nrunAsUser: 0", "runAsUser: 0 is not a user"),
            ("image: a\nprobe: Tcp", "probe"),
            (
                "image: a\nlockedAnnotations: [probe, proxy]",
                "lockedAnnotations[1]: \"proxy\" is not known: one of cpu-limit",
            ),
            (
                "image: a\nresources: {limits: {memory: 48Mi}}",
                "resources.limits.memory: \"48Mi\" is too little for a sidecar: at least 64Mi",
            ),
            ("image: a\nresources: {limits: {memory: 256MB}}", "resources.limits.memory: \"256MB\" is not a quantity"),
        ] {
            let error = InjectionSettings::read(yaml).unwrap_err().to_string();
            assert!(error.contains(words), "{yaml}: {error}");
        }
    }
}
