//! One file of manifests: documents to objects, errors with their line.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use serde::{Deserialize, de::DeserializeOwned};
use vectoll_config::{ObjectName, Uid, line_of};
use vectoll_crds::{ApiKey, ApiKeySpec, ModelRoute, ModelRouteSpec, Team, TeamSpec};

use crate::{
    validate,
    world::{Object, SecretContent},
};

/// What identifies an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) kind: String,
    pub(super) name: ObjectName,
}

/// An object of a kind that matters.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Resource {
    ApiKey(Object<ApiKeySpec>),
    Team(Object<TeamSpec>),
    ModelRoute(Object<ModelRouteSpec>),
    Secret(SecretContent),
    Namespace(BTreeMap<String, String>),
}

/// What is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fault {
    /// From 1.
    pub(super) line: Option<usize>,
    pub(super) reason: String,
}

/// One document of a file.
pub(super) enum Document {
    /// An object.
    Good(Id, Resource),
    /// An object that is known by name, and what is wrong with it.
    Bad(Id, Fault),
    /// Something that is no object at all; what it was meant to be nobody knows.
    Broken(Fault),
    /// An object that is none of ours.
    Foreign,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    namespace: Option<String>,
    name: Option<String>,
}

/// Reads a file's documents. Objects that name no namespace belong to `namespace`.
pub(super) fn read(text: &str, namespace: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut index = 0;
    // The parser is asked for one document at a time, each from its own iterator position, so that a typed error in one
    // does not end the others.
    while let Some(deserializer) = nth(text, index) {
        index += 1;
        let header: Result<Option<Header>, _> = Deserialize::deserialize(deserializer);
        match header {
            Ok(None) => {}
            Ok(Some(header)) => documents.push(document(text, index - 1, header, namespace)),
            Err(error) => {
                let line = error.location().map(|at| at.line());
                let syntax =
                    nth(text, index - 1).is_none_or(|document| serde_yaml::Value::deserialize(document).is_err());
                let reason = format!("not a Kubernetes object: {}", plain(&error.to_string()));
                documents.push(Document::Broken(Fault { line, reason }));
                if syntax {
                    // Nothing behind a syntax error can be trusted to be what it seems.
                    break;
                }
            }
        }
    }
    documents
}

fn nth(text: &str, index: usize) -> Option<serde_yaml::Deserializer<'_>> {
    serde_yaml::Deserializer::from_str(text).nth(index)
}

/// The parser's message without the place, which is told apart.
fn plain(message: &str) -> &str {
    message.split(" at line ").next().unwrap_or(message)
}

fn document(text: &str, index: usize, header: Header, namespace: &str) -> Document {
    let line = |path: &str| nth(text, index).and_then(|document| line_of(document, path));
    let Header { api_version, kind, metadata } = header;
    let (Some(api_version), Some(kind)) = (api_version, kind) else {
        let reason = "not a Kubernetes object: apiVersion or kind is missing".to_owned();
        return Document::Broken(Fault { line: line(""), reason });
    };
    let ours = api_version.starts_with("vectoll.dev/");
    if !ours && (api_version != "v1" || !matches!(kind.as_str(), "Secret" | "Namespace")) {
        return Document::Foreign;
    }
    let Some(name) = metadata.name.filter(|name| !name.is_empty()) else {
        return Document::Broken(Fault { line: line("metadata"), reason: format!("{kind}: metadata.name is missing") });
    };
    let namespace = if kind == "Namespace" { "" } else { metadata.namespace.as_deref().unwrap_or(namespace) };
    let id = Id { kind: kind.clone(), name: ObjectName::new(namespace, &name) };
    let read = match (api_version.as_str(), kind.as_str()) {
        ("vectoll.dev/v1alpha1", "ApiKey") => typed(text, index).and_then(|object: ApiKey| {
            cel(object.validate_cel())?;
            let object = of(&id, object.metadata, object.spec);
            valid(validate::api_key(&object))?;
            Ok(Resource::ApiKey(object))
        }),
        ("vectoll.dev/v1alpha1", "Team") => typed(text, index).and_then(|object: Team| {
            cel(object.validate_cel())?;
            let object = of(&id, object.metadata, object.spec);
            valid(validate::team(&object))?;
            Ok(Resource::Team(object))
        }),
        ("vectoll.dev/v1alpha1", "ModelRoute") => typed(text, index).and_then(|object: ModelRoute| {
            cel(object.validate_cel())?;
            let object = of(&id, object.metadata, object.spec);
            valid(validate::model_route(&object))?;
            Ok(Resource::ModelRoute(object))
        }),
        ("v1", "Secret") => typed(text, index).map(|secret: Secret| Resource::Secret(SecretContent::of(secret))),
        ("v1", "Namespace") => typed(text, index)
            .map(|namespace: Namespace| Resource::Namespace(namespace.metadata.labels.unwrap_or_default())),
        _ => Err(vec![(
            "apiVersion".to_owned(),
            format!("there is no {kind} in {api_version}: write vectoll.dev/v1alpha1 and ApiKey, Team or ModelRoute"),
        )]),
    };
    match read {
        Ok(resource) => Document::Good(id, resource),
        Err(faults) => {
            let line = faults.first().and_then(|(path, _)| line(path));
            let told: Vec<String> = faults
                .into_iter()
                .map(|(path, reason)| if path.is_empty() { reason } else { format!("{path}: {reason}") })
                .collect();
            let reason = format!("{kind} {}: {}", id.name, told.join("; "));
            Document::Bad(id, Fault { line, reason })
        }
    }
}

/// Path and reason.
type PathFaults = Vec<(String, String)>;

fn typed<T: DeserializeOwned>(text: &str, index: usize) -> Result<T, PathFaults> {
    let Some(document) = nth(text, index) else { return Err(vec![(String::new(), "it is gone".to_owned())]) };
    serde_path_to_error::deserialize(document).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        let reason = plain(&reason);
        // The parser repeats the path as far as it knows it.
        let reason = match reason.split_once(": ") {
            Some((begin, rest)) if path.starts_with(begin) => rest.to_owned(),
            Some(_) | None => reason.to_owned(),
        };
        vec![(if path == "." { String::new() } else { path }, reason)]
    })
}

/// The rules that the API server would run.
fn cel(result: Result<(), kube::core::cel::ValidationErrors>) -> Result<(), PathFaults> {
    result.map_err(|errors| {
        errors
            .into_vec()
            .into_iter()
            .map(|error| (error.field_path.trim_start_matches('.').to_owned(), error.message))
            .collect()
    })
}

fn valid<T>(result: Result<T, Vec<validate::Fault>>) -> Result<(), PathFaults> {
    result.map(|_| ()).map_err(|faults| faults.into_iter().map(|fault| (fault.path, fault.reason)).collect())
}

fn of<S>(id: &Id, metadata: kube::core::ObjectMeta, spec: S) -> Object<S> {
    Object {
        name: id.name.clone(),
        // Without one in the manifest the state folder gives one.
        uid: Uid::new(metadata.uid.as_deref().unwrap_or_default()),
        created: metadata.creation_timestamp.map(|time| time.0),
        spec,
    }
}
