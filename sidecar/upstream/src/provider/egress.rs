//! The proxy through which requests leave, where the network lets nothing else out.
//!
//! Set by `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, as curl and Go read them. It sees names of hosts, and of what goes over plain
//! HTTP everything; of what goes over TLS nothing else. Providers and issuers of credentials are reached through it, the machine's
//! own servers and the store never are.

use std::{fmt, net::IpAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// Which requests leave through which proxy. Without settings none does.
#[derive(Clone, Debug, Default)]
pub struct Egress {
    https: Option<EgressProxy>,
    http: Option<EgressProxy>,
    exceptions: Vec<Exception>,
}

/// A proxy. Its `Debug` shows no credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct EgressProxy {
    /// As it is connected to.
    pub(super) uri: Uri,
    /// `Proxy-Authorization`.
    pub(super) authorization: Option<HeaderValue>,
    url: Url,
}

/// What is reached directly.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    All,
    /// A name and all below it; a port, if there is one, must be the same.
    Name(String, Option<u16>),
    /// Addresses that have so many leading bits in common.
    Network(IpAddr, u32),
}

/// A setting that cannot be used. It does not repeat the setting, which may hold credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct EgressError {
    setting: &'static str,
    reason: String,
}

impl Egress {
    /// By the settings of these names. What is empty is not set.
    pub fn new(https: Option<&str>, http: Option<&str>, exceptions: Option<&str>) -> Result<Self, EgressError> {
        let proxy = |setting, text: Option<&str>| {
            let text = text.map(str::trim).filter(|text| !text.is_empty());
            text.map(EgressProxy::read).transpose().map_err(|reason| EgressError { setting, reason: reason.to_owned() })
        };
        let entries = exceptions.unwrap_or_default().split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
        let exceptions = entries.map(Exception::read).collect::<Result<_, _>>();
        Ok(Self {
            https: proxy("HTTPS_PROXY", https)?,
            http: proxy("HTTP_PROXY", http)?,
            exceptions: exceptions.map_err(|reason| EgressError { setting: "NO_PROXY", reason })?,
        })
    }

    /// The proxy for a URL. Loopback is always reached directly.
    pub fn proxy_of(&self, url: &Url) -> Option<&EgressProxy> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            "http" => self.http.as_ref(),
            _ => None,
        }?;
        let (host, port) = (url.host()?, url.port_or_known_default()?);
        let is_excepted = is_loopback(&host) || self.exceptions.iter().any(|exception| exception.has(&host, port));
        (!is_excepted).then_some(proxy)
    }

    /// The same for reqwest, which takes the credentials out of the URL.
    pub(super) fn url_of(&self, url: &Url) -> Option<Url> {
        self.proxy_of(url).map(|proxy| proxy.url.clone())
    }

    /// Whether there is a proxy at all.
    pub(super) fn is_none(&self) -> bool {
        self.https.is_none() && self.http.is_none()
    }
}

impl EgressProxy {
    fn read(text: &str) -> Result<Self, &'static str> {
        const NOT_ONE: &str = "is not the URL of a proxy: write http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT";
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&text).map_err(|_| NOT_ONE)?;
        if url.scheme() != "http" {
            return Err(
                "only proxies that are spoken to over http: are supported: write http://HOST:PORT. What goes to https: \
                        providers is encrypted all the same",
            );
        }
        let (host, port) = (url.host_str().ok_or(NOT_ONE)?, url.port_or_known_default().ok_or(NOT_ONE)?);
        let uri = format!("http://{host}:{port}/").parse().map_err(|_| NOT_ONE)?;
        let authorization = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => {
                let decoded = |part: &str| percent_decode_str(part).collect::<Vec<u8>>();
                let pair = [decoded(user), b":".to_vec(), decoded(password.unwrap_or_default())].concat();
                let mut value =
                    HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).map_err(|_| NOT_ONE)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self { uri, authorization, url })
    }
}

impl fmt::Display for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri.authority().map_or("", |authority| authority.as_str()))
    }
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EgressProxy({self})")
    }
}

