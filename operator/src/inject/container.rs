//! The sidecar's container.

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, ExecAction, HTTPGetAction, ObjectFieldSelector,
        PodSpec, Probe, ResourceRequirements, SeccompProfile, SecurityContext,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    amounts::held_bytes_of,
    earlier::Earlier,
    edits::Edits,
    injection_request::InjectionRequest,
    names::{ADMIN_PORT, CONTAINER, PROXY_PORT},
    settings::{InjectionSettings, ProbeKind},
    volumes,
};

const ADMIN_PORT_NAME: &str = "vectoll-admin";
/// The containers of meshes that redirect what comes into a pod. Under strict mTLS they refuse the kubelet, which has no
/// certificate; and they rewrite only the probes of containers that were there before them.
const MESH_PROXIES: [&str; 4] = ["istio-proxy", "linkerd-proxy", "kuma-sidecar", "consul-dataplane"];
/// The program in the image, and what asks it whether the sidecar is ready.
const HEALTH: [&str; 2] = ["/vectoll-sidecar", "health"];
/// What bounds the memory that calls hold.
const MAX_HELD_BYTES: &str = "VECTOLL_MAX_HELD_BYTES";

/// Puts the sidecar in front of the other init containers, in place of one that an earlier injection put there: as a
/// native sidecar it is up before all of them, and gone after the application.
pub(super) fn put_first(
    spec: &PodSpec,
    earlier: &Earlier<'_>,
    (request, resources): (&InjectionRequest, ResourceRequirements),
    settings: &InjectionSettings,
    edits: &mut Edits,
) {
    let list = ["spec", "initContainers"];
    if let Some(left) = earlier.sidecar {
        edits.remove(&["spec", left.list], left.index);
    }
    let sidecar = sidecar(spec, (request, resources), settings, earlier.sidecar.map(|left| left.container));
    edits.insert(&list, spec.init_containers.is_some(), "0", &sidecar);
}

fn sidecar(
    spec: &PodSpec,
    (request, resources): (&InjectionRequest, ResourceRequirements),
    settings: &InjectionSettings,
    left: Option<&Container>,
) -> Container {
    let ready = || ready(settings.probe, spec);
    Container {
        name: CONTAINER.to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some(settings.image_pull_policy.as_str().to_owned()),
        restart_policy: Some("Always".to_owned()),
        env: Some(variables(request, held_bytes_of(&resources), settings)),
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
        resources: Some(resources),
        security_context: Some(restricted(settings.run_as_user, left.and_then(|left| left.security_context.as_ref()))),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(volumes::mounts(settings)),
        ..Container::default()
    }
}

/// The sidecar's settings; see `vectoll-sidecar --help`. `held` is what its calls may hold.
fn variables(request: &InjectionRequest, max_held_bytes: Option<u64>, settings: &InjectionSettings) -> Vec<EnvVar> {
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
    if !settings.user_metrics {
        pairs.push(("VECTOLL_USER_METRICS", "off".to_owned()));
    }
    if let Some(bound) = max_held_bytes.filter(|_| settings.env.iter().all(|variable| variable.name != MAX_HELD_BYTES))
    {
        pairs.push((MAX_HELD_BYTES, bound.to_string()));
    }
    if settings.tokens().next().is_some() {
        pairs.push(("VECTOLL_IDENTITY_DIR", volumes::IDENTITY_DIR.to_owned()));
    }
    if let Some(own) = &request.own_key {
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

/// `/readyz`: a config is loaded, and the sidecar is not about to stop. It does not hang on providers.
///
/// By HTTP that costs next to nothing. A process in the container, which asks on loopback, costs tens of milliseconds of the node's
/// CPU time, but passes where a mesh stands between kubelet and pod.
fn ready(kind: ProbeKind, spec: &PodSpec) -> Probe {
    let in_mesh = || {
        let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        all.any(|container| MESH_PROXIES.contains(&container.name.as_str()))
    };
    let by_process = match kind {
        ProbeKind::Auto => in_mesh(),
        ProbeKind::Http => false,
        ProbeKind::Exec => true,
    };
    if by_process {
        let exec = ExecAction { command: Some(HEALTH.map(str::to_owned).into()) };
        return Probe { exec: Some(exec), timeout_seconds: Some(5), ..Probe::default() };
    }
    let get = HTTPGetAction {
        path: Some("/readyz".to_owned()),
        port: IntOrString::String(ADMIN_PORT_NAME.to_owned()),
        ..HTTPGetAction::default()
    };
    Probe { http_get: Some(get), timeout_seconds: Some(2), ..Probe::default() }
}

/// What the Pod Security Standard `restricted` asks for, and a root that cannot be written. Where the user is the platform's to
/// choose, what it has chosen since an earlier injection stays.
fn restricted(user: Option<i64>, left: Option<&SecurityContext>) -> SecurityContext {
    let chosen = left.filter(|_| user.is_none());
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_group: user.or(chosen.and_then(|chosen| chosen.run_as_group)),
        run_as_non_root: Some(true),
        run_as_user: user.or(chosen.and_then(|chosen| chosen.run_as_user)),
        se_linux_options: chosen.and_then(|chosen| chosen.se_linux_options.clone()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}
