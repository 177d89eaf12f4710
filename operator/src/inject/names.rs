//! Names and ports that pods, users and sidecars know.

/// The label by which a pod asks for a sidecar, or a namespace for one in each of its pods that do not say `false`; its value is `true`.
pub const INJECT_LABEL: &str = "vectoll.dev/inject";
/// The label that says which version of the config contract the pod's sidecar reads.
pub const CONTRACT_LABEL: &str = "vectoll.dev/contract";
/// The version that it says.
pub const CONTRACT: &str = "v1";
/// The annotation that names the pod's own ApiKey.
pub const API_KEY_ANNOTATION: &str = "vectoll.dev/api-key";
/// The annotation by which calls without any key count as the pod's own; its value is `true`.
pub const KEYLESS_ANNOTATION: &str = "vectoll.dev/keyless";
/// What the annotations begin with by which a pod, or its namespace, changes its sidecars: `vectoll.dev/sidecar-cpu-request`.
pub const SIDECAR_PREFIX: &str = "vectoll.dev/sidecar-";
/// What follows in all that there are.
pub(super) const SIDECAR_ANNOTATIONS: [&str; 13] = [
    "cpu-limit",
    "cpu-request",
    "drain-timeout-seconds",
    "ephemeral-storage-limit",
    "ephemeral-storage-request",
    "http-proxy",
    "https-proxy",
    "log-format",
    "log-level",
    "memory-limit",
    "memory-request",
    "no-proxy",
    "probe",
];
/// The name of the sidecar's container.
pub const CONTAINER: &str = "vectoll-sidecar";
/// The Secret that the sidecar mounts.
pub const CONFIG_SECRET: &str = "vectoll-sidecar";

/// Where applications call the sidecar.
pub(super) const PROXY_PORT: i32 = 4000;

/// Where probes and Prometheus do.
pub(super) const ADMIN_PORT: i32 = 4001;
