//! One entry of the list of allowed hosts.

use std::{net::IpAddr, str::FromStr};

use url::Host;

use super::named::Named;

/// A host name, all names below a domain, or a block of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This name: `api.openai.com`.
    Name(String),
    /// Every name below this one, however deep, and not the name itself: `*.openai.azure.com`.
    Below(String),
    /// Addresses in a CIDR block, where a URL names an address: `10.0.0.0/8`. A single address is a block of one.
    Block {
        /// An address of the block.
        address: IpAddr,
        /// How many of its first bits all of them share.
        bits: u8,
    },
}

/// What is not an entry of the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a host: write a name, a domain, an address or a block of addresses, for example api.openai.com, \
     *.openai.azure.com, 10.1.2.3 or 10.0.0.0/8"
)]
pub struct NotAHostPattern(String);

impl FromStr for HostPattern {
    type Err = NotAHostPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let wrong = || NotAHostPattern(text.to_owned());
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| wrong())?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(address)).ok_or_else(wrong)?;
            return Ok(Self::Block { address, bits });
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            let address = address.to_canonical();
            return Ok(Self::Block { address, bits: width(address) });
        }
        let (name, below) = text.strip_prefix("*.").map_or((text, false), |domain| (domain, true));
        // Read as the host of a URL is, so that both come out alike.
        match Host::parse(name) {
            Ok(Host::Domain(name)) if is_name(name.trim_end_matches('.')) => {
                let name = name.trim_end_matches('.').to_owned();
                Ok(if below { Self::Below(name) } else { Self::Name(name) })
            }
            Ok(_) | Err(_) => Err(wrong()),
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.split('.').all(is_label)
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// An address as a number whose first bit is the highest of 128.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl HostPattern {
    pub(super) fn covers(&self, host: &Named) -> bool {
        match (self, host) {
            (Self::Name(name), Named::Name(host)) => host == name,
            (Self::Below(domain), Named::Name(host)) => {
                host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (Self::Block { address: block, bits }, Named::Address(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                block.is_ipv4() == address.is_ipv4() && number(*block) & mask == number(*address) & mask
            }
            (Self::Name(_) | Self::Below(_), Named::Address(_)) | (Self::Block { .. }, Named::Name(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_host_is_refused_and_quoted() {
        for text in [
            "",
            "*",
            "*.",
            "a*.example.com",
            "*.*.example.com",
            "https://api.openai.com",
            "api.openai.com/v1",
            "api.openai.com:443",
            "user@api.openai.com",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0",
            "a b",
            "a..b",
        ] {
            let error = text.parse::<HostPattern>().unwrap_err().to_string();
            assert!(error.contains(&format!("\"{text}\"")), "{error}");
        }
    }

    #[test]
    fn names_are_compared_in_lower_case_and_ascii() {
        assert_eq!("API.OpenAI.com.".parse(), Ok(HostPattern::Name("api.openai.com".to_owned())));
        assert_eq!("*.Bücher.example".parse(), Ok(HostPattern::Below("xn--bcher-kva.example".to_owned())));
        assert_eq!("::ffff:10.0.0.1".parse(), "10.0.0.1".parse::<HostPattern>());
    }
}
