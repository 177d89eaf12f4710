//! The edits of a pod, as a JSON patch (RFC 6902).

use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation,
    jsonptr::{PointerBuf, Token},
};
use serde::Serialize;
use serde_json::{Value, json};

/// Edits in their order.
#[derive(Debug, Default)]
pub(super) struct Edits(Vec<PatchOperation>);

impl Edits {
    /// Sets an entry of a map, which is made if it is not there.
    pub(super) fn set_entry(&mut self, map: &[&str], exists: bool, key: &str, value: &str) {
        if exists {
            self.add(map.iter().copied().chain([key]), &value);
        } else {
            self.add(map.iter().copied(), &json!({key: value}));
        }
    }

    /// Puts an element before the one at `index`; a list that is not there yet is made.
    pub(super) fn insert(&mut self, list: &[&str], exists: bool, index: &str, element: &impl Serialize) {
        if exists {
            self.add(list.iter().copied().chain([index]), element);
        } else {
            self.add(list.iter().copied(), &[element]);
        }
    }

    /// Puts an element in the place of another one.
    pub(super) fn replace(&mut self, list: &[&str], index: usize, element: &impl Serialize) {
        let path = pointer(list.iter().copied().chain([index.to_string().as_str()]));
        let value = serde_json::to_value(element).unwrap_or(Value::Null);
        self.0.push(PatchOperation::Replace(ReplaceOperation { path, value }));
    }

    /// Takes an element out of a list.
    pub(super) fn remove(&mut self, list: &[&str], index: usize) {
        let path = pointer(list.iter().copied().chain([index.to_string().as_str()]));
        self.0.push(PatchOperation::Remove(RemoveOperation { path }));
    }

    pub(super) fn into_patch(self) -> Patch {
        Patch(self.0)
    }

    fn add<'t>(&mut self, path: impl Iterator<Item = &'t str>, value: &impl Serialize) {
        // What is serialized here are Kubernetes's own types: they have string keys only, which JSON can always write.
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.0.push(PatchOperation::Add(AddOperation { path: pointer(path), value }));
    }
}

fn pointer<'t>(path: impl Iterator<Item = &'t str>) -> PointerBuf {
    PointerBuf::from_tokens(path.map(Token::new))
}
