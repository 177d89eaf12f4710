//! Events on resources.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};
use vectoll_config::Uid;

use super::Applier;
use crate::{cluster::plan::Transition, observed_state::ResourceRef};

/// The longest note of an event that the API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;

impl Applier {
    pub(super) async fn record_transition(&self, of: &ResourceRef, uid: &Uid, turn: Transition) {
        let Transition { warns, reason, message } = turn;
        let type_ = if warns { EventType::Warning } else { EventType::Normal };
        self.record_event(of, uid, type_, &reason, message, "Reconcile").await;
    }

    /// An event on a resource. One that cannot be written is no reason to stop.
    pub(super) async fn record_event(
        &self,
        of: &ResourceRef,
        uid: &Uid,
        type_: EventType,
        reason: &str,
        note: String,
        action: &str,
    ) {
        let reference = ObjectReference {
            api_version: Some(format!("{}/{}", vectoll_crds::GROUP, vectoll_crds::VERSION)),
            kind: Some(of.kind.to_string()),
            name: Some(of.name.name().to_owned()),
            namespace: Some(of.name.namespace().to_owned()),
            uid: Some(uid.to_string()),
            ..ObjectReference::default()
        };
        let note = shortened(note);
        let event =
            Event { type_, reason: reason.to_owned(), note: Some(note), action: action.to_owned(), secondary: None };
        if let Err(error) = self.recorder.publish(&event, &reference).await {
            tracing::warn!(resource = %of, %error, "an event could not be written");
        }
    }
}

/// What the API server takes of an event's note.
pub(super) fn shortened(mut note: String) -> String {
    note.truncate(note.floor_char_boundary(LONGEST_NOTE));
    note
}
