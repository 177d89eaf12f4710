//! What namespaces say of the sidecars in them, by annotation. A review does not carry it.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::inject::resource_annotations;

type ByNamespace = BTreeMap<String, BTreeMap<String, String>>;

/// The annotations by namespace, as far as they are known; a namespace that is not has none. A handle. Nobody holds its lock
/// for longer than it takes to copy a few words.
#[derive(Clone, Debug, Default)]
pub struct NamespaceAnnotations(Arc<RwLock<ByNamespace>>);

impl NamespaceAnnotations {
    /// Those of one namespace.
    pub(super) fn of(&self, namespace: &str) -> BTreeMap<String, String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(namespace).cloned().unwrap_or_default()
    }

    /// Takes over what a namespace says now. What is not about sidecars' resources is dropped.
    pub fn set(&self, namespace: &str, annotations: BTreeMap<String, String>) {
        let annotations = resource_annotations(annotations);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if annotations.is_empty() {
            all.remove(namespace);
        } else {
            all.insert(namespace.to_owned(), annotations);
        }
    }
}
