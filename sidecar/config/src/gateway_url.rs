//! Where a gateway may be.

/// Whether it is `https://HOST` or `https://HOST:PORT`, with or without a slash at the end.
pub fn is_gateway_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://");
    rest.is_some_and(|rest| is_host_and_port(rest.strip_suffix('/').unwrap_or(rest)))
}

/// Whether it is `HOST` or `HOST:PORT`: a name, an IPv4 address, or an IPv6 address in brackets (RFC 3986, section 3.2.2).
fn is_host_and_port(text: &str) -> bool {
    let is_port =
        |port: &str| port.chars().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, rest)) = rest.split_once(']') else { return false };
        let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
        return is_address && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| {
        let of_label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (1..=63).contains(&label.len()) && label.chars().all(of_label)
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    host.len() <= 253 && host.split('.').all(is_label) && port.is_none_or(is_port)
}
