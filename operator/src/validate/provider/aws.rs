//! How a caller says to AWS who it is.

use vectoll_config::v1::native::{self, AwsKeys, Empty};
use vectoll_crds::{PodIdentity, WebIdentity};

use super::{
    Auth,
    check::Check,
    names::{NOT_A_REGION, aws_domain, is_aws_region, is_role_arn},
};

/// A region that is one.
pub(super) fn region(region: &str, check: &mut Check<'_>) -> Option<String> {
    check.must("region", is_aws_region(region), NOT_A_REGION);
    is_aws_region(region).then(|| region.to_owned())
}

/// The root of a service in a region.
pub(super) fn root(service: &str, region: &str) -> String {
    format!("https://{service}.{region}.{}", aws_domain(region))
}

/// The pod's own token, exchanged for keys of a role.
pub(super) fn web_identity(region: &str, settings: &WebIdentity, check: &mut Check<'_>) -> Auth {
    let WebIdentity { role_arn, sts_url } = settings;
    check.must(
        "webIdentity.roleARN",
        is_role_arn(role_arn),
        "is not the ARN of a role: write for example arn:aws:iam::123456789012:role/embeddings",
    );
    let sts_url =
        sts_url.as_ref().and_then(|url| check.url("webIdentity.stsURL", url, "https://sts.us-east-1.amazonaws.com"));
    signed(region, AwsKeys::WebIdentity(native::WebIdentity { role_arn: role_arn.clone(), sts_url }))
}

/// Keys that EKS Pod Identity's agent hands out.
pub(super) fn pod_identity(region: &str, PodIdentity {}: PodIdentity) -> Auth {
    signed(region, AwsKeys::PodIdentity(Empty {}))
}

fn signed(region: &str, keys: AwsKeys) -> Auth {
    Auth::Without(native::Auth::Aws(native::Aws { region: region.to_owned(), keys }))
}
