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
mod overrides;
mod quantity;
mod refusal;
mod resources;
mod settings;
mod source;
mod validate_pod;
mod variables;
mod volumes;

use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;

use self::{earlier::Earlier, edits::Edits, injection_request::InjectionRequest};

pub(crate) use self::source::sidecar_annotations;
pub use self::{
    amounts::max_held_bytes,
    names::{
        API_KEY_ANNOTATION, CONFIG_SECRET, CONTAINER, CONTRACT, CONTRACT_LABEL, INJECT_LABEL, KEYLESS_ANNOTATION,
        SIDECAR_PREFIX,
    },
    namespace::Namespace,
    refusal::Refusal,
    settings::{InjectionSettings, LogFormat, ProbeKind, PullPolicy, Resources, SettingsError, Variable},
};
pub use crate::validate::FieldError;

/// The volumes of the autoscaler's that may go with the pod, separated by commas without spaces.
const EVICT_ANNOTATION: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/// The annotation of a pod that the kubelet runs from a file and that the API server only mirrors.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// What becomes of a pod that asks for a sidecar, or whose namespace asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// What makes it one that has it. Empty: only its namespace asks, and it cannot have one; the warnings say why.
    pub patch: Patch,
    /// What whoever makes the pod should know, as the API server passes it on.
    pub warnings: Vec<String>,
}

/// What makes a pod that asks for a sidecar one that has it; none: nobody asks.
///
/// A pod that asks for one and cannot have it is refused: it would start without the proxy that it was promised. A pod for which only its
/// namespace asks is let in as it is: whoever labels a namespace means the pods that can take a sidecar.
pub fn inject(pod: &Pod, namespace: Namespace<'_>, settings: &InjectionSettings) -> Result<Option<Injection>, Refusal> {
    let of_namespace = !pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(INJECT_LABEL));
    if of_namespace && pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR_ANNOTATION)) {
        return Ok(None);
    }
    let Some(request) = InjectionRequest::of(pod, &namespace, settings).map_err(Refusal)? else { return Ok(None) };
    let possible = none_here(namespace, settings).map_or(Ok(()), Err).and_then(|()| match &pod.spec {
        Some(spec) => validate_pod::validate_pod(spec, &Earlier::of(pod, spec)).map(|()| spec),
        None => Err(Refusal(vec![FieldError { path: "spec".to_owned(), reason: "is missing".to_owned() }])),
    });
    let spec = match possible {
        Ok(spec) => spec,
        // One that has a sidecar already, and that another webhook has changed since, must not keep it.
        Err(refusal) if of_namespace && !Earlier::was_injected(pod) => {
            let warning = format!(
                "no sidecar is injected, though the namespace {} asks for one: {refusal}. Label the pod {INJECT_LABEL}: \"false\" if it \
                 is to have none",
                namespace.name
            );
            return Ok(Some(Injection { patch: Patch(Vec::new()), warnings: vec![warning] }));
        }
        Err(refusal) => return Err(refusal),
    };
    let settings = &request.overrides.over(settings);
    let earlier = Earlier::of(pod, spec);
    let resources =
        request.resources.over(settings, earlier.sidecar.and_then(|left| left.container.resources.as_ref()));
    if let Some(reason) = resources.limits.as_ref().and_then(amounts::memory_fault) {
        // Neither the settings nor an annotation: those were judged before.
        let path = format!("spec.initContainers[{CONTAINER}].resources.limits.memory");
        let reason = format!("{reason}. A LimitRange may have set it: set the annotation {SIDECAR_PREFIX}memory-limit");
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

/// Why there are no sidecars in a namespace.
fn none_here(namespace: Namespace<'_>, settings: &InjectionSettings) -> Option<Refusal> {
    let reason = if let Some(url) = &settings.gateway_only {
        format!(
            "no sidecars are injected in this cluster, whose administrator lets only the gateway call providers: remove the label \
             {INJECT_LABEL}, and call {url} with the value of an ApiKey"
        )
    } else if settings.excluded_namespaces.iter().any(|excluded| excluded == namespace.name) {
        format!(
            "no sidecars are injected in the namespace {}, which the cluster's administrator has excluded: remove the label \
             {INJECT_LABEL}, or use another namespace",
            namespace.name
        )
    } else {
        return None;
    };
    Some(Refusal(vec![FieldError { path: format!("metadata.labels[{INJECT_LABEL}]"), reason }]))
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
