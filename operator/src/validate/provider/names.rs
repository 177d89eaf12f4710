//! Names that become part of a host or a path: by the provider's own rules, so that none of them can change either.

/// A region of AWS: `us-east-1`, `us-gov-west-1`.
pub(super) fn is_aws_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    match parts.as_slice() {
        [words @ .., number] => {
            text.len() <= 32
                && words.len() >= 2
                && words.iter().all(word)
                && words.first().is_some_and(|first| first.len() >= 2)
                && !number.is_empty()
                && number.bytes().all(|byte| byte.is_ascii_digit())
        }
        [] => false,
    }
}

pub(super) const NOT_A_REGION: &str = "is not a region of AWS: write for example us-east-1";

/// The domains of AWS's partitions, by how their regions' names begin. All others are under `amazonaws.com`. Source: the table that
/// AWS's SDKs share (`sdk-partitions.json`: `regionRegex` and `dnsSuffix`).
const AWS_DOMAINS: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
];

/// The domain that a region's APIs are in.
pub(super) fn aws_domain(region: &str) -> &'static str {
    AWS_DOMAINS.iter().find(|(begin, _)| region.starts_with(begin)).map_or("amazonaws.com", |(_, domain)| domain)
}

/// The ARN of a role: `arn:aws:iam::123456789012:role/name`.
pub(super) fn is_role_arn(text: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (arn, partition, service, region, account, resource) = (next(), next(), next(), next(), next(), next());
    let name = resource.strip_prefix("role/").unwrap_or_default();
    arn == "arn"
        && (partition == "aws" || partition.strip_prefix("aws-").is_some_and(is_lower_with_dashes))
        && service == "iam"
        && region.is_empty()
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && (1..=512).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+=,.@_/".contains(&byte))
}

fn is_lower_with_dashes(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// Letters, digits and `-`, neither at the beginning nor at the end: names of `SageMaker` endpoints, UUIDs.
pub(super) fn is_alphanumeric_with_dashes(text: &str, longest: usize) -> bool {
    is_of(text, longest, b"-") && !text.ends_with('-')
}

/// A deployment of Azure OpenAI's.
pub(super) fn is_deployment(text: &str) -> bool {
    is_of(text, 64, b"-_.")
}

/// An ID of OpenAI's: `idp_abc`, `user-abc`.
pub(super) fn is_open_ai_id(text: &str) -> bool {
    is_of(text, 128, b"-_.")
}

/// Letters, digits and some more, beginning with one of the first two.
fn is_of(text: &str, longest: usize, more: &[u8]) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// A tenant of Entra ID: its UUID, or one of its domains.
pub(super) fn is_tenant(text: &str) -> bool {
    is_of(text, 253, b"-.") && !text.ends_with(['-', '.']) && !text.contains("..")
}

/// A location of Google Cloud's: `europe-west4`, `global`. It becomes the first label of a host.
pub(super) fn is_location(text: &str) -> bool {
    is_of(text, 63, b"-")
        && !text.ends_with('-')
        && text.bytes().all(|byte| !byte.is_ascii_uppercase())
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
}

/// A project of Google Cloud's: its ID, with a domain before it in old ones, or its number.
pub(super) fn is_project(text: &str) -> bool {
    let lower = |text: &str, more: &[u8]| {
        is_of(text, 63, more)
            && text.bytes().all(|byte| !byte.is_ascii_uppercase())
            && !text.ends_with(['-', '.'])
            && !text.contains("..")
    };
    match text.split_once(':') {
        Some((domain, id)) => lower(domain, b"-.") && lower(id, b"-"),
        None => lower(text, b"-"),
    }
}

/// A date, `2024-10-21`.
pub(super) fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What would change host, path or query if it stood in a URL.
    const HOSTILE: [&str; 14] = [
        "",
        ".",
        "..",
        "a/b",
        "a/../b",
        "evil.example#",
        "x@evil.example",
        "evil.example:80",
        "a?b",
        "a b",
        "a%2fb",
        "a\\b",
        "é",
        "a\nb",
    ];

    #[test]
    fn no_name_can_change_host_or_path() {
        for text in HOSTILE {
            assert!(!is_aws_region(text), "{text:?}");
            assert!(!is_role_arn(text), "{text:?}");
            assert!(!is_alphanumeric_with_dashes(text, 63), "{text:?}");
            assert!(!is_deployment(text), "{text:?}");
            assert!(!is_tenant(text), "{text:?}");
            assert!(!is_location(text), "{text:?}");
            assert!(!is_date(text), "{text:?}");
            if text != "evil.example:80" {
                assert!(!is_project(text), "{text:?}");
            }
        }
    }

    #[test]
    fn the_providers_own_names_are_taken() {
        for region in ["us-east-1", "us-gov-west-1", "ap-southeast-4", "cn-north-1", "us-isob-east-1"] {
            assert!(is_aws_region(region), "{region}");
        }
        for text in ["us-east", "us-east-1.evil", "US-EAST-1", "u-east-1", "us--1", "us-east-"] {
            assert!(!is_aws_region(text), "{text}");
        }
        assert!(is_role_arn("arn:aws:iam::123456789012:role/team/embeddings"));
        assert!(is_role_arn("arn:aws-us-gov:iam::123456789012:role/embeddings"));
        assert!(!is_role_arn("arn:aws:iam::123456789012:user/embeddings"));
        assert!(!is_role_arn("arn:aws:iam::12345:role/embeddings"));
        assert!(is_deployment("text-embedding-3-small_v1.0"));
        assert!(is_tenant("72f988bf-86f1-41af-91ab-2d7cd011db47") && is_tenant("contoso.onmicrosoft.com"));
        assert!(is_location("global") && is_location("europe-west4") && !is_location("europe-west4."));
        assert!(is_project("my-project-123") && is_project("example.com:my-project") && is_project("123456789012"));
        assert!(!is_project("a:b:c") && !is_project("evil.example:80/x"));
        assert!(is_date("2024-10-21") && !is_date("2024-13-21") && !is_date("20241021"));
        assert_eq!(aws_domain("us-gov-west-1"), "amazonaws.com");
        assert_eq!(aws_domain("cn-north-1"), "amazonaws.com.cn");
        assert_eq!(aws_domain("us-isob-east-1"), "sc2s.sgov.gov");
        assert_eq!(aws_domain("eusc-de-east-1"), "amazonaws.eu");
    }
}
