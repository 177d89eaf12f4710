//! Where a store is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The port of Valkey and Redis.
const PORT: u16 = 6379;

/// Where a Valkey or Redis is: `redis://host[:port][/db]`; `redis+cluster://host[:port],…`;
/// `redis+sentinel://host[:port],…/master`. With `rediss` in place of `redis` it is reached by TLS. Never with credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreUrl {
    text: String,
    tls: bool,
    hosts: Vec<(String, u16)>,
    topology: Topology,
}

/// How the servers of a store belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Single {
        /// The number of its database.
        database: u16,
    },
    /// A cluster, of which some nodes are named.
    Cluster,
    /// A master and its replicas, watched by the Sentinels that are named.
    Sentinel {
        /// What the Sentinels call it.
        master: String,
    },
}

impl StoreUrl {
    /// Whether it is reached by TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Hosts and ports, at least one.
    pub fn hosts(&self) -> &[(String, u16)] {
        &self.hosts
    }

    /// How they belong together.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Not the URL of a store. Its words hold nothing of the URL: a password may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// Another scheme, or none.
    #[error(
        "must begin with redis://, rediss://, redis+cluster://, rediss+cluster://, redis+sentinel:// or rediss+sentinel://"
    )]
    Scheme,
    /// Somebody's name or password.
    #[error("must hold no user and no password: give them on their own")]
    Credentials,
    /// No host, or no number where a port should be.
    #[error("needs hosts as in host:6379, separated by commas")]
    Host,
    /// Several hosts of which nobody says how they belong together.
    #[error("names several hosts: write redis+cluster:// or redis+sentinel://")]
    Hosts,
    /// What stands behind the hosts.
    #[error("may end in the number of a database only, as in redis://host:6379/0")]
    Database,
    /// Sentinels without the name of what they watch.
    #[error("must end in the master's name, as in redis+sentinel://host:26379/mymaster")]
    Master,
    /// A cluster has one database.
    #[error("must end with the hosts: a cluster has one database")]
    Cluster,
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(StoreUrlError::Scheme)?;
        let (protocol, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match protocol {
            "redis" => false,
            "rediss" => true,
            _ => return Err(StoreUrlError::Scheme),
        };
        if rest.contains('@') {
            return Err(StoreUrlError::Credentials);
        }
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts: Vec<(String, u16)> = hosts.split(',').map(host).collect::<Result<_, _>>()?;
        let topology = match kind {
            "" if hosts.len() > 1 => return Err(StoreUrlError::Hosts),
            "" if path.is_empty() => Topology::Single { database: 0 },
            "" => Topology::Single { database: path.parse().map_err(|_| StoreUrlError::Database)? },
            "cluster" if path.is_empty() => Topology::Cluster,
            "cluster" => return Err(StoreUrlError::Cluster),
            "sentinel" if path.is_empty() || path.contains(['/', '?', '#']) => return Err(StoreUrlError::Master),
            "sentinel" => Topology::Sentinel { master: path.to_owned() },
            _ => return Err(StoreUrlError::Scheme),
        };
        Ok(Self { text: text.to_owned(), tls, hosts, topology })
    }
}

fn host(text: &str) -> Result<(String, u16), StoreUrlError> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']').ok_or(StoreUrlError::Host)?;
            (name, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(StoreUrlError::Host)?) })
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if name.is_empty() || !name.chars().all(is_host) {
        return Err(StoreUrlError::Host);
    }
    let port = match port {
        None => PORT,
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(StoreUrlError::Host)?,
    };
    Ok((name.to_owned(), port))
}

impl TryFrom<String> for StoreUrl {
    type Error = StoreUrlError;
    fn try_from(text: String) -> Result<Self, StoreUrlError> {
        text.parse()
    }
}

impl From<StoreUrl> for String {
    fn from(url: StoreUrl) -> Self {
        url.text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn hosts_and_topology_are_read() {
        let of = |text: &str| {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), text);
            (url.tls, url.hosts, url.topology)
        };
        let host = |name: &str, port| vec![(name.to_owned(), port)];
        assert_eq!(of("redis://valkey"), (false, host("valkey", 6379), Topology::Single { database: 0 }));
        assert_eq!(of("rediss://v.example:7/3"), (true, host("v.example", 7), Topology::Single { database: 3 }));
        assert_eq!(of("redis://[::1]:7000"), (false, host("::1", 7000), Topology::Single { database: 0 }));
        let two = vec![("a".to_owned(), 1), ("b".to_owned(), 6379)];
        assert_eq!(of("redis+cluster://a:1,b"), (false, two.clone(), Topology::Cluster));
        let sentinel = Topology::Sentinel { master: "main".to_owned() };
        assert_eq!(of("rediss+sentinel://a:1,b/main"), (true, two, sentinel));
    }

    #[test]
    fn what_is_no_store_is_refused_without_its_words() {
        for (text, error) in [
            ("valkey", StoreUrlError::Scheme),
            ("http://valkey", StoreUrlError::Scheme),
            ("redis+other://valkey", StoreUrlError::Scheme),
            ("redis://user:hunter2@valkey", StoreUrlError::Credentials),
            ("redis://", StoreUrlError::Host),
            ("redis://valkey:port", StoreUrlError::Host),
            ("redis://valkey:0", StoreUrlError::Host),
            ("redis://val key", StoreUrlError::Host),
            ("redis://[::1", StoreUrlError::Host),
            ("redis://a,b", StoreUrlError::Hosts),
            ("redis://a/b", StoreUrlError::Database),
            ("redis+cluster://a/0", StoreUrlError::Cluster),
            ("redis+sentinel://a", StoreUrlError::Master),
        ] {
            assert_eq!(text.parse::<StoreUrl>().unwrap_err(), error, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
