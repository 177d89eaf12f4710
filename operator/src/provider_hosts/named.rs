//! A host as a URL names it.

use std::net::IpAddr;

use url::{Host, Url};

/// A host in the one form in which it is compared. The parser of URLs has read numbers in all their forms, percent-encoding, capitals
/// and other scripts already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// Lower-case, without a dot at its end.
    Name(String),
    /// IPv4 also where it was written as IPv6.
    Address(IpAddr),
}

impl Named {
    pub(super) fn of(url: &Url) -> Option<Self> {
        Some(match url.host()? {
            Host::Domain(name) => Self::Name(name.trim_end_matches('.').to_ascii_lowercase()),
            Host::Ipv4(address) => Self::Address(address.into()),
            Host::Ipv6(address) => Self::Address(IpAddr::from(address).to_canonical()),
        })
    }
}
