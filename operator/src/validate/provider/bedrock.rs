//! Amazon Bedrock.

use vectoll_config::v1::native::{self, Api};
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

/// What an ARN that can be called names.
const RESOURCES: [&str; 4] =
    ["foundation-model", "inference-profile", "application-inference-profile", "provisioned-model"];

pub(super) fn bedrock(settings: &Bedrock, model: Option<&str>, check: &mut Check<'_>) -> Option<Native> {
    let Bedrock {
        region,
        endpoint,
        foundation_model,
        access_key_secret_ref,
        api_key_secret_ref,
        web_identity,
        pod_identity,
    } = settings;
    let mut behind_arn = None;
    match model {
        None => check.fault_beside(
            "model",
            "is not set, and Bedrock's models each speak in a way of their own: name it, for example \
             amazon.titan-embed-text-v2:0",
        ),
        Some(model) if model.starts_with("arn:") => {
            behind_arn = foundation_model_of(model, foundation_model.as_deref(), region, check);
        }
        Some(model) if !is_known(model) => check.fault_beside(
            "model",
            format_args!(
                "\"{model}\" is not an embedding model of Bedrock that is known: {}, with a cross-region prefix (us., eu., \
                 global.) or without, nor an ARN",
                MODELS.join(", ")
            ),
        ),
        Some(_) if foundation_model.is_some() => {
            check.fault_at("foundationModel", "is for ARNs, and model is the ID of a foundation model itself: leave it out");
        }
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
            check.error(
                "Bedrock is called with one credential: set one of accessKeySecretRef, apiKeySecretRef, webIdentity, \
                 podIdentity",
            );
            None
        }
    };
    Some(Native {
        base_url: base_url?,
        api: Api::Bedrock(native::Bedrock { foundation_model: behind_arn }),
        auth: auth?,
    })
}

/// The foundation model behind an ARN, without a cross-region prefix: as the ARN tells it, or as it is named.
///
/// Source: Amazon Bedrock API reference, `InvokeModel`, the pattern of `modelId`.
fn foundation_model_of(arn: &str, named: Option<&str>, region: &str, check: &mut Check<'_>) -> Option<String> {
    let not_one = |check: &mut Check<'_>| {
        check.fault_beside(
            "model",
            format_args!(
                "\"{arn}\" is not an ARN of Bedrock that can be called: write arn:aws:bedrock:{region}:ACCOUNT:, followed by {}, / and \
                 an ID",
                RESOURCES.join(", ")
            ),
        );
        None
    };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [_, partition, "bedrock", of_region, account, resource] = parts.as_slice() else { return not_one(check) };
    let Some((kind, id)) = resource.split_once('/').filter(|(kind, _)| RESOURCES.contains(kind)) else {
        return not_one(check);
    };
    let is_partition = *partition == "aws" || partition.starts_with("aws-");
    let is_account = account.bytes().all(|byte| byte.is_ascii_digit());
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte));
    if !(is_partition && is_account && is_id) {
        return not_one(check);
    }
    if *of_region != region {
        check.fault_beside(
            "model",
            format_args!(
                "is an ARN of {of_region}, and the backend calls {region}: write the same region in bedrock.region"
            ),
        );
    }
    let of_arn =
        matches!(kind, "foundation-model" | "inference-profile").then(|| without_prefix(id)).filter(|id| is_known(id));
    match (named, of_arn) {
        (Some(named), _) if !is_known(named) => {
            check.fault_at(
                "foundationModel",
                format_args!("\"{named}\" is not an embedding model of Bedrock that is known: {}", MODELS.join(", ")),
            );
            None
        }
        (Some(named), Some(of_arn)) if without_prefix(named) != of_arn => {
            check.fault_at("foundationModel", format_args!("is another model than the ARN's, {of_arn}: leave it out"));
            None
        }
        (Some(named), _) => Some(without_prefix(named).to_owned()),
        (None, Some(of_arn)) => Some(of_arn.to_owned()),
        (None, None) => {
            check.fault_at(
                "foundationModel",
                "is not set, and the ARN in model does not tell which model is behind it: name its ID, for example \
                 amazon.titan-embed-text-v2:0",
            );
            None
        }
    }
}

/// A model's ID without the prefix of a cross-region inference profile.
fn without_prefix(id: &str) -> &str {
    let is_model = |id: &str| MODELS.iter().any(|name| id.starts_with(name));
    id.split_once('.').map(|(_, id)| id).filter(|behind| !is_model(id) && is_model(behind)).unwrap_or(id)
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
