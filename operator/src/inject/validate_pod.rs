//! What speaks against a sidecar in a pod. All of it is told at once.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{
    earlier::Earlier,
    names::{ADMIN_PORT, CONTAINER, PROXY_PORT},
    refusal::Refusal,
    volumes,
};
use crate::validate::FieldError;

/// Refuses a pod that could not run beside a sidecar, or could look into it.
pub(super) fn validate_pod(spec: &PodSpec, earlier: &Earlier<'_>) -> Result<(), Refusal> {
    let mut errors = Vec::new();
    let mut add = |path: String, reason: String| errors.push(FieldError { path, reason });
    whole_pod(spec, &mut add);
    for (list, containers) in
        [("containers", Some(&spec.containers)), ("initContainers", spec.init_containers.as_ref())]
    {
        for (i, container) in containers.into_iter().flatten().enumerate() {
            let ours = earlier.sidecar.is_some_and(|left| left.list == list && left.index == i);
            if !ours {
                one_container(&format!("spec.{list}[{i}]"), container, &mut add);
            }
        }
    }
    strange_volumes(spec, earlier, &mut add);
    if errors.is_empty() { Ok(()) } else { Err(Refusal(errors)) }
}

fn whole_pod(spec: &PodSpec, add: &mut impl FnMut(String, String)) {
    let mut refuse = |field: &str, reason: &str| add(format!("spec.{field}"), reason.to_owned());
    if spec.host_network == Some(true) {
        refuse(
            "hostNetwork",
            "the sidecar would listen on the node's own localhost, for every pod there: remove hostNetwork, or the label",
        );
    }
    let shared = "the other containers could read the sidecar's credentials through /proc";
    if spec.share_process_namespace == Some(true) {
        refuse("shareProcessNamespace", &format!("{shared}: remove shareProcessNamespace, or the label"));
    }
    if spec.host_pid == Some(true) {
        refuse("hostPID", &format!("{shared}: remove hostPID, or the label"));
    }
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        refuse("os.name", "there is no sidecar for Windows: remove the label");
    }
}

fn one_container(at: &str, container: &Container, add: &mut impl FnMut(String, String)) {
    if container.name == CONTAINER {
        add(format!("{at}.name"), format!("{CONTAINER} is the name of the container that is injected: choose another"));
    }
    for (i, port) in container.ports.iter().flatten().enumerate() {
        let tcp = port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
        for (field, number) in [("containerPort", Some(port.container_port)), ("hostPort", port.host_port)] {
            if tcp && let Some(number) = number.filter(|&number| number == PROXY_PORT || number == ADMIN_PORT) {
                let reason =
                    format!("the sidecar listens on {PROXY_PORT} and {ADMIN_PORT}: choose another port than {number}");
                add(format!("{at}.ports[{i}].{field}"), reason);
            }
        }
    }
    for (i, mount) in container.volume_mounts.iter().flatten().enumerate() {
        if volumes::is_ours(&mount.name) {
            let reason = format!("{} is the sidecar's own and not for other containers: remove the mount", mount.name);
            add(format!("{at}.volumeMounts[{i}].name"), reason);
        }
    }
}

/// Names that begin like ours are kept free: for ours, and for those of later versions.
fn strange_volumes(spec: &PodSpec, earlier: &Earlier<'_>, add: &mut impl FnMut(String, String)) {
    for (i, volume) in spec.volumes.iter().flatten().enumerate() {
        let ours = earlier.injected && volumes::is_ours(&volume.name);
        if volume.name.starts_with(volumes::PREFIX) && !ours {
            let reason =
                format!("names of volumes that begin with {} are the sidecar's: choose another", volumes::PREFIX);
            add(format!("spec.volumes[{i}].name"), reason);
        }
    }
}
