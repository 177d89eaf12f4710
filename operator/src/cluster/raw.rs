//! Objects as the API server serves them, read so that no object can make a list unreadable.
//!
//! A list is decoded as a whole: one field that a type cannot hold would hide all other objects of all other namespaces. So a list's
//! objects are only taken apart here, which cannot fail, and each is read by itself where it is kept ([`super::readable`]).

use std::{borrow::Cow, fmt, marker::PhantomData};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// What is kept of an object beside its metadata.
pub(crate) trait Body: Default + Clone + Send + 'static {
    /// Takes in a field.
    fn field<'de, A: MapAccess<'de>>(&mut self, name: String, map: &mut A) -> Result<(), A::Error>;

    /// Its fields.
    fn fields(&self) -> Option<&Map<String, Value>>;
}

/// All of it.
impl Body for Map<String, Value> {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: String, map: &mut A) -> Result<(), A::Error> {
        self.insert(name, map.next_value()?);
        Ok(())
    }

    fn fields(&self) -> Option<&Map<String, Value>> {
        Some(self)
    }
}

/// Nothing of it.
impl Body for () {
    fn field<'de, A: MapAccess<'de>>(&mut self, _name: String, map: &mut A) -> Result<(), A::Error> {
        map.next_value::<IgnoredAny>().map(|_| ())
    }

    fn fields(&self) -> Option<&Map<String, Value>> {
        None
    }
}

/// An object of kind `K`. Its `Debug` shows what it is called and nothing of what is in it.
pub(crate) struct Raw<K, B = Map<String, Value>> {
    /// What identifies it. Of the rest only labels, annotations and owners; who has managed its fields, and when, is not read.
    pub(super) metadata: ObjectMeta,
    pub(super) body: B,
    kind: PhantomData<fn() -> K>,
}

impl<K, B: Clone> Clone for Raw<K, B> {
    fn clone(&self) -> Self {
        Self { metadata: self.metadata.clone(), body: self.body.clone(), kind: PhantomData }
    }
}

impl<K> Raw<K> {
    /// A field of the object.
    pub(super) fn field(&self, path: &str) -> Option<&Value> {
        let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let value = self.body.get(first)?;
        rest.map_or(Some(value), |rest| value.pointer(&format!("/{rest}")))
    }
}

impl<K: Serialize> Raw<K> {
    /// An object of ours, to be sent.
    pub(super) fn of(object: &K) -> serde_json::Result<Self> {
        serde_json::from_value(serde_json::to_value(object)?)
    }
}

impl<K, B> fmt::Debug for Raw<K, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectMeta { namespace, name, resource_version, .. } = &self.metadata;
        f.debug_struct("Raw")
            .field("namespace", namespace)
            .field("name", name)
            .field("version", resource_version)
            .finish_non_exhaustive()
    }
}

impl<K: Resource<DynamicType = ()>, B: Body> Resource for Raw<K, B> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl<K, B: Body> Serialize for Raw<K, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            metadata: &'a ObjectMeta,
            #[serde(flatten)]
            body: Option<&'a Map<String, Value>>,
        }
        Whole { metadata: &self.metadata, body: self.body.fields() }.serialize(serializer)
    }
}

impl<'de, K, B: Body> Deserialize<'de> for Raw<K, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<K, B>(PhantomData<fn() -> (K, B)>);
        impl<'de, K, B: Body> Visitor<'de> for Fields<K, B> {
            type Value = Raw<K, B>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut metadata, mut body) = (Metadata::default(), B::default());
                while let Some(name) = map.next_key::<String>()? {
                    if name == "metadata" {
                        metadata = map.next_value()?;
                    } else {
                        body.field(name, &mut map)?;
                    }
                }
                Ok(Raw { metadata: metadata.readable(), body, kind: PhantomData })
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// Metadata of which nothing is believed to be of its type.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Value,
    namespace: Value,
    uid: Value,
    resource_version: Value,
    generation: Value,
    creation_timestamp: Value,
    deletion_timestamp: Value,
    labels: Value,
    annotations: Value,
    owner_references: Value,
}

impl Metadata {
    fn readable(self) -> ObjectMeta {
        ObjectMeta {
            name: read(self.name),
            namespace: read(self.namespace),
            uid: read(self.uid),
            resource_version: read(self.resource_version),
            generation: read(self.generation),
            creation_timestamp: read(self.creation_timestamp),
            // That it goes is what counts, not when.
            deletion_timestamp: (!self.deletion_timestamp.is_null())
                .then(|| read(self.deletion_timestamp).unwrap_or(Time(jiff::Timestamp::MAX))),
            labels: texts(self.labels),
            annotations: texts(self.annotations),
            owner_references: owners(self.owner_references),
            ..ObjectMeta::default()
        }
    }
}

/// A value, if it is of the type.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

fn texts<T: FromIterator<(String, String)>>(value: Value) -> Option<T> {
    let Value::Object(all) = value else { return None };
    let text = |(name, value): (String, Value)| Some((name, read(value)?));
    Some(all.into_iter().filter_map(text).collect())
}

fn owners(value: Value) -> Option<Vec<OwnerReference>> {
    let Value::Array(all) = value else { return None };
    Some(all.into_iter().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use k8s_openapi::api::core::v1::Secret;
    use kube::core::ObjectList;

    use super::*;

    #[test]
    fn no_object_makes_a_list_unreadable() {
        let list = r#"{"apiVersion": "v1", "kind": "SecretList", "metadata": {"resourceVersion": "9"}, "items": [
            {"metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {"x": "y", "z": 1},
              "deletionTimestamp": "9999-12-31T23:59:59Z", "ownerReferences": [7, {"apiVersion": "v1", "kind": "K", "name": "o", "uid": "1"}],
              "managedFields": [{"time": "9999-12-31T23:59:59Z", "fieldsV1": {"f:data": {}}}, null, 3]},
             "data": {"key": "not base64!", "other": 7}},
            {"metadata": {"name": 5, "managedFields": "none", "creationTimestamp": "9999-12-31T23:59:59Z"}, "data": [], "type": {}},
            {"metadata": {"name": "c"}, "data": {"key": "YQ=="}}]}"#;
        assert!(serde_json::from_str::<ObjectList<Secret>>(list).is_err(), "or there is nothing to be seen here");
        let read: ObjectList<Raw<Secret>> = serde_json::from_str(list).unwrap();
        let [a, b, c] = read.items.try_into().unwrap();
        assert_eq!((a.metadata.name.as_deref(), a.metadata.uid.as_deref()), (Some("a"), Some("u")));
        assert!(a.metadata.deletion_timestamp.is_some() && a.metadata.managed_fields.is_none());
        assert_eq!(a.metadata.labels.unwrap().len(), 1);
        assert_eq!(a.metadata.owner_references.unwrap().len(), 1);
        assert_eq!(b.metadata, ObjectMeta::default());
        assert_eq!(c.field("data/key"), Some(&Value::from("YQ==")));
        assert!(!format!("{c:?}").contains("YQ"), "{c:?}");
        let bare: ObjectList<Raw<Secret, ()>> = serde_json::from_str(list).unwrap();
        assert_eq!(bare.items.len(), 3);
    }
}
