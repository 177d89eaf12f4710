//! What an earlier injection has left in a pod.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::names::{CONTAINER, CONTRACT_LABEL};

/// What an earlier injection of this pod has left: only then is a container of our name ours, whatever is in it now.
pub(super) struct Earlier<'pod> {
    /// The pod was injected: volumes of our names are ours, too.
    pub(super) injected: bool,
    /// Where it is, and what it is now.
    pub(super) sidecar: Option<Left<'pod>>,
}

/// A sidecar that an earlier injection has put into the pod.
#[derive(Clone, Copy)]
pub(super) struct Left<'pod> {
    /// The list of the spec that it is in: `initContainers`, or `containers`, where a webhook that knows no native sidecars has put it.
    pub(super) list: &'static str,
    /// Where in it.
    pub(super) index: usize,
    pub(super) container: &'pod Container,
}

impl<'pod> Earlier<'pod> {
    pub(super) fn of(pod: &Pod, spec: &'pod PodSpec) -> Self {
        let injected = Self::was_injected(pod);
        let find = |list: &'static str, containers: &'pod [Container]| {
            let index = containers.iter().position(|container| injected && container.name == CONTAINER)?;
            Some(Left { list, index, container: containers.get(index)? })
        };
        let sidecar = find("initContainers", spec.init_containers.as_deref().unwrap_or_default())
            .or_else(|| find("containers", &spec.containers));
        Self { injected, sidecar }
    }

    /// Whether a pod says so of itself.
    pub(super) fn was_injected(pod: &Pod) -> bool {
        pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(CONTRACT_LABEL))
    }
}
