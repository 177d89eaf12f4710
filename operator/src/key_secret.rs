//! Secrets that hold generated keys: what is noted on them, and how they are written.
//!
//! All that a rotation needs to know stands on the Secret itself, so that an operator that is restarted or taken over from
//! goes on where the last one stopped.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde_json::{Map, Value, json};
use vectoll_config::{KeyHash, ObjectName, POD_KEY, Uid};
use vectoll_crds::{ApiKeySpec, SecretKeyRef, SecretTemplate};

/// The type of a Secret that the operator made.
pub const TYPE: &str = "vectoll.dev/api-key";
/// The annotation that names the ApiKey which a generated Secret belongs to.
pub const OWNER: &str = "vectoll.dev/api-key";
/// The annotation on an ApiKey that asks for a new value whenever it changes, and, on its Secret, the request that was met.
pub const ROTATE: &str = "vectoll.dev/rotate";
/// The annotation on an ApiKey by which its owner takes over the Secret that bears its name, with the value in it: after a restore
/// from a backup, in which every object has a new UID.
pub const ADOPT: &str = "vectoll.dev/adopt-secret";
/// The annotation that says when the value was made (RFC 3339).
const MADE_AT: &str = "vectoll.dev/made-at";
/// The annotation with the values before: `sha256=until`, separated by commas.
pub(crate) const PREVIOUS: &str = "vectoll.dev/previous";
/// The annotation with what `spec.secretTemplate` has put on the Secret, so that it can be taken away again.
const TEMPLATE: &str = "vectoll.dev/secret-template";
/// Values before that stay valid at the same time. More rotations within one grace period end the oldest early.
const MAX_PREVIOUS: usize = 8;

/// The entry of a generated Secret that holds the value.
pub(crate) const ENTRY: &str = "key";

/// The Secret that holds a key's value, and the entry in it. None: of the key only the hash is known.
pub(crate) fn value_place<'a>(spec: &'a ApiKeySpec, name: &'a str) -> Option<(&'a str, &'a str)> {
    let place = match &spec.secret_ref {
        Some(SecretKeyRef { name, key }) => (&**name, &**key),
        None => (spec.secret_name.as_deref().unwrap_or(name), ENTRY),
    };
    spec.key_hash.is_none().then_some(place)
}

/// A value that was replaced and is still valid for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its SHA-256.
    pub hash: KeyHash,
    /// When it ends.
    pub until: Timestamp,
}

/// What is noted on a generated Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// When the value was made.
    pub made_at: Option<Timestamp>,
    /// The request for a new value that was met last.
    pub request: Option<String>,
    /// Values that it replaced, the newest first.
    pub previous: Vec<Previous>,
}

impl Notes {
    /// Reads them; what cannot be read is as if it were not there. Whoever may write Secrets may write these: no more values are
    /// believed than the operator would have noted, and none that no key can have.
    pub(crate) fn of(annotations: &BTreeMap<String, String>) -> Self {
        let placeholder = KeyHash::of(POD_KEY.as_bytes());
        let previous = annotations.get(PREVIOUS).map_or("", String::as_str).split(',').filter_map(|one| {
            let (hash, until) = one.split_once('=')?;
            Some(Previous { hash: hash.parse().ok()?, until: until.parse().ok()? })
        });
        let previous = previous.filter(|previous| previous.hash != placeholder).take(MAX_PREVIOUS);
        Self {
            made_at: annotations.get(MADE_AT).and_then(|at| at.parse().ok()),
            request: annotations.get(ROTATE).cloned(),
            previous: previous.collect(),
        }
    }
}

/// What a template has put on a Secret, as noted there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AppliedTemplate {
    template: SecretTemplate,
    /// The note cannot be read, or somebody has changed or removed what it tells of.
    is_damaged: bool,
}

impl AppliedTemplate {
    /// Reads it. Whoever may write Secrets may write the note: no more is believed than the operator would have noted.
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        let (labels, annotations) = (metadata.labels.as_ref(), metadata.annotations.as_ref());
        let Some(note) = annotations.and_then(|all| all.get(TEMPLATE)) else { return Self::default() };
        let template: Option<SecretTemplate> = serde_json::from_str(note).ok();
        let is_bounded = |template: &SecretTemplate| {
            let SecretTemplate { labels, annotations } = template;
            labels.len().max(annotations.len()) <= SecretTemplate::MAX_ENTRIES
                && !labels.keys().chain(annotations.keys()).any(|name| is_reserved(name))
        };
        let Some(template) = template.filter(is_bounded) else {
            return Self { template: SecretTemplate::default(), is_damaged: true };
        };
        let has = |all: Option<&BTreeMap<String, String>>, noted: &BTreeMap<String, String>| {
            noted.iter().all(|(name, value)| all.and_then(|all| all.get(name)) == Some(value))
        };
        let is_whole = has(labels, &template.labels) && has(annotations, &template.annotations);
        Self { template, is_damaged: !is_whole }
    }

    /// What is to be changed so that a Secret is as this template says; none: it is.
    pub(crate) fn change(&self, secret: &ObjectName, template: &SecretTemplate) -> Option<TemplateChange> {
        if self.template == *template && !self.is_damaged {
            return None;
        }
        let without = |before: &BTreeMap<String, String>, now: &BTreeMap<String, String>| {
            before.keys().filter(|name| !now.contains_key(*name)).cloned().collect()
        };
        Some(TemplateChange {
            secret: secret.clone(),
            template: template.clone(),
            removed_labels: without(&self.template.labels, &template.labels),
            removed_annotations: without(&self.template.annotations, &template.annotations),
        })
    }
}

