//! Whom the clients connect to: whoever calls a provider must not be led to where clouds hand out a machine's credentials.
//!
//! The operator refuses such hosts as they are written; names are judged here, by what they resolve to, for each connection anew.

use std::net::IpAddr;

use url::Host;
use url::Url;
use vectoll_config::Forbidden;

/// Who may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressPolicy {
    /// All but what is [`Forbidden`]: for hosts that routes and credentials name.
    Providers,
    /// The same without loopback: where those who write routes are not those whose machine this is, as with a gateway.
    Tenants,
    /// All, without TLS: for this program's own questions to the machine's metadata server and to the agent on the node.
    Machine,
}

/// A host that is not called. It was not connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// It is such an address, or the name of one.
    #[error("{host} is {why}: not called")]
    Is {
        /// As the URL has it.
        host: String,
        /// Why.
        why: Forbidden,
    },
    /// It is a name of such addresses only.
    #[error("{host} resolves to {why}: not called")]
    ResolvesTo {
        /// The name.
        host: String,
        /// Why the first of them is none.
        why: Forbidden,
    },
}

impl EgressPolicy {
    /// Judges a URL by itself: addresses in it are asked of no resolver.
    pub fn url(self, url: &Url) -> Result<(), Unreachable> {
        let why = match (self, url.host()) {
            (Self::Machine, _) | (Self::Providers | Self::Tenants, None) => None,
            (Self::Providers | Self::Tenants, Some(Host::Domain(name))) => self.name(name.trim_end_matches('.')),
            (Self::Providers | Self::Tenants, Some(Host::Ipv4(address))) => self.address(address.into()),
            (Self::Providers | Self::Tenants, Some(Host::Ipv6(address))) => self.address(address.into()),
        };
        let host = || url.host_str().unwrap_or_default().to_owned();
        why.map_or(Ok(()), |why| Err(Unreachable::Is { host: host(), why }))
    }

    /// Judges a name by all of its addresses: each of them may be called, or the name may not.
    pub fn all_of(self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Result<(), Unreachable> {
        let refused = addresses.into_iter().find_map(|address| self.address(address));
        refused.map_or(Ok(()), |why| Err(Unreachable::ResolvesTo { host: name.to_owned(), why }))
    }

    /// Leaves of a name's addresses those that may be called. An error if there were some and none is left.
    pub fn resolved(self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Result<Vec<IpAddr>, Unreachable> {
        let mut refused = None;
        let mut left = Vec::new();
        for address in addresses {
            match self.address(address) {
                Some(why) => refused = refused.or(Some(why)),
                None => left.push(address),
            }
        }
        match refused {
            Some(why) if left.is_empty() => Err(Unreachable::ResolvesTo { host: name.to_owned(), why }),
            Some(_) | None => Ok(left),
        }
    }

    fn address(self, address: IpAddr) -> Option<Forbidden> {
        match self {
            Self::Providers => Forbidden::address(address),
            Self::Tenants => Forbidden::address_of_tenant(address),
            Self::Machine => None,
        }
    }

    /// Loopback has names that no resolver is asked for.
    fn name(self, name: &str) -> Option<Forbidden> {
        let is_localhost = name == "localhost" || name.ends_with(".localhost");
        match self {
            Self::Tenants if is_localhost => Some(Forbidden::Loopback),
            Self::Providers | Self::Tenants => Forbidden::name(name),
            Self::Machine => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_in_a_url_are_judged() {
        let told =
            |reach: EgressPolicy, url: &str| reach.url(&Url::parse(url).unwrap()).map_err(|error| error.to_string());
        for (url, expected) in [
            ("http://169.254.169.254/v1", "169.254.169.254 is a link-local address: not called"),
            ("https://0xa9fea9fe/v1", "169.254.169.254 is a link-local address: not called"),
            ("http://[::ffff:169.254.169.254]/", "[::ffff:a9fe:a9fe] is a link-local address: not called"),
            ("http://[fe80::1]:8080/", "[fe80::1] is a link-local address: not called"),
            ("http://[fd00:ec2::254]/", "[fd00:ec2::254] is the address of a cloud's metadata service: not called"),
            (
                "http://Metadata.Google.internal./",
                "metadata.google.internal. is the address of a cloud's metadata service: not called",
            ),
            ("http://0/", "0.0.0.0 is the unspecified address: not called"),
            ("http://[ff02::1]/", "[ff02::1] is a multicast address: not called"),
        ] {
            assert_eq!(told(EgressPolicy::Providers, url).unwrap_err(), expected);
            assert_eq!(told(EgressPolicy::Machine, url), Ok(()), "{url}");
        }
        for url in ["http://127.0.0.1:8080/", "http://[::1]/", "http://10.0.0.1/", "https://api.example.com/"] {
            assert_eq!(told(EgressPolicy::Providers, url), Ok(()), "{url}");
        }
    }

    #[test]
    fn loopback_is_no_tenants() {
        let judged =
            |url: &str| EgressPolicy::Tenants.url(&Url::parse(url).unwrap()).map_err(|error| error.to_string());
        for url in [
            "http://127.0.0.1:4001/",
            "http://[::1]/",
            "http://localhost:4001/",
            "http://a.localhost./",
            "http://127.1/",
        ] {
            assert!(judged(url).unwrap_err().ends_with("is a loopback address: not called"), "{url}");
        }
        for url in ["http://10.0.0.1/", "https://api.example.com/", "https://localhost.example.com/"] {
            assert_eq!(judged(url), Ok(()), "{url}");
        }
        assert!(judged("http://169.254.169.254/").is_err());
        let addresses: Vec<IpAddr> = ["127.0.0.1", "10.0.0.1"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(EgressPolicy::Tenants.resolved("a", addresses.clone()).unwrap(), addresses[1..]);
    }

    #[test]
    fn of_a_names_addresses_those_that_may_be_called_are_left() {
        let addresses = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let all = addresses(&["169.254.169.254", "10.0.0.1", "::ffff:169.254.169.254", "::1", "168.63.129.16"]);
        let left = |reach: EgressPolicy| reach.resolved("a.example", all.iter().copied());
        assert_eq!(left(EgressPolicy::Providers), Ok(addresses(&["10.0.0.1", "::1"])));
        assert_eq!(left(EgressPolicy::Machine), Ok(all.clone()));
        let only = addresses(&["fe80::1", "168.63.129.16"]);
        let error = EgressPolicy::Providers.resolved("a.example", only.iter().copied()).unwrap_err();
        assert_eq!(error.to_string(), "a.example resolves to a link-local address: not called");
        assert_eq!(EgressPolicy::Machine.resolved("a.example", only.iter().copied()), Ok(only));
        assert_eq!(EgressPolicy::Providers.resolved("a.example", []), Ok(vec![]));
        // Through a proxy one of them is enough.
        assert!(EgressPolicy::Providers.all_of("a.example", all.iter().copied()).is_err());
        assert_eq!(EgressPolicy::Providers.all_of("a.example", addresses(&["10.0.0.1", "::1"])), Ok(()));
    }
}
