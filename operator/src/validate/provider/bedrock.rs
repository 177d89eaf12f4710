//! Amazon Bedrock.

use vectoll_config::v1::native::{Api, Empty};
use vectoll_crds::Bedrock;

use super::{Auth, Native, Presented, aws, check::Check};

/// The models whose shapes the sidecar knows, by what their IDs begin with.
const MODELS: [&str; 6] = [
    "amazon.titan-embed-text-v1",
    "amazon.titan-embed-text-v2",
    "amazon.nova-2-multimodal-embeddings-v1",
    "cohere.embed-english-v3",
    "cohere.embed-multilingual-v3",
    "cohere.embed-v4",
];

pub(super) fn bedrock(settings: &Bedrock, model: Option<&str>, check: &mut Check<'_>) -> Option<Native> {
    let Bedrock { region, endpoint, access_key_secret_ref, api_key_secret_ref, web_identity, pod_identity } = settings;
    match model {
        None => check.fault_beside(
            "model",
            "is not set, and Bedrock's models each speak in a way of their own: name it, for example \
             amazon.titan-embed-text-v2:0",
        ),
        Some(model) if !is_known(model) => check.fault_beside(
            "model",
            format_args!(
                "\"{model}\" is not an embedding model of Bedrock that is known: {}, with a cross-region prefix (us., eu., \
                 global.) or without; ARNs do not tell the model",
                MODELS.join(", ")
            ),
        ),
        Some(_) => {}
    }
    let region = aws::region(region, check);
    let root = region.as_deref().map(|region| aws::root("bedrock-runtime", region));
    let (field, root) = match endpoint {
        Some(endpoint) => ("endpoint", Some(endpoint.clone())),
        None => ("region", root),
    };
    let base_url =
        root.and_then(|root| check.root(field, &root, "https://bedrock-runtime.us-east-1.amazonaws.com", "/model"));
    let credential = check.credential();
    let region = region?;
    let auth = match (access_key_secret_ref, api_key_secret_ref, web_identity, pod_identity) {
        (Some(_), None, None, None) => credential.map(|keys| Auth::With(keys, Presented::Aws { region })),
        (None, Some(_), None, None) => credential.map(|key| Auth::With(key, Presented::Bearer)),
        (None, None, Some(role), None) => Some(aws::web_identity(&region, role, check)),
        (None, None, None, Some(pod)) => Some(aws::pod_identity(&region, *pod)),
        _ => {
            check.fault(
                "Bedrock is called with one credential: set one of accessKeySecretRef, apiKeySecretRef, webIdentity, \
                 podIdentity",
            );
            None
        }
    };
    Some(Native { base_url: base_url?, api: Api::Bedrock(Empty {}), auth: auth? })
}

/// Whether a model's ID tells its shape, by itself or behind the prefix of a cross-region inference profile.
fn is_known(model: &str) -> bool {
    let is_version = |version: &str| {
        version.is_empty()
            || version.starts_with(':') && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b':')
    };
    let is_model = |id: &str| MODELS.iter().any(|name| id.strip_prefix(name).is_some_and(is_version));
    let is_region = |prefix: &str| prefix.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    is_model(model) || model.split_once('.').is_some_and(|(prefix, id)| is_region(prefix) && is_model(id))
}

#[cfg(test)]
mod tests {
    use super::is_known;

    #[test]
    fn ids_are_known_with_version_and_cross_region_prefix() {
        for model in [
            "amazon.titan-embed-text-v1",
            "amazon.titan-embed-text-v2:0",
            "amazon.titan-embed-text-v1:2:8k",
            "us.cohere.embed-v4:0",
            "us-gov.amazon.titan-embed-text-v2:0",
        ] {
            assert!(is_known(model), "{model}");
        }
        for model in [
            "",
            "amazon.titan-embed-text-v22",
            "amazon.titan-embed-image-v1",
            "amazon.titan-embed-text-v2:0/../x",
            "US.cohere.embed-v4:0",
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/x",
            "anthropic.claude",
        ] {
            assert!(!is_known(model), "{model}");
        }
    }
}
