//! Where something about a sidecar was said: by annotation on the pod, on its namespace for all pods that say nothing themselves, or in
//! the settings.

use std::collections::BTreeMap;

use super::{names::SIDECAR_PREFIX, namespace::Namespace};
use crate::validate::FieldError;

/// Those of a namespace's annotations that are about its sidecars, or are meant to be.
pub(crate) fn sidecar_annotations(all: BTreeMap<String, String>) -> BTreeMap<String, String> {
    all.into_iter().filter(|(name, _)| name.starts_with(SIDECAR_PREFIX)).collect()
}

/// How near to the pod something was said: what is nearer goes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Settings,
    Namespace,
    Pod,
}

/// The annotations of a pod and of its namespace that are about its sidecar.
#[derive(Clone, Copy)]
pub(super) struct Annotations<'a> {
    pod: Option<&'a BTreeMap<String, String>>,
    namespace: Namespace<'a>,
}

impl<'a> Annotations<'a> {
    pub(super) fn new(pod: Option<&'a BTreeMap<String, String>>, namespace: Namespace<'a>) -> Self {
        Self { pod, namespace }
    }

    /// The nearest of a name, which comes without [`SIDECAR_PREFIX`].
    pub(super) fn find(&self, name: &str) -> Option<(Source, &'a str)> {
        let name = format!("{SIDECAR_PREFIX}{name}");
        [(Source::Pod, self.pod), (Source::Namespace, Some(self.namespace.annotations))]
            .into_iter()
            .find_map(|(source, all)| Some((source, all?.get(&name)?.trim())))
    }

    /// The names of all of them, without [`SIDECAR_PREFIX`].
    pub(super) fn names(&self) -> impl Iterator<Item = (Source, &'a str)> {
        let of = |source, all: Option<&'a BTreeMap<String, String>>| {
            let names = all.into_iter().flat_map(|all| all.keys());
            names.filter_map(move |name| Some((source, name.strip_prefix(SIDECAR_PREFIX)?)))
        };
        of(Source::Pod, self.pod).chain(of(Source::Namespace, Some(self.namespace.annotations)))
    }

    /// What is wrong with one of them. None: the settings say so, which were judged before.
    pub(super) fn fault(&self, source: Source, name: &str, reason: String) -> Option<FieldError> {
        let annotation = format!("metadata.annotations[{SIDECAR_PREFIX}{name}]");
        let path = match source {
            Source::Settings => return None,
            Source::Namespace => format!("namespace {}: {annotation}", self.namespace.name),
            Source::Pod => annotation,
        };
        Some(FieldError { path, reason })
    }
}
