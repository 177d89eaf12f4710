//! Amazon `SageMaker`.

use vectoll_config::v1::native::{self, Api};
use vectoll_crds::{Container, SageMaker};

use super::{Auth, Native, Presented, aws, check::Check, names::is_alphanumeric_with_dashes};

pub(super) fn sage_maker(settings: &SageMaker, check: &mut Check<'_>) -> Option<Native> {
    let SageMaker { region, endpoint_name, container, base_url, access_key_secret_ref, web_identity, pod_identity } =
        settings;
    check.must(
        "endpointName",
        is_alphanumeric_with_dashes(endpoint_name, 63),
        "is not the name of an endpoint: letters, digits and - only, at most 63",
    );
    let region = aws::region(region, check);
    let root = region.as_deref().map(|region| aws::root("runtime.sagemaker", region));
    let (field, root) = match base_url {
        Some(base_url) => ("baseURL", Some(base_url.clone())),
        None => ("region", root),
    };
    let base_url = root
        .and_then(|root| check.root(field, &root, "https://runtime.sagemaker.us-east-1.amazonaws.com", "/endpoints"));
    let credential = check.credential();
    let region = region?;
    let auth = match (access_key_secret_ref, web_identity, pod_identity) {
        (Some(_), None, None) => credential.map(|keys| Auth::With(keys, Presented::Aws { region })),
        (None, Some(role), None) => Some(aws::web_identity(&region, role, check)),
        (None, None, Some(pod)) => Some(aws::pod_identity(&region, *pod)),
        _ => {
            check.error(
                "SageMaker is called with one credential: set one of accessKeySecretRef, webIdentity, podIdentity",
            );
            None
        }
    };
    let container = match container {
        Container::TextEmbeddingsInference => native::Container::TextEmbeddingsInference,
        Container::OpenAi => native::Container::OpenAi,
    };
    let api = Api::SageMaker(native::SageMaker { endpoint: endpoint_name.clone(), container });
    Some(Native { base_url: base_url?, api, auth: auth? })
}
