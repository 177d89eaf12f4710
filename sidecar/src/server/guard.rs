//! Who may not call at all: web pages. A page that a browser has open may send requests to localhost, or have a name of its own
//! point there (DNS rebinding). No credential keeps them out where a call needs none.

use http::{HeaderMap, Uri, header, uri::Authority};

use crate::refusal::Refusal;

/// What is let in besides localhost and addresses.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Names that the sidecar is called by, without port.
    pub hosts: Vec<String>,
    /// Origins that may call: scheme, name, and port if it is not the scheme's.
    pub origins: Vec<String>,
}

/// Reads the origin of a page as browsers, their extensions and shells around web pages send it (`chrome-extension://ID`,
/// `tauri://localhost`, `file://`, `null` of pages without an origin): anything else would never be the same.
pub fn origin(text: &str) -> Result<String, String> {
    let wrong = || {
        "is no origin: write scheme, name and, if it is not the scheme's, port, as in https://tools.example.com or \
         chrome-extension://abcdefghijklmnopabcdefghijklmnop"
            .to_owned()
    };
    if matches!(text, "null" | "file://") {
        return Ok(text.to_owned());
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let authority: Authority = rest.parse().map_err(|_| wrong())?;
    // RFC 3986, section 3.1.
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    if !is_scheme {
        return Err(wrong());
    }
    let own_port = match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    let names_own_port = own_port.is_some() && authority.port_u16() == own_port;
    let is_plain = !rest.contains('@') && !names_own_port && !rest.ends_with(':');
    if is_plain && !authority.host().is_empty() { Ok(text.to_owned()) } else { Err(wrong()) }
}

/// Reads a name that the sidecar is called by. Ports are not looked at, so none can be named.
pub fn host_name(text: &str) -> Result<String, String> {
    let is_name = text.parse::<Authority>().is_ok_and(|authority| authority.host() == text);
    if is_name { Ok(text.to_owned()) } else { Err("is no host name: leave scheme, port and path out".to_owned()) }
}

impl Guard {
    /// Refuses what comes by a name that is not ours, or from a page. No cross-origin headers are ever sent.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        if let Some(origin) = headers.get(header::ORIGIN) {
            let is_known = |known: &String| known.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
            if !self.origins.iter().any(is_known) {
                let message = "Requests of web pages are refused: the sidecar is started with --allowed-origins \
                               (VECTOLL_ALLOWED_ORIGINS) to let some in";
                return Err(Refusal::not_for_pages("origin_not_allowed", message.to_owned()));
            }
        }
        let mut named = headers.get_all(header::HOST).iter();
        let host = match (uri.authority(), named.next(), named.next()) {
            (Some(authority), None, None) => Some(authority.clone()),
            (authority, Some(host), None) => {
                let host = Authority::try_from(host.as_bytes()).ok();
                // Where both are there they must be the same: who reads the other one must not be misled.
                let same = authority.is_none_or(|authority| host.as_ref() == Some(authority));
                Some(host.filter(|_| same).ok_or_else(|| Refusal::malformed(None, "The header Host is not valid"))?)
            }
            // HTTP/1.0 has none. Browsers always send one.
            (None, None, None) => None,
            (_, _, Some(_)) => return Err(Refusal::malformed(None, "There is more than one header Host")),
        };
        match host {
            Some(host) if !self.is_ours(host.host()) => {
                let host = host.host();
                let message = format!(
                    "This sidecar is not {host}: call it by localhost or an address, or start it with --allowed-hosts {host} \
                     (VECTOLL_ALLOWED_HOSTS)"
                );
                Err(Refusal::not_for_pages("host_not_allowed", message))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// No page has an address for a name, so addresses are safe.
    fn is_ours(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || bare.parse::<std::net::IpAddr>().is_ok()
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use http::HeaderValue;

    use super::*;

    fn check(guard: &Guard, uri: &str, headers: &[(header::HeaderName, &str)]) -> Result<(), String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        guard.check(&uri.parse().unwrap(), &map).map_err(|refusal| refusal.reason.to_owned())
    }

    #[test]
    fn localhost_and_addresses_are_let_in_and_names_are_not() {
        let guard = Guard::default();
        for host in ["localhost", "LOCALHOST:4000", "127.0.0.1:4000", "[::1]:4000", "10.0.0.7"] {
            assert_eq!(check(&guard, "/", &[(header::HOST, host)]), Ok(()), "{host}");
            assert_eq!(check(&guard, &format!("http://{host}/"), &[]), Ok(()), "{host}");
        }
        assert_eq!(check(&guard, "/", &[]), Ok(()), "HTTP/1.0");
        for host in ["evil.example", "localhost.evil.example", "vectoll:4000", "127.0.0.1.evil.example", "localhost."] {
            assert_eq!(check(&guard, "/", &[(header::HOST, host)]), Err("host_not_allowed".to_owned()), "{host}");
        }
        let ours = Guard { hosts: vec!["vectoll".to_owned()], ..Guard::default() };
        assert_eq!(check(&ours, "/", &[(header::HOST, "Vectoll:4000")]), Ok(()));
    }

    #[test]
    fn hosts_that_contradict_each_other_are_malformed() {
        let malformed = Err("malformed".to_owned());
        let guard = Guard::default();
        assert_eq!(check(&guard, "/", &[(header::HOST, "localhost"), (header::HOST, "localhost")]), malformed);
        assert_eq!(check(&guard, "http://localhost/", &[(header::HOST, "127.0.0.1")]), malformed);
        assert_eq!(check(&guard, "/", &[(header::HOST, "a b")]), malformed);
        assert_eq!(check(&guard, "http://localhost:1/", &[(header::HOST, "localhost:1")]), Ok(()));
    }

    #[test]
    fn what_could_never_match_is_no_setting() {
        for good in [
            "https://tools.example",
            "http://localhost:5173",
            "https://[::1]:8443",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc",
            "tauri://localhost",
            "app://obsidian.md",
            "capacitor://localhost",
            "vscode-webview://1a2b3c",
            "file://",
            "null",
        ] {
            assert_eq!(origin(good).unwrap(), good);
        }
        for bad in [
            "",
            "*",
            "tools.example",
            "https://tools.example/",
            "https://tools.example/app",
            "https://a:443",
            "http://a:80",
            "https://a:",
            "Chrome://a",
            "://a",
            "file:///home",
            "https://",
            "https://me@a",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
        assert_eq!(host_name("vectoll.shop.svc").unwrap(), "vectoll.shop.svc");
        for bad in ["", "vectoll:4000", "http://vectoll", "vectoll/", "a b", "me@vectoll"] {
            assert!(host_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pages_are_refused_unless_their_origin_is_known() {
        let host = (header::HOST, "localhost:4000");
        let refused = Err("origin_not_allowed".to_owned());
        for origin in ["null", "http://localhost:4000", "https://evil.example"] {
            assert_eq!(check(&Guard::default(), "/", &[host.clone(), (header::ORIGIN, origin)]), refused, "{origin}");
        }
        let guard = Guard { origins: vec!["https://tools.example".to_owned()], ..Guard::default() };
        assert_eq!(check(&guard, "/", &[host.clone(), (header::ORIGIN, "https://tools.example")]), Ok(()));
        assert_eq!(check(&guard, "/", &[host, (header::ORIGIN, "https://tools.example:444")]), refused);
    }
}
