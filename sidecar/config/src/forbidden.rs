//! Hosts that no provider has: the operator takes no route to them, and the sidecar makes no connection.
//!
//! Sources: the clouds' own pages on their metadata services; RFC 3927 (link-local IPv4), 4291 (IPv6), 6052 and 8215 (NAT64),
//! 3056 (6to4), 5214 (ISATAP), 2765 (IPv4-translated), 1112 and 4291 (multicast).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names of metadata services, lower-case and without a dot at the end.
const NAMES: [&str; 5] =
    ["metadata.google.internal", "metadata.goog", "metadata", "instance-data", "instance-data.ec2.internal"];

/// Why no provider may be called at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// An address that is good on one link only. Clouds hand out credentials there.
    #[error("a link-local address")]
    LinkLocal,
    /// Where a cloud tells a machine its credentials.
    #[error("the address of a cloud's metadata service")]
    Metadata,
    /// Many hosts at once.
    #[error("a multicast address")]
    Multicast,
    /// No address: connected to, it is the machine itself.
    #[error("the unspecified address")]
    Unspecified,
    /// The machine itself, where it is not the caller's own. [`Forbidden::address`] never says so: a pod's provider may listen beside it.
    #[error("a loopback address")]
    Loopback,
}

impl Forbidden {
    /// Judges an address, also one that an IPv6 address carries; none: it may be called.
    pub fn address(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => v4(address),
            IpAddr::V6(address) => {
                v6(address).or_else(|| carried(address).and_then(v4)).or_else(|| translated(address))
            }
        }
    }

    /// Judges an address where loopback is somebody else's machine, as it is to the namespaces that share a gateway.
    pub fn address_of_tenant(address: IpAddr) -> Option<Self> {
        let is_loopback = match address {
            IpAddr::V4(address) => address.is_loopback(),
            IpAddr::V6(address) => {
                address.is_loopback() || carried(address).is_some_and(|address| address.is_loopback())
            }
        };
        is_loopback.then_some(Self::Loopback).or_else(|| Self::address(address))
    }

    /// Judges a name, in lower case and without a dot at its end; none: what it resolves to decides.
    pub fn name(name: &str) -> Option<Self> {
        NAMES.contains(&name).then_some(Self::Metadata)
    }
}

fn v4(address: Ipv4Addr) -> Option<Forbidden> {
    match address.octets() {
        // Alibaba Cloud, Oracle Cloud, Azure's WireServer.
        [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => Some(Forbidden::Metadata),
        _ if address.is_link_local() => Some(Forbidden::LinkLocal),
        _ if address.is_multicast() => Some(Forbidden::Multicast),
        _ if address.is_unspecified() => Some(Forbidden::Unspecified),
        _ => None,
    }
}

fn v6(address: Ipv6Addr) -> Option<Forbidden> {
    let segments = address.segments();
    // AWS keeps its services for a machine in this block: metadata at ::254, EKS Pod Identity at ::23.
    let is_aws = segments.starts_with(&[0xfd00, 0x0ec2]);
    let is_google = segments == [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254];
    match () {
        () if is_aws || is_google => Some(Forbidden::Metadata),
        () if address.is_unicast_link_local() => Some(Forbidden::LinkLocal),
        () if address.is_multicast() => Some(Forbidden::Multicast),
        () if address.is_unspecified() => Some(Forbidden::Unspecified),
        () => None,
    }
}

/// The IPv4 address that an IPv6 address carries, so that a gateway on the way may take it out again.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        // 6to4; mapped, compatible, and translated; NAT64 by the well-known prefix; ISATAP.
        [0x2002, high, low, ..]
        | [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x0064, 0xff9b, 0, 0, 0, 0, high, low]
        | [.., 0 | 0x0200, 0x5efe, high, low] => Some(joined(high, low)),
        _ => None,
    }
}

/// What an address under the prefix for translation within a network may carry: where in it depends on that network's own prefix,
/// of 48, 56, 64, or 96 bits (RFC 8215, and the table of RFC 6052, 2.2). A mere piece of another form may be 0.0.0.0.
fn translated(address: Ipv6Addr) -> Option<Forbidden> {
    let octets = address.octets();
    if !octets.starts_with(&[0x00, 0x64, 0xff, 0x9b, 0x00, 0x01]) {
        return None;
    }
    let [.., six, seven, _, nine, ten, eleven, twelve, a, b, c] = octets;
    let places = [[six, seven, nine, ten], [seven, nine, ten, eleven], [nine, ten, eleven, twelve], [twelve, a, b, c]];
    places.into_iter().find_map(|octets| v4(octets.into()).filter(|why| *why != Forbidden::Unspecified))
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the operator's guard, which reads URLs, has every spelling; here is each kind.
    #[test]
    fn each_kind_is_told_from_what_may_be_called() {
        for (address, expected) in [
            ("169.254.169.254", Some(Forbidden::LinkLocal)),
            ("fe80::1", Some(Forbidden::LinkLocal)),
            ("::ffff:169.254.170.23", Some(Forbidden::LinkLocal)),
            ("64:ff9b::169.254.169.254", Some(Forbidden::LinkLocal)),
            ("64:ff9b:1:a9fe:a9:fe00::", Some(Forbidden::LinkLocal)),
            ("64:ff9b:1:a9:fe:a9fe::", Some(Forbidden::LinkLocal)),
            ("64:ff9b:1:0:a9:fea9:fe00::", Some(Forbidden::LinkLocal)),
            ("64:ff9b:1::169.254.169.254", Some(Forbidden::LinkLocal)),
            ("64:ff9b:1::10.0.0.1", None),
            ("fd00:ec2::254", Some(Forbidden::Metadata)),
            ("fd20:ce::254", Some(Forbidden::Metadata)),
            ("100.100.100.200", Some(Forbidden::Metadata)),
            ("192.0.0.192", Some(Forbidden::Metadata)),
            ("168.63.129.16", Some(Forbidden::Metadata)),
            ("::ffff:168.63.129.16", Some(Forbidden::Metadata)),
            ("224.0.0.1", Some(Forbidden::Multicast)),
            ("239.255.255.255", Some(Forbidden::Multicast)),
            ("ff02::1", Some(Forbidden::Multicast)),
            ("::ffff:224.0.0.251", Some(Forbidden::Multicast)),
            ("0.0.0.0", Some(Forbidden::Unspecified)),
            ("::", Some(Forbidden::Unspecified)),
            ("::ffff:0.0.0.0", Some(Forbidden::Unspecified)),
            ("127.0.0.1", None),
            ("::1", None),
            ("10.0.0.1", None),
            ("192.168.1.1", None),
            ("fd00::1", None),
            ("169.253.255.255", None),
            ("223.255.255.255", None),
            ("0.0.0.1", None),
            ("2001:db8::a9fe:a9fe", None),
        ] {
            assert_eq!(Forbidden::address(address.parse().unwrap()), expected, "{address}");
        }
        for address in ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(Forbidden::address_of_tenant(address.parse().unwrap()), Some(Forbidden::Loopback), "{address}");
        }
        for address in ["10.0.0.1", "169.254.169.254", "2001:db8::1"] {
            let address = address.parse().unwrap();
            assert_eq!(Forbidden::address_of_tenant(address), Forbidden::address(address), "{address}");
        }
        assert_eq!(Forbidden::name("metadata.google.internal"), Some(Forbidden::Metadata));
        assert_eq!(Forbidden::name("metadata.example.com"), None);
    }
}
