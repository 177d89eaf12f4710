//! One file of manifests: documents to objects, errors with their line.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use serde::{Deserialize, de::DeserializeOwned};
use vectoll_config::{ObjectName, Uid, line_of};
use vectoll_crds::{ApiKey, ApiKeySpec, ModelRoute, ModelRouteSpec, Team, TeamSpec};

use crate::{
    key_secret,
    observed_state::{self, Object, SecretContent},
    validate,
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
pub(super) struct ManifestError {
    /// From 1.
    pub(super) line: Option<usize>,
    pub(super) reason: String,
}

/// One document of a file.
pub(super) enum Document {
    /// An object.
    Good(Id, Resource),
    /// An object that is known by name, and what is wrong with it.
    Bad(Id, ManifestError),
    /// Something that is no object at all; what it was meant to be nobody knows.
    Broken(ManifestError),
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
    for part in parts(text) {
        let header: Result<Option<Header>, _> = Deserialize::deserialize(part.yaml());
        match header {
            Ok(None) => {}
            Ok(Some(header)) => documents.push(document(part, header, namespace)),
            Err(error) => {
                let line = error.location().map(|at| part.before + at.line());
                let reason = format!("not a Kubernetes object: {}", plain(&error.to_string()));
                documents.push(Document::Broken(ManifestError { line, reason }));
            }
        }
    }
    documents
}

/// One document's text, and how many lines of the file come before it.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    before: usize,
}

impl<'a> Part<'a> {
    fn yaml(self) -> serde_yaml::Deserializer<'a> {
        serde_yaml::Deserializer::from_str(self.text)
    }

    /// The line of a path, in the file.
    fn line(self, path: &str) -> Option<usize> {
        line_of(self.yaml(), path).map(|line| self.before + line)
    }
}

/// The documents of a stream. A line that begins with `---` divides them wherever it stands (YAML 1.2.2, 9.1.2), so each can
/// be read on its own and a mistake in one says nothing of the others.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut start, mut before, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let divides =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if divides && at > start {
            parts.push(Part { text: text.get(start..at).unwrap_or_default(), before });
            (start, before) = (at, number);
        }
        at += line.len();
    }
    parts.push(Part { text: text.get(start..).unwrap_or_default(), before });
    parts
}

/// The parser's message without the place, which is told apart, and without the value: it may be a credential that
/// someone put where none belongs.
fn plain(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    match (message.find("string \""), message.rfind("\", expected")) {
        (Some(from), Some(to)) if from < to => {
            let (begin, end) = (message.get(..from).unwrap_or_default(), message.get(to + 1..).unwrap_or_default());
            format!("{begin}a string{end}")
        }
        (Some(_) | None, Some(_) | None) => message.to_owned(),
    }
}