impl Exception {
    fn read(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::All);
        }
        if let Some((address, bits)) = text.split_once('/') {
            let network = address.parse::<IpAddr>().ok().zip(bits.parse::<u32>().ok());
            let fits = |(address, bits): &(IpAddr, u32)| *bits <= if address.is_ipv4() { 32 } else { 128 };
            let (address, bits) = network.filter(fits).ok_or_else(|| {
                format!("{text:?} is not a network: write addresses as in 10.0.0.0/8, and names without a path")
            })?;
            return Ok(Self::Network(address, bits));
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self::Network(address, if address.is_ipv4() { 32 } else { 128 }));
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => {
                let port =
                    port.parse().map_err(|_| format!("{text:?} is not a host with a port: write HOST or HOST:PORT"))?;
                (name, Some(port))
            }
            None => (text, None),
        };
        let name = name.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase();
        Ok(Self::Name(name, port))
    }

    fn has(&self, host: &Host<&str>, port: u16) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Name(name, only), Host::Domain(host)) => {
                let host = host.trim_end_matches('.');
                let below = || host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                only.is_none_or(|only| only == port) && (host == name || below())
            }
            (Self::Name(name, Some(only)), Host::Ipv4(host)) => *only == port && *name == host.to_string(),
            (Self::Network(network, bits), Host::Ipv4(host)) => is_in(*network, *bits, (*host).into()),
            (Self::Network(network, bits), Host::Ipv6(host)) => is_in(*network, *bits, (*host).into()),
            (Self::Name(..), Host::Ipv4(_) | Host::Ipv6(_)) | (Self::Network(..), Host::Domain(_)) => false,
        }
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn is_in(network: IpAddr, bits: u32, address: IpAddr) -> bool {
    let shifted = |value: u128, width: u32| value.checked_shr(width - bits).unwrap_or(0);
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let [network, address] = [network, address].map(|one| shifted(u32::from(one).into(), 32));
            network == address
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let [network, address] = [network, address].map(|one| shifted(u128::from(one), 128));
            network == address
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn goes(egress: &Egress, url: &str) -> Option<String> {
        egress.proxy_of(&Url::parse(url).unwrap()).map(ToString::to_string)
    }

    #[test]
    fn each_scheme_has_its_proxy_and_exceptions_are_reached_directly() {
        let exceptions = "corp.example, .svc,10.0.0.0/8 [fd00::1],api.other.example:8443,192.0.2.7";
        let egress = Egress::new(Some("http://secure.example:3128"), Some("plain.example"), Some(exceptions)).unwrap();
        for (url, proxy) in [
            ("https://api.example.com/v1", Some("secure.example:3128")),
            ("http://api.example.com/v1", Some("plain.example:80")),
            ("https://notcorp.example/", Some("secure.example:3128")),
            ("https://corp.example/", None),
            ("https://a.CORP.example./", None),
            ("http://tei.models.svc:8080/", None),
            ("https://10.1.2.3/", None),
            ("https://11.1.2.3/", Some("secure.example:3128")),
            ("https://[fd00::1]/", None),
            ("https://[fd00::2]/", Some("secure.example:3128")),
            ("https://api.other.example:8443/", None),
            ("https://api.other.example/", Some("secure.example:3128")),
            ("https://192.0.2.7/", None),
            ("http://localhost:11434/", None),
            ("http://127.0.0.1:1/", None),
            ("http://[::1]/", None),
        ] {
            assert_eq!(goes(&egress, url).as_deref(), proxy, "{url}");
        }
        let all = Egress::new(Some("secure.example:3128"), None, Some("*")).unwrap();
        assert_eq!(goes(&all, "https://api.example.com/"), None);
        assert_eq!(goes(&Egress::new(Some(" "), None, None).unwrap(), "https://api.example.com/"), None);
    }

    #[test]
    fn credentials_are_sent_and_shown_nowhere() {
        let egress = Egress::new(Some("http://us%40er:pa%3Ass@proxy.example:3128"), None, None).unwrap();
        let proxy = egress.proxy_of(&Url::parse("https://a.example/").unwrap()).unwrap();
        // us@er:pa:ss
        assert_eq!(proxy.authorization.as_ref().unwrap(), "Basic dXNAZXI6cGE6c3M=");
        let shown = format!("{proxy} {egress:?} {:?}", proxy.authorization);
        assert!(!shown.contains("er:pa") && !shown.contains("dXNA") && shown.contains("proxy.example:3128"), "{shown}");
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_repeated() {
        for (text, words) in [
            ("https://user:hush@proxy.example", "HTTPS_PROXY: only proxies that are spoken to over http:"),
            ("socks5://user:hush@proxy.example", "only proxies"),
            ("http://user:hush@", "HTTPS_PROXY: is not the URL of a proxy"),
        ] {
            let error = Egress::new(Some(text), None, None).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("hush"), "{error}");
        }
        for text in ["10.0.0.0/33", "a.example/x", "a.example:https"] {
            let error = Egress::new(None, None, Some(text)).unwrap_err().to_string();
            assert!(error.starts_with("NO_PROXY: ") && error.contains(text), "{error}");
        }
    }
}
