//! Link-local addresses, and those at which clouds tell a machine its credentials.
//!
//! Sources: the clouds' own pages on their metadata services; RFC 3927 (link-local IPv4), 4291 (IPv6), 6052 and 8215 (NAT64),
//! 3056 (6to4), 5214 (ISATAP), 2765 (IPv4-translated).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names of metadata services, lower-case and without a dot at the end.
const NAMES: [&str; 5] =
    ["metadata.google.internal", "metadata.goog", "metadata", "instance-data", "instance-data.ec2.internal"];

/// Whether a name is that of a metadata service.
pub(super) fn is_metadata_name(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether no route may call an address.
pub(super) fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_forbidden_v4(address),
        IpAddr::V6(address) => is_forbidden_v6(address) || carried(address).is_some_and(is_forbidden_v4),
    }
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    address.is_link_local()
        || matches!(
            address.octets(),
            // Alibaba Cloud, Oracle Cloud, Azure's WireServer.
            [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16]
        )
}

fn is_forbidden_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // AWS keeps its services for a machine in this block: metadata at ::254, EKS Pod Identity at ::23.
    let is_aws = segments.starts_with(&[0xfd00, 0x0ec2]);
    let is_google = segments == [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254];
    address.is_unicast_link_local() || is_aws || is_google
}

/// The IPv4 address that an IPv6 address carries, so that a gateway on the way may take it out again.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        // 6to4; mapped, compatible, and translated; NAT64 by the well-known prefix, and by the one for use within a network; ISATAP.
        [0x2002, high, low, ..]
        | [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x0064, 0xff9b, .., high, low]
        | [.., 0 | 0x0200, 0x5efe, high, low] => Some(joined(high, low)),
        _ => None,
    }
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}