/// Whether a label or annotation is the operator's own.
pub(crate) fn is_reserved(name: &str) -> bool {
    let prefix = name.split_once('/').map_or("", |(prefix, _)| prefix);
    prefix.strip_suffix(vectoll_crds::GROUP).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Labels and annotations of a Secret that are to be as its ApiKey's template says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateChange {
    /// The Secret.
    pub secret: ObjectName,
    template: SecretTemplate,
    removed_labels: Vec<String>,
    removed_annotations: Vec<String>,
}

impl TemplateChange {
    /// The change as a merge patch, to be made over this version only. It names nothing that is not the template's.
    pub(crate) fn patch(&self, version: u64) -> serde_json::Result<Value> {
        let Self { secret: _, template, removed_labels, removed_annotations } = self;
        let merged = |now: &BTreeMap<String, String>, removed: &[String]| -> Map<String, Value> {
            let removed = removed.iter().map(|name| (name.clone(), Value::Null));
            removed.chain(now.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())))).collect()
        };
        let labels = merged(&template.labels, removed_labels);
        let mut annotations = merged(&template.annotations, removed_annotations);
        let note = if template.is_empty() { Value::Null } else { serde_json::to_string(template)?.into() };
        annotations.insert(TEMPLATE.to_owned(), note);
        let version = version.to_string();
        Ok(json!({"metadata": {"resourceVersion": version, "labels": labels, "annotations": annotations}}))
    }
}

/// Why a key gets a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It has none yet.
    New,
    /// Someone took the Secret away, after the key had worked.
    Deleted,
    /// Someone emptied the Secret.
    Emptied,
    /// Its interval is over.
    Interval,
    /// Its annotation asks for it.
    Requested,
    /// Its Secret is to have another name.
    Moved,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "it had none",
            Self::Deleted => "its Secret was deleted",
            Self::Emptied => "its Secret was emptied",
            Self::Interval => "its interval is over",
            Self::Requested => "its annotation asks for it",
            Self::Moved => "spec.secretName names another Secret",
        })
    }
}

/// A value that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueCreation {
    /// Whose it is.
    pub api_key: ObjectName,
    /// The owner's UID.
    pub uid: Uid,
    /// Where it goes.
    pub secret: ObjectName,
    /// Why.
    pub cause: Cause,
    /// Values that stay valid beside it.
    pub previous: Vec<Previous>,
    /// The request that is met by it.
    pub request: Option<String>,
}

/// A Secret that an ApiKey takes over with the value in it, because its owner asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// Who takes it.
    pub api_key: ObjectName,
    /// The new owner's UID.
    pub uid: Uid,
    /// The Secret.
    pub secret: ObjectName,
}

impl ValueCreation {
    /// The Secret with a value.
    pub(crate) fn secret(&self, value: &str, now: Timestamp) -> Secret {
        let entry = |name: &str, value: &str| (name.to_owned(), ByteString(value.as_bytes().to_vec()));
        let mut annotations =
            BTreeMap::from([(OWNER.to_owned(), self.api_key.name().to_owned()), (MADE_AT.to_owned(), now.to_string())]);
        if let Some(request) = &self.request {
            annotations.insert(ROTATE.to_owned(), request.clone());
        }
        if !self.previous.is_empty() {
            let previous: Vec<String> = self
                .previous
                .iter()
                .take(MAX_PREVIOUS)
                .map(|previous| format!("{}={}", previous.hash, previous.until))
                .collect();
            annotations.insert(PREVIOUS.to_owned(), previous.join(","));
        }
        Secret {
            metadata: ObjectMeta {
                name: Some(self.secret.name().to_owned()),
                namespace: Some(self.secret.namespace().to_owned()),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            },
            type_: Some(TYPE.to_owned()),
            data: Some(
                [
                    entry(ENTRY, value),
                    entry("OPENAI_API_KEY", value),
                    entry("OPENAI_BASE_URL", "http://localhost:4000/v1"),
                ]
                .into(),
            ),
            ..Secret::default()
        }
    }

    /// The reference that lets the Secret go with its ApiKey.
    pub(crate) fn owner_reference(&self) -> OwnerReference {
        owner_reference(&self.api_key, &self.uid)
    }
}

