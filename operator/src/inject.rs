//! Injection: what a pod becomes that asks for a sidecar. Pure; the webhook hands pods in and patches out.
//!
//! [`inject`] reads as: what the pod asks for → what speaks against it → the edits. The answer is a JSON patch, not a
//! pod: fields of newer Kubernetes versions, which this program does not know, stay as they are.
//!
//! A webhook may be called twice for one pod (`reinvocationPolicy: IfNeeded`): a pod that was injected already is
//! injected anew, and comes out the same.

mod container;
mod edits;
mod no_proxy;
mod objections;
mod quantity;
mod resources;
mod settings;
mod variables;
mod volumes;
mod wish;

use std::{collections::BTreeMap, fmt};

use json_patch::Patch;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

pub use resources::{RESOURCES_PREFIX, max_held_bytes};
pub use settings::{InjectionSettings, LogFormat, ProbeKind, PullPolicy, Resources, SettingsError, Variable};

pub(crate) use resources::resource_annotations;

pub use crate::validate::Fault;
use edits::Edits;
use wish::Wish;

/// The label by which a pod asks for a sidecar; its value is `true`.
pub const INJECT_LABEL: &str = "vectoll.dev/inject";
/// The label that says which version of the config contract the pod's sidecar reads.
pub const CONTRACT_LABEL: &str = "vectoll.dev/contract";
/// The version that it says.
pub const CONTRACT: &str = "v1";
/// The annotation that names the pod's own ApiKey.
pub const API_KEY_ANNOTATION: &str = "vectoll.dev/api-key";
/// The annotation by which calls without any key count as the pod's own; its value is `true`.
pub const KEYLESS_ANNOTATION: &str = "vectoll.dev/keyless";
/// The name of the sidecar's container.
pub const CONTAINER: &str = "vectoll-sidecar";
/// The Secret that the sidecar mounts.
pub const CONFIG_SECRET: &str = "vectoll-sidecar";

/// Where applications call the sidecar.
const PROXY_PORT: i32 = 4000;
/// Where probes and Prometheus do.
const ADMIN_PORT: i32 = 4001;

/// The volumes of the autoscaler's that may go with the pod, separated by commas without spaces.
const EVICT_ANNOTATION: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/// Why a pod is not let in: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal(pub Vec<Fault>);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// Where a pod is made.
#[derive(Clone, Copy, Debug)]
pub struct Namespace<'a> {
    /// Its name, which a pod need not say itself.
    pub name: &'a str,
    /// Those of its annotations that begin with [`RESOURCES_PREFIX`], as far as they are known.
    pub annotations: &'a BTreeMap<String, String>,
}

/// What becomes of a pod that asks for a sidecar.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// What makes it one that has it.
    pub patch: Patch,
    /// What whoever makes the pod should know, as the API server passes it on.
    pub warnings: Vec<String>,
}

/// What makes a pod that asks for a sidecar one that has it; none: the pod does not ask.
pub fn inject(pod: &Pod, namespace: Namespace<'_>, settings: &InjectionSettings) -> Result<Option<Injection>, Refusal> {
    let Some(wish) = Wish::of(pod, &namespace, settings).map_err(Refusal)? else { return Ok(None) };
    if settings.excluded_namespaces.iter().any(|excluded| excluded == namespace.name) {
        // Let in, it would start without the proxy that it was promised.
        let reason = format!(
            "no sidecars are injected in the namespace {}, which the cluster's administrator has excluded: remove the label \
             {INJECT_LABEL}, or use another namespace",
            namespace.name
        );
        return Err(Refusal(vec![Fault { path: format!("metadata.labels[{INJECT_LABEL}]"), reason }]));
    }
    let Some(spec) = &pod.spec else {
        return Err(Refusal(vec![Fault { path: "spec".to_owned(), reason: "is missing".to_owned() }]));
    };
    let earlier = Earlier::of(pod, spec);
    objections::check(spec, &earlier)?;
    let resources = wish.resources.over(settings, earlier.sidecar.and_then(|left| left.container.resources.as_ref()));
    if let Some(reason) = resources.limits.as_ref().and_then(resources::memory_fault) {
        // Neither the settings nor an annotation: those were judged before.
        let path = format!("spec.initContainers[{CONTAINER}].resources.limits.memory");
        let reason =
            format!("{reason}. A LimitRange may have set it: set the annotation {RESOURCES_PREFIX}memory-limit");
        return Err(Refusal(vec![Fault { path, reason }]));
    }

    let mut edits = Edits::default();
    // By their places in the lists, so before others are put in front.
    let warnings = no_proxy::add(spec, &mut edits);
    if wish.own_key.is_some() {
        variables::add(spec, &mut edits);
    }
    volumes::add(spec, settings, &mut edits);
    container::put_first(spec, &earlier, (&wish, resources), settings, &mut edits);
    mark(pod, &mut edits);
    Ok(Some(Injection { patch: edits.into_patch(), warnings }))
}

/// What an earlier injection of this pod has left: only then is a container of our name ours, whatever is in it now.
struct Earlier<'pod> {
    /// The pod was injected: volumes of our names are ours, too.
    injected: bool,
    /// Where it is, and what it is now.
    sidecar: Option<Left<'pod>>,
}

/// A sidecar that an earlier injection has put into the pod.
#[derive(Clone, Copy)]
struct Left<'pod> {
    /// The list of the spec that it is in: `initContainers`, or `containers`, where a webhook that knows no native sidecars has put it.
    list: &'static str,
    /// Where in it.
    index: usize,
    container: &'pod Container,
}

impl<'pod> Earlier<'pod> {
    fn of(pod: &Pod, spec: &'pod PodSpec) -> Self {
        let injected = pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(CONTRACT_LABEL));
        let find = |list: &'static str, containers: &'pod [Container]| {
            let index = containers.iter().position(|container| injected && container.name == CONTAINER)?;
            Some(Left { list, index, container: containers.get(index)? })
        };
        let sidecar = find("initContainers", spec.init_containers.as_deref().unwrap_or_default())
            .or_else(|| find("containers", &spec.containers));
        Self { injected, sidecar }
    }
}

/// The pod's own metadata: which contract its sidecar reads, and that its books may go when the pod does.
fn mark(pod: &Pod, edits: &mut Edits) {
    edits.set_entry(&["metadata", "labels"], pod.metadata.labels.is_some(), CONTRACT_LABEL, CONTRACT);
    let annotations = pod.metadata.annotations.as_ref();
    let listed = annotations.and_then(|all| all.get(EVICT_ANNOTATION)).map_or("", String::as_str);
    let mut volumes: Vec<&str> = listed.split(',').filter(|volume| !volume.is_empty()).collect();
    if !volumes.contains(&volumes::STATE) {
        volumes.push(volumes::STATE);
        let volumes = volumes.join(",");
        edits.set_entry(&["metadata", "annotations"], annotations.is_some(), EVICT_ANNOTATION, &volumes);
    }
}
