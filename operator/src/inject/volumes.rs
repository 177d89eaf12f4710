//! The sidecar's volumes and where it mounts them.

use k8s_openapi::{
    api::core::v1::{
        EmptyDirVolumeSource, PodSpec, ProjectedVolumeSource, SecretVolumeSource, ServiceAccountTokenProjection,
        Volume, VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::{edits::Edits, names::CONFIG_SECRET, settings::InjectionSettings};

/// What the names of all our volumes begin with.
pub(super) const PREFIX: &str = "vectoll-";
/// The config and the providers' credentials.
const CONFIG: &str = "vectoll-config";
/// The books.
pub(super) const STATE: &str = "vectoll-state";
/// Nothing, in place of the service account's token.
const NO_TOKEN: &str = "vectoll-no-token";
/// Tokens for providers' clouds and for the gateway.
const IDENTITY: &str = "vectoll-identity";

/// Where the sidecar finds its config.
pub(super) const CONFIG_DIR: &str = "/etc/vectoll/config";
/// Where it keeps its books.
pub(super) const STATE_DIR: &str = "/var/lib/vectoll";
/// Where it finds those tokens.
pub(super) const IDENTITY_DIR: &str = "/var/run/secrets/vectoll.dev/identity";
/// Where the admission plugin `ServiceAccount` mounts a token into every container that mounts nothing there. It runs
/// before the webhooks and again after them, and compares this very path.
const TOKEN_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Whether a name is that of one of our volumes.
pub(super) fn is_ours(name: &str) -> bool {
    [CONFIG, STATE, NO_TOKEN, IDENTITY].contains(&name)
}

/// Puts our volumes among the pod's, in place of what an earlier injection put there.
pub(super) fn add(spec: &PodSpec, settings: &InjectionSettings, edits: &mut Edits) {
    let list = ["spec", "volumes"];
    let present = spec.volumes.as_deref().unwrap_or_default();
    let mut exists = spec.volumes.is_some();
    // From the back, so that what is still to be removed keeps its place.
    for (i, _) in present.iter().enumerate().rev().filter(|(_, volume)| is_ours(&volume.name)) {
        edits.remove(&list, i);
    }
    for volume in [config(), state(), no_token()].into_iter().chain(identity(settings)) {
        edits.insert(&list, exists, "-", &volume);
        exists = true;
    }
}

/// The sidecar's mounts.
pub(super) fn mounts(settings: &InjectionSettings) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts =
        vec![mount(CONFIG, CONFIG_DIR, true), mount(STATE, STATE_DIR, false), mount(NO_TOKEN, TOKEN_DIR, true)];
    mounts.extend(identity(settings).map(|_| mount(IDENTITY, IDENTITY_DIR, true)));
    mounts
}

/// Not optional: a pod never starts before its config is there.
fn config() -> Volume {
    let secret = SecretVolumeSource {
        secret_name: Some(CONFIG_SECRET.to_owned()),
        // Files of a Secret belong to root and to the pod's fsGroup, which is the pod's own business and mostly unset.
        // The sidecar is neither, so it reads them as anyone; and no other container mounts this volume.
        default_mode: Some(0o444),
        ..SecretVolumeSource::default()
    };
    Volume { name: CONFIG.to_owned(), secret: Some(secret), ..Volume::default() }
}

/// On the node's disk, to outlive a restart of the container. The limit is far above what the books take: a pod that
/// passes it is evicted.
fn state() -> Volume {
    let empty =
        EmptyDirVolumeSource { size_limit: Some(Quantity("384Mi".to_owned())), ..EmptyDirVolumeSource::default() };
    Volume { name: STATE.to_owned(), empty_dir: Some(empty), ..Volume::default() }
}

/// Tokens of the pod's service account that are good for one cloud each, or for the gateway, and not for the API server.
fn identity(settings: &InjectionSettings) -> Option<Volume> {
    let token = |(name, audience, life): (&str, &str, i64)| VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            audience: Some(audience.to_owned()),
            expiration_seconds: Some(life),
            path: name.to_owned(),
        }),
        ..VolumeProjection::default()
    };
    let sources: Vec<VolumeProjection> = settings.tokens().map(token).collect();
    let projected = ProjectedVolumeSource { default_mode: Some(0o444), sources: Some(sources) };
    let is_there = projected.sources.as_ref().is_some_and(|sources| !sources.is_empty());
    is_there.then(|| Volume { name: IDENTITY.to_owned(), projected: Some(projected), ..Volume::default() })
}

/// In memory, where nobody takes it for data that an eviction would lose.
fn no_token() -> Volume {
    let empty =
        EmptyDirVolumeSource { medium: Some("Memory".to_owned()), size_limit: Some(Quantity("4Ki".to_owned())) };
    Volume { name: NO_TOKEN.to_owned(), empty_dir: Some(empty), ..Volume::default() }
}
