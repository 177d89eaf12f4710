//! Which hosts routes may send their inputs to.
//!
//! Sidecars call what a route says, from inside the cluster's network: whoever may write routes could otherwise have them call what
//! only the inside can reach. Addresses that hand out a cloud's credentials are refused always; of all others a list says which
//! are allowed. Names are judged as they stand, for what they resolve to is not known here and may change: sidecars judge that, by the
//! same [`Forbidden`], whenever they connect.

mod named;
mod pattern;

use url::Url;
use vectoll_config::Forbidden;

use self::named::Named;
pub use self::pattern::{HostPattern, NotAHostPattern};

/// The hosts that routes may name; an empty list allows all.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts(Vec<HostPattern>);

/// Why a host is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostRefused {
    /// Whatever the list says.
    #[error("the host {0} is {1}: no route may call it")]
    Forbidden(String, Forbidden),
    /// It is not on the list.
    #[error(
        "the host {0} is not among those that --allowed-provider-hosts lists (in the chart: providers.allowedHosts): use one that \
         is, or have it added"
    )]
    NotListed(String),
}

impl AllowedHosts {
    /// These; none: all.
    pub fn new(patterns: Vec<HostPattern>) -> Self {
        Self(patterns)
    }

    /// Whether a URL may be called.
    pub(crate) fn check(&self, url: &Url) -> Result<(), HostRefused> {
        let shown = || url.host_str().unwrap_or_default().to_owned();
        let Some(host) = Named::of(url) else { return Err(HostRefused::NotListed(shown())) };
        let forbidden = match &host {
            Named::Name(name) => Forbidden::name(name),
            Named::Address(address) => Forbidden::address(*address),
        };
        if let Some(forbidden) = forbidden {
            return Err(HostRefused::Forbidden(shown(), forbidden));
        }
        let Self(patterns) = self;
        if patterns.is_empty() || patterns.iter().any(|pattern| pattern.covers(&host)) {
            return Ok(());
        }
        Err(HostRefused::NotListed(shown()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allowed: &[&str], url: &str) -> Result<(), HostRefused> {
        let patterns = allowed.iter().map(|text| text.parse().unwrap()).collect();
        AllowedHosts::new(patterns).check(&Url::parse(url).unwrap())
    }

    /// Every spelling that the parser of URLs takes, with a list that would allow it and without one.
    #[test]
    fn metadata_addresses_are_refused_in_every_spelling() {
        for host in [
            // 169.254.169.254
            "169.254.169.254",
            "169.254.169.254.",
            "169.254.43518",
            "169.16689662",
            "2852039166",
            "0xa9fea9fe",
            "0xA9.0xFE.0xA9.0xFE",
            "0251.0376.0251.0376",
            "025177524776",
            "0xa9.254.0251.254",
            "%31%36%39.254.169.254",
            "169%2e254%2e169%2e254",
            "169。254。169。254",
            "①⑥⑨.254.169.254",
            "１６９.254.169.254",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[0:0:0:0:0:ffff:a9fe:a9fe]",
            "[::169.254.169.254]",
            "[::ffff:0:169.254.169.254]",
            "[64:ff9b::169.254.169.254]",
            "[64:ff9b:1::a9fe:a9fe]",
            "[2002:a9fe:a9fe::]",
            "[2002:a9fe:a9fe::1]",
            "[fd12:3456::5efe:a9fe:a9fe]",
            // The rest of the link-local addresses: ECS, EKS Pod Identity, and others.
            "169.254.170.2",
            "169.254.170.23",
            "169.254.0.0",
            "169.254.255.255",
            "[fe80::1]",
            "[FE80::A9FE:A9FE]",
            "[febf::1]",
            // AWS, Google Cloud, Alibaba Cloud, Oracle Cloud, Azure
            "[fd00:ec2::254]",
            "[fd00:0ec2:0:0:0:0:0:254]",
            "[fd00:ec2::23]",
            "[fd20:ce::254]",
            "metadata.google.internal",
            "metadata.google.internal.",
            "METADATA.Google.Internal",
            "metadata%2egoogle.internal",
            "ｍetadata.google.internal",
            "metadata",
            "metadata.goog",
            "instance-data",
            "instance-data.ec2.internal",
            "100.100.100.200",
            "1684301000",
            "[::ffff:100.100.100.200]",
            "192.0.0.192",
            "168.63.129.16",
            // Neither is any host's address.
            "0.0.0.0",
            "0",
            "[::]",
            "224.0.0.1",
            "[ff02::1]",
        ] {
            for scheme in ["http", "https"] {
                let url = format!("{scheme}://{host}:8080/v1");
                for allowed in [&[][..], &["0.0.0.0/0", "::/0", "*.google.internal", "*.ec2.internal", "metadata"]] {
                    let outcome = check(allowed, &url);
                    assert!(matches!(outcome, Err(HostRefused::Forbidden(..))), "{url}: {outcome:?}");
                }
            }
        }
    }

    #[test]
    fn neighbours_of_metadata_addresses_are_allowed() {
        for host in [
            "api.openai.com",
            "localhost",
            "127.0.0.1",
            "[::1]",
            "vllm.models.svc",
            "10.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "100.100.100.201",
            "[fec0::1]",
            "[fd00:ec3::254]",
            "[fd00::1]",
            "[2001:db8::a9fe:a9fe]",
            "metadata.example.com",
            "metadata.google.internal.example.com",
        ] {
            assert_eq!(check(&[], &format!("https://{host}/v1")), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_list_allows_what_it_names_and_nothing_else() {
        let allowed = ["api.openai.com", "*.openai.azure.com", "10.0.0.0/8", "fd00::/16", "192.168.1.7"];
        for host in [
            "api.openai.com",
            "API.openai.com.",
            "x.openai.azure.com",
            "a.b.openai.azure.com",
            "10.200.0.1",
            "167772161",
            "[::ffff:10.0.0.1]",
            "[fd00::7]",
            "192.168.1.7",
        ] {
            assert_eq!(check(&allowed, &format!("https://{host}/v1")), Ok(()), "{host}");
        }
        for host in [
            "openai.azure.com",
            "evilopenai.azure.com",
            "api.openai.com.evil.example",
            "openai.com",
            "11.0.0.1",
            "[fd01::7]",
            "[::1]",
            "192.168.1.8",
            "10.0.0.1.example.com",
            "api-openai.com",
            "localhost",
        ] {
            let outcome = check(&allowed, &format!("https://{host}/v1"));
            assert!(matches!(outcome, Err(HostRefused::NotListed(_))), "{host}: {outcome:?}");
        }
    }
}
