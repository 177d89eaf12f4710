//! What a pod asks for, by its labels and annotations.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use vectoll_config::ObjectName;

use super::{
    names::{API_KEY_ANNOTATION, INJECT_LABEL, KEYLESS_ANNOTATION},
    namespace::Namespace,
    overrides::Overrides,
    resources::AnnotatedResources,
    settings::InjectionSettings,
    source::Annotations,
};
use crate::validate::{FieldError, is_subdomain};

/// A sidecar, and perhaps a key of the pod's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InjectionRequest {
    pub(super) own_key: Option<OwnKey>,
    pub(super) resources: AnnotatedResources,
    pub(super) overrides: Overrides,
}

/// The key that a pod calls with although it does not hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnKey {
    /// The ApiKey.
    pub(super) name: ObjectName,
    /// Whether calls without any key count as made with it.
    pub(super) keyless: bool,
}

impl InjectionRequest {
    /// None: the pod asks for nothing.
    pub(super) fn of(
        pod: &Pod,
        namespace: &Namespace<'_>,
        settings: &InjectionSettings,
    ) -> Result<Option<Self>, Vec<FieldError>> {
        let says = flag("metadata.labels", pod.metadata.labels.as_ref(), INJECT_LABEL).map_err(|error| vec![error])?;
        if !says.unwrap_or(namespace.asks) {
            return Ok(None);
        }
        let annotations = pod.metadata.annotations.as_ref();
        let mut errors = Vec::new();
        let keyless = flag("metadata.annotations", annotations, KEYLESS_ANNOTATION).unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        let keyless = keyless.unwrap_or_default();
        let name = annotations.and_then(|all| all.get(API_KEY_ANNOTATION));
        if let Some(name) = name.filter(|name| !is_subdomain(name)) {
            // A key that was taken for its name must not stand in an event for all to read.
            let shown = if name.starts_with("sk-") { "a key's value".to_owned() } else { format!("{name:?}") };
            let reason = format!(
                "{shown} is not an ApiKey's name: write the name alone of one in this namespace (lower-case letters, \
                 digits, - and .)"
            );
            errors.push(FieldError { path: at("metadata.annotations", API_KEY_ANNOTATION), reason });
        }
        if keyless && name.is_none() {
            let reason =
                format!("calls without a key need an ApiKey to count as: add the annotation {API_KEY_ANNOTATION}");
            errors.push(FieldError { path: at("metadata.annotations", KEYLESS_ANNOTATION), reason });
        }
        let sidecar = Annotations::new(annotations, *namespace);
        let resources = AnnotatedResources::of(&sidecar, settings, &mut errors);
        let overrides = Overrides::of(&sidecar, pod.spec.as_ref(), settings, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let own_key = name.map(|name| OwnKey { name: ObjectName::new(namespace.name, name), keyless });
        Ok(Some(Self { own_key, resources, overrides }))
    }
}

/// A label or annotation that says yes or no. None: it is not there.
fn flag(map: &str, entries: Option<&BTreeMap<String, String>>, key: &str) -> Result<Option<bool>, FieldError> {
    match entries.and_then(|entries| entries.get(key)).map(String::as_str) {
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        None => Ok(None),
        Some(other) => Err(FieldError {
            path: at(map, key),
            reason: format!("{other:?} is not a boolean: write \"true\" or \"false\""),
        }),
    }
}

fn at(map: &str, key: &str) -> String {
    format!("{map}[{key}]")
}
