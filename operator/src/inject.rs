//! Injection: what a pod becomes that asks for a sidecar. Pure; the webhook hands pods in and patches out.
//!
//! [`inject`] reads as: what the pod asks for → what speaks against it → the edits. The answer is a JSON patch, not a
//! pod: fields of newer Kubernetes versions, which this program does not know, stay as they are.
//!
//! A webhook may be called twice for one pod (`reinvocationPolicy: IfNeeded`): a pod that was injected already is
//! injected anew, and comes out the same.

mod amounts;
mod container;
mod earlier;
mod edits;
mod injection_request;
mod names;
mod namespace;
mod no_proxy;
mod quantity;
mod refusal;
mod resources;
mod settings;
mod validate_pod;
mod variables;
mod volumes;

use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;

use self::{earlier::Earlier, edits::Edits, injection_request::InjectionRequest};

pub(crate) use self::resources::resource_annotations;
pub use self::{
    amounts::max_held_bytes,
    names::{API_KEY_ANNOTATION, CONFIG_SECRET, CONTAINER, CONTRACT, CONTRACT_LABEL, INJECT_LABEL, KEYLESS_ANNOTATION},
    namespace::Namespace,
    refusal::Refusal,
    resources::RESOURCES_PREFIX,
    settings::{InjectionSettings, LogFormat, ProbeKind, PullPolicy, Resources, SettingsError, Variable},
};
pub use crate::validate::FieldError;

/// The volumes of the autoscaler's that may go with the pod, separated by commas without spaces.
const EVICT_ANNOTATION: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

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
    let Some(request) = InjectionRequest::of(pod, &namespace, settings).map_err(Refusal)? else { return Ok(None) };
    if let Some(url) = &settings.gateway_only {
        let reason = format!(
            "no sidecars are injected in this cluster, whose administrator lets only the gateway call providers: remove the label \
             {INJECT_LABEL}, and call {url} with the value of an ApiKey"
        );
        return Err(Refusal(vec![FieldError { path: format!("metadata.labels[{INJECT_LABEL}]"), reason }]));
    }
    if settings.excluded_namespaces.iter().any(|excluded| excluded == namespace.name) {
        // Let in, it would start without the proxy that it was promised.
        let reason = format!(
            "no sidecars are injected in the namespace {}, which the cluster's administrator has excluded: remove the label \
             {INJECT_LABEL}, or use another namespace",
            namespace.name
        );
        return Err(Refusal(vec![FieldError { path: format!("metadata.labels[{INJECT_LABEL}]"), reason }]));
    }
    let Some(spec) = &pod.spec else {
        return Err(Refusal(vec![FieldError { path: "spec".to_owned(), reason: "is missing".to_owned() }]));
    };
    let earlier = Earlier::of(pod, spec);
    validate_pod::validate_pod(spec, &earlier)?;
    let resources =
        request.resources.over(settings, earlier.sidecar.and_then(|left| left.container.resources.as_ref()));
    if let Some(reason) = resources.limits.as_ref().and_then(amounts::memory_fault) {
        // Neither the settings nor an annotation: those were judged before.
        let path = format!("spec.initContainers[{CONTAINER}].resources.limits.memory");
        let reason =
            format!("{reason}. A LimitRange may have set it: set the annotation {RESOURCES_PREFIX}memory-limit");
        return Err(Refusal(vec![FieldError { path, reason }]));
    }

    let mut edits = Edits::default();
    // By their places in the lists, so before others are put in front.
    let warnings = no_proxy::add(spec, &mut edits);
    if request.own_key.is_some() {
        variables::add(spec, &mut edits);
    }
    volumes::add(spec, settings, &mut edits);
    container::put_first(spec, &earlier, (&request, resources), settings, &mut edits);
    mark(pod, &mut edits);
    Ok(Some(Injection { patch: edits.into_patch(), warnings }))
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
