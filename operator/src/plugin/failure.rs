//! What the API server refuses, and what to do about it.

use std::fmt;

/// What was asked of the API server.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// As in roles: get, list, patch.
    pub(super) verb: &'static str,
    /// As in `kubectl get`: `apikeys.vectoll.dev`.
    pub(super) resource: String,
    /// None: the whole cluster.
    pub(super) namespace: Option<String>,
    /// None: all of them.
    pub(super) name: Option<String>,
}

impl Request {
    pub(super) fn get(resource: &str, namespace: Option<&str>, name: &str) -> Self {
        let (resource, namespace) = (resource.to_owned(), namespace.map(str::to_owned));
        Self { verb: "get", resource, namespace, name: Some(name.to_owned()) }
    }

    pub(super) fn list(resource: &str, namespace: Option<&str>) -> Self {
        Self { verb: "list", resource: resource.to_owned(), namespace: namespace.map(str::to_owned), name: None }
    }

    /// The log of a pod's containers.
    pub(super) fn logs(namespace: &str, pod: &str) -> Self {
        Self::get("pods/log", Some(namespace), pod)
    }

    pub(super) fn patch(resource: &str, namespace: &str, name: &str) -> Self {
        Self { verb: "patch", ..Self::get(resource, Some(namespace), name) }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, resource, namespace, name } = self;
        write!(f, "{verb} {resource}")?;
        if let Some(name) = name {
            write!(f, "/{name}")?;
        }
        match namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None if name.is_some() => Ok(()),
            None => f.write_str(" in all namespaces"),
        }
    }
}

/// Why something cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The user may not.
    #[error(
        "you may not {0}: have an administrator allow you the verb {verb} on {resource} (for Vectoll's own resources: bind the ClusterRole \
         vectoll-view, or vectoll-edit)",
        verb = .0.verb, resource = .0.resource
    )]
    Forbidden(Request),
    /// The kind is not there at all.
    #[error(
        "the cluster has no {resource}: Vectoll's CustomResourceDefinitions are not installed there. Install the chart, or: vectoll-operator \
         crds | kubectl apply --server-side -f -", resource = .0.resource
    )]
    NoDefinition(Request),
    /// The object is not there.
    #[error("failed to {0}: there is none of that name; kubectl get {resource}{at} lists those that there are", resource = .0.resource, at = place(.0))]
    NotFound(Request),
    /// Who the user is cannot be told.
    #[error("the API server does not know you: log in again, as for kubectl")]
    Unauthorized,
    /// All else.
    #[error("failed to {0}")]
    Other(Request, #[source] kube::Error),
}

fn place(request: &Request) -> String {
    request.namespace.as_ref().map(|namespace| format!(" -n {namespace}")).unwrap_or_default()
}

impl Failure {
    pub(super) fn of(error: kube::Error, request: Request) -> Self {
        let kube::Error::Api(status) = &error else { return Self::Other(request, error) };
        match status.code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden(request),
            // A kind that is not served is answered by the router, which knows of no object.
            404 if status.details.as_ref().is_none_or(|details| details.name.is_empty()) => Self::NoDefinition(request),
            404 => Self::NotFound(request),
            _ => Self::Other(request, error),
        }
    }

    /// What is there; none: nothing of that name is.
    pub(super) fn or_none<T>(found: Result<T, Self>) -> Result<Option<T>, Self> {
        if let Err(Self::NotFound(_)) = found { Ok(None) } else { found.map(Some) }
    }

    /// Whether it is a matter of rights.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden(_))
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16, request: Request) -> String {
        let status = Status { code, ..Status::default() };
        Failure::of(kube::Error::Api(Box::new(status)), request).to_string()
    }

    #[test]
    fn a_refusal_names_the_verb_the_resource_and_what_to_do() {
        let list = Request::list("teams.vectoll.dev", None);
        let said = refused(403, list.clone());
        assert!(said.starts_with("you may not list teams.vectoll.dev in all namespaces: "), "{said}");
        assert!(said.contains("the verb list on teams.vectoll.dev") && said.contains("vectoll-view"), "{said}");
        assert!(refused(404, list).contains("vectoll-operator crds | kubectl apply"));
        let patch = Request::patch("apikeys.vectoll.dev", "web", "alice");
        assert_eq!(patch.to_string(), "patch apikeys.vectoll.dev/alice in namespace web");
        assert!(refused(401, patch).contains("log in again"));
    }
}