fn document(part: Part<'_>, header: Header, namespace: &str) -> Document {
    let line = |path: &str| part.line(path);
    let broken = |path: &str, reason: String| Document::Broken(ManifestError { line: line(path), reason });
    let Header { api_version, kind, metadata } = header;
    let (Some(api_version), Some(kind)) = (api_version, kind) else {
        return broken("", "not a Kubernetes object: apiVersion or kind is missing".to_owned());
    };
    // What was meant for us and does not say so rightly is not passed over: that would take the object away.
    let ours = api_version.starts_with("vect");
    let known = matches!(kind.as_str(), "ApiKey" | "Team" | "ModelRoute");
    if ours && (api_version != "vectoll.dev/v1alpha1" || !known) {
        let reason =
            format!("there is no {kind} in {api_version}: write vectoll.dev/v1alpha1 and ApiKey, Team or ModelRoute");
        return broken("apiVersion", reason);
    }
    if api_version == "v1" && kind == "List" {
        return broken(
            "kind",
            "a List is not read: write its items as documents of their own, divided by ---".to_owned(),
        );
    }
    if !ours && (api_version != "v1" || !matches!(kind.as_str(), "Secret" | "Namespace")) {
        return Document::Foreign;
    }
    let Some(name) = metadata.name.filter(|name| !name.is_empty()) else {
        return broken("metadata", format!("{kind}: metadata.name is missing"));
    };
    let namespace = if kind == "Namespace" { "" } else { metadata.namespace.as_deref().unwrap_or(namespace) };
    if !validate::is_subdomain(&name) {
        return broken(
            "metadata.name",
            format!("{kind}: metadata.name is not a name: lower-case letters, digits, - and ."),
        );
    }
    if kind != "Namespace" && !validate::is_label(namespace) {
        return broken("metadata.namespace", format!("{kind}: metadata.namespace is not a namespace's name"));
    }
    let id = Id { kind: kind.clone(), name: ObjectName::new(namespace, &name) };
    let read = match (api_version.as_str(), kind.as_str()) {
        ("vectoll.dev/v1alpha1", "ApiKey") => typed(part).and_then(|object: ApiKey| {
            cel(object.validate_cel())?;
            let object = of(&id, object.metadata, object.spec);
            valid(validate::api_key(&object))?;
            Ok(Resource::ApiKey(object))
        }),
        ("vectoll.dev/v1alpha1", "Team") => typed(part).and_then(|object: Team| {
            cel(object.validate_cel())?;
            let object = of(&id, object.metadata, object.spec);
            valid(validate::team(&object))?;
            Ok(Resource::Team(object))
        }),
        ("vectoll.dev/v1alpha1", "ModelRoute") => typed(part).and_then(|object: ModelRoute| {
            cel(object.validate_cel())?;
            let object = of(&id, object.metadata, object.spec);
            valid(validate::model_route(&object))?;
            Ok(Resource::ModelRoute(object))
        }),
        ("v1", "Secret") => typed(part).map(|secret: Secret| Resource::Secret(SecretContent::of(secret))),
        ("v1", "Namespace") => {
            typed(part).map(|namespace: Namespace| Resource::Namespace(namespace.metadata.labels.unwrap_or_default()))
        }
        _ => return Document::Foreign,
    };
    match read {
        Ok(resource) => Document::Good(id, resource),
        Err(errors) => {
            let line = errors.first().and_then(|(path, _)| line(path));
            let texts: Vec<String> = errors
                .into_iter()
                .map(|(path, reason)| if path.is_empty() { reason } else { format!("{path}: {reason}") })
                .collect();
            let reason = format!("{kind} {}: {}", id.name, texts.join("; "));
            Document::Bad(id, ManifestError { line, reason })
        }
    }
}

/// Path and reason.
type PathErrors = Vec<(String, String)>;

fn typed<T: DeserializeOwned>(part: Part<'_>) -> Result<T, PathErrors> {
    serde_path_to_error::deserialize(part.yaml()).map_err(|error| {
        let path = error.path().to_string();
        let reason = plain(&error.into_inner().to_string());
        // The parser repeats the path as far as it knows it.
        let reason = match reason.split_once(": ") {
            Some((begin, rest)) if path.starts_with(begin) => rest.to_owned(),
            Some(_) | None => reason,
        };
        vec![(if path == "." { String::new() } else { path }, reason)]
    })
}

/// The rules that the API server would run.
fn cel(result: Result<(), kube::core::cel::ValidationErrors>) -> Result<(), PathErrors> {
    result.map_err(|errors| {
        errors
            .into_vec()
            .into_iter()
            .map(|error| (error.field_path.trim_start_matches('.').to_owned(), error.message))
            .collect()
    })
}

fn valid<T>(result: Result<T, Vec<validate::FieldError>>) -> Result<(), PathErrors> {
    result.map(|_| ()).map_err(|errors| errors.into_iter().map(|error| (error.path, error.reason)).collect())
}

fn of<S>(id: &Id, metadata: kube::core::ObjectMeta, spec: S) -> Object<S> {
    let mut annotations = metadata.annotations.unwrap_or_default();
    Object {
        name: id.name.clone(),
        // Without one in the manifest the state folder gives one.
        uid: Uid::new(metadata.uid.as_deref().unwrap_or_default()),
        created: metadata.creation_timestamp.map(|time| time.0),
        rotate: annotations.remove(key_secret::ROTATE),
        account: annotations.remove(observed_state::ACCOUNT).map(|uid| Uid::new(&uid)),
        reset: annotations.remove(observed_state::RESET_BUDGETS),
        spec,
    }
}