/// The reference that lets a Secret go with its ApiKey.
pub(crate) fn owner_reference(api_key: &ObjectName, uid: &Uid) -> OwnerReference {
    OwnerReference {
        api_version: format!("{}/{}", vectoll_crds::GROUP, vectoll_crds::VERSION),
        kind: "ApiKey".to_owned(),
        name: api_key.name().to_owned(),
        uid: uid.to_string(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    #[test]
    fn notes_come_back_as_they_were_written() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let previous = Previous { hash: KeyHash::of(b"old"), until: "2026-01-03T03:04:05Z".parse().unwrap() };
        let creation = ValueCreation {
            api_key: ObjectName::new("apps", "alice"),
            uid: Uid::new("u1"),
            secret: ObjectName::new("apps", "alice"),
            cause: Cause::Requested,
            previous: vec![previous],
            request: Some("2".to_owned()),
        };
        let notes = Notes::of(&creation.secret("value", now).metadata.annotations.unwrap());
        assert_eq!(notes, Notes { made_at: Some(now), request: Some("2".to_owned()), previous: vec![previous] });
    }

    fn template(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> SecretTemplate {
        let map = |entries: &[(&str, &str)]| {
            entries.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        SecretTemplate { labels: map(labels), annotations: map(annotations) }
    }

    /// What the API server makes of a Secret's metadata.
    fn patched(metadata: &ObjectMeta, change: &TemplateChange) -> ObjectMeta {
        let mut object = json!({"metadata": metadata});
        json_patch::merge(&mut object, &change.patch(7).unwrap());
        serde_json::from_value(object["metadata"].take()).unwrap()
    }

    #[test]
    fn a_secret_follows_its_template_and_keeps_what_others_have_put_on_it() {
        let name = ObjectName::new("apps", "alice");
        let others = template(&[("team", "search")], &[("note", "mine")]);
        let bare = ObjectMeta {
            labels: Some(others.labels.clone()),
            annotations: Some(others.annotations.clone()),
            ..ObjectMeta::default()
        };
        assert_eq!(AppliedTemplate::of(&bare).change(&name, &SecretTemplate::default()), None);
        let first = template(&[("a", "1"), ("b", "2")], &[("reflect", "true")]);
        let change =
            |metadata: &ObjectMeta, template: &SecretTemplate| AppliedTemplate::of(metadata).change(&name, template);
        let dressed = patched(&bare, &change(&bare, &first).unwrap());
        assert_eq!(change(&dressed, &first), None, "once is enough");
        assert_eq!(dressed.labels.as_ref().unwrap().len(), 3);

        let second = template(&[("b", "3")], &[]);
        let changed = patched(&dressed, &change(&dressed, &second).unwrap());
        let labels = changed.labels.clone().unwrap();
        assert_eq!(labels, template(&[("b", "3"), ("team", "search")], &[]).labels);
        assert!(!changed.annotations.as_ref().unwrap().contains_key("reflect"));

        // What somebody has changed is put right.
        let mut damaged = changed.clone();
        damaged.labels.as_mut().unwrap().insert("b".to_owned(), "4".to_owned());
        let again = patched(&damaged, &change(&damaged, &second).unwrap());
        assert_eq!(again.labels, changed.labels);

        let none = patched(&changed, &change(&changed, &SecretTemplate::default()).unwrap());
        assert_eq!((none.labels, none.annotations), (bare.labels, bare.annotations), "as if it had never been");
    }

    #[test]
    fn a_note_that_no_operator_wrote_takes_nothing_of_the_operators_away() {
        let name = ObjectName::new("apps", "alice");
        let note = r#"{"annotations": {"vectoll.dev/made-at": "x"}}"#;
        for note in [note, "{", r#"{"other": {}}"#] {
            let annotations = BTreeMap::from([
                (MADE_AT.to_owned(), "2026-01-02T03:04:05Z".to_owned()),
                (TEMPLATE.to_owned(), note.to_owned()),
            ]);
            let metadata = ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() };
            let change = AppliedTemplate::of(&metadata).change(&name, &SecretTemplate::default()).unwrap();
            let after = patched(&metadata, &change).annotations.unwrap();
            assert_eq!(after.into_keys().collect::<Vec<_>>(), [MADE_AT], "{note}");
        }
        for (name, expected) in
            [("vectoll.dev/a", true), ("x.vectoll.dev/a", true), ("notvectoll.dev/a", false), ("vectoll.dev", false)]
        {
            assert_eq!(is_reserved(name), expected, "{name}");
        }
    }

    #[test]
    fn damaged_notes_are_no_notes() {
        let annotations = BTreeMap::from([
            (MADE_AT.to_owned(), "yesterday".to_owned()),
            (PREVIOUS.to_owned(), "what,ever=now".to_owned()),
        ]);
        assert_eq!(Notes::of(&annotations), Notes::default());
    }

    #[test]
    fn notes_that_no_operator_wrote_are_not_believed() {
        let until = "2026-01-03T03:04:05Z";
        let many: Vec<String> = (0..100).map(|n: u32| format!("{}={until}", KeyHash::of(&n.to_be_bytes()))).collect();
        let of = |previous: String| Notes::of(&BTreeMap::from([(PREVIOUS.to_owned(), previous)])).previous;
        assert_eq!(of(many.join(",")).len(), MAX_PREVIOUS);
        let placeholder = format!("{}={until}", KeyHash::of(b"vectoll-pod-key"));
        assert_eq!(
            of(format!("{placeholder},{}", many[0])),
            of(many[0].clone()),
            "sidecars would refuse the whole config"
        );
    }
}
