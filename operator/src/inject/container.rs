//! The sidecar's container.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector, PodSpec,
        Probe, ResourceRequirements, SeccompProfile, SecurityContext,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

use super::{
    ADMIN_PORT, CONTAINER, Earlier, PROXY_PORT, edits::Edits, settings::InjectionSettings, volumes, wish::Wish,
};

const ADMIN_PORT_NAME: &str = "vectoll-admin";
/// The user of distroless images, and no one on a node.
const USER: i64 = 65532;

/// Puts the sidecar in front of the other init containers, in place of one that an earlier injection put there: as a
/// native sidecar it is up before all of them, and gone after the application.
pub(super) fn put_first(
    spec: &PodSpec,
    earlier: &Earlier<'_>,
    wish: &Wish,
    settings: &InjectionSettings,
    edits: &mut Edits,
) {
    let list = ["spec", "initContainers"];
    if let Some((index, _)) = earlier.sidecar {
        edits.remove(&list, index);
    }
    let filled_in = earlier.sidecar.and_then(|(_, container)| container.resources.as_ref());
    edits.insert(&list, spec.init_containers.is_some(), "0", &sidecar(wish, settings, filled_in));
}

fn sidecar(wish: &Wish, settings: &InjectionSettings, filled_in: Option<&ResourceRequirements>) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some(settings.image_pull_policy.as_str().to_owned()),
        restart_policy: Some("Always".to_owned()),
        env: Some(variables(wish, settings)),
        ports: Some(vec![ContainerPort {
            name: Some(ADMIN_PORT_NAME.to_owned()),
            container_port: ADMIN_PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        // Passes once a config is loaded; until then the application does not start. A config that is refused can be
        // mended meanwhile.
        startup_probe: Some(Probe { period_seconds: Some(1), failure_threshold: Some(300), ..ready() }),
        readiness_probe: Some(Probe { period_seconds: Some(5), failure_threshold: Some(2), ..ready() }),
        // No liveness probe: a sidecar that counts a large batch on its one thread may be late for it, and a restart
        // would cut off every call under way.
        resources: Some(resources(settings, filled_in)),
        security_context: Some(restricted()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(volumes::mounts(settings)),
        ..Container::default()
    }
}

/// The sidecar's settings; see `vectoll-sidecar --help`.
fn variables(wish: &Wish, settings: &InjectionSettings) -> Vec<EnvVar> {
    let drain = settings.drain_timeout_seconds.to_string();
    let mut pairs = vec![
        ("VECTOLL_CONFIG_DIR", volumes::CONFIG_DIR.to_owned()),
        ("VECTOLL_STATE_DIR", volumes::STATE_DIR.to_owned()),
        ("VECTOLL_LISTEN", format!("127.0.0.1:{PROXY_PORT}")),
        // Probes and Prometheus come by the pod's address, of either family.
        ("VECTOLL_ADMIN_LISTEN", format!("[::]:{ADMIN_PORT}")),
        ("VECTOLL_DRAIN_TIMEOUT_SECONDS", drain),
        ("VECTOLL_LOG_FORMAT", settings.log_format.as_str().to_owned()),
        ("VECTOLL_LOG", settings.log_filter.clone()),
    ];
    if settings.workload_identity.tokens().next().is_some() {
        pairs.push(("VECTOLL_IDENTITY_DIR", volumes::IDENTITY_DIR.to_owned()));
    }
    if let Some(own) = &wish.own_key {
        pairs.push(("VECTOLL_POD_API_KEY", own.name.to_string()));
        if own.keyless {
            pairs.push(("VECTOLL_KEYLESS", "true".to_owned()));
        }
    }
    let ours =
        pairs.into_iter().map(|(name, value)| EnvVar { name: name.to_owned(), value: Some(value), value_from: None });
    // Which pod says what it serves by. A name that is generated is not known before the pod is made.
    let field = ObjectFieldSelector { api_version: None, field_path: "metadata.name".to_owned() };
    let pod_name = EnvVar {
        name: "VECTOLL_POD_NAME".to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    };
    ours.chain([pod_name]).chain(settings.env.iter().cloned().map(EnvVar::from)).collect()
}

/// `GET /readyz`: a config is loaded, and the sidecar is not about to stop. It does not hang on providers.
fn ready() -> Probe {
    let get = HTTPGetAction {
        path: Some("/readyz".to_owned()),
        port: IntOrString::String(ADMIN_PORT_NAME.to_owned()),
        ..HTTPGetAction::default()
    };
    Probe { http_get: Some(get), timeout_seconds: Some(2), ..Probe::default() }
}

/// The settings' resources, and beside them what the cluster's own policy has filled in since an earlier injection (a
/// `LimitRange` sets defaults, and later refuses containers without them).
fn resources(settings: &InjectionSettings, filled_in: Option<&ResourceRequirements>) -> ResourceRequirements {
    let merge = |ours: &BTreeMap<String, Quantity>, filled_in: Option<&BTreeMap<String, Quantity>>| {
        let mut all = filled_in.cloned().unwrap_or_default();
        all.extend(ours.clone());
        (!all.is_empty()).then_some(all)
    };
    ResourceRequirements {
        requests: merge(&settings.resources.requests, filled_in.and_then(|other| other.requests.as_ref())),
        limits: merge(&settings.resources.limits, filled_in.and_then(|other| other.limits.as_ref())),
        claims: None,
    }
}

/// What the Pod Security Standard `restricted` asks for, and a root that cannot be written.
fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_group: Some(USER),
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}
