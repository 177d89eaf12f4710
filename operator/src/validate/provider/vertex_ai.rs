//! Vertex AI.

use vectoll_config::v1::native::{self, Api, Empty, Google};
use vectoll_crds::{MetadataServer, VertexAi};

use super::{
    Auth, Native, Presented,
    check::Check,
    names::{is_location, is_project},
};

const EXAMPLE: &str = "https://europe-west4-aiplatform.googleapis.com";

pub(super) fn vertex_ai(settings: &VertexAi, check: &mut Check<'_>) -> Option<Native> {
    let VertexAi { project, location, base_url, service_account_secret_ref, metadata_server } = settings;
    check.must("project", is_project(project), "is not a project of Google Cloud: write its ID or its number");
    check.must(
        "location",
        is_location(location),
        "is not a location of Google Cloud: write for example europe-west4, or global",
    );
    let (field, root) = match base_url {
        Some(base_url) => ("baseURL", Some(base_url.clone())),
        None => ("location", root(location)),
    };
    let base_url = root.and_then(|root| check.root(field, &root, EXAMPLE, "/v1"));
    let credential = check.credential();
    let auth = match (service_account_secret_ref, metadata_server) {
        (Some(_), None) => credential.map(|account| Auth::With(account, Presented::Google)),
        (None, Some(MetadataServer {})) => Some(Auth::Without(native::Auth::Google(Google::MetadataServer(Empty {})))),
        (None, None) | (Some(_), Some(_)) => {
            check.error("Vertex AI is called with one credential: set one of serviceAccountSecretRef, metadataServer");
            None
        }
    };
    let api = Api::VertexAi(native::VertexAi { project: project.clone(), location: location.clone() });
    Some(Native { base_url: base_url?, api, auth: auth? })
}

/// Where a location's API is. The global one has no prefix.
fn root(location: &str) -> Option<String> {
    match location {
        "global" => Some("https://aiplatform.googleapis.com".to_owned()),
        _ => is_location(location).then(|| format!("https://{location}-aiplatform.googleapis.com")),
    }
}
