//! A connection to the store.

use std::{fmt, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult,
    Script, TlsCertificates,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    cmd,
};
use vectoll_config::{StoreUrl, Topology};

use super::script::Value;

/// The longest that one answer may take, and the longest that connecting may.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Where the store is, and who logs in. Its `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it is.
    pub url: StoreUrl,
    /// What tells this sidecar's namespace from those of its name elsewhere.
    pub scope: Option<String>,
    /// Who logs in; none: the default user.
    pub username: Option<String>,
    /// The password, if there is one.
    pub password: Option<String>,
    /// The CA of its certificate, in PEM; none: well-known CAs.
    pub ca: Option<Vec<u8>>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, scope, username, password: _, ca } = self;
        f.debug_struct("Place")
            .field("url", url)
            .field("scope", scope)
            .field("username", username)
            .field("ca", &ca.is_some())
            .finish_non_exhaustive()
    }
}

/// A connection. A handle: clones use the same one.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server.
    One(MultiplexedConnection),
    /// To all masters of a cluster.
    Cluster(ClusterConnection),
}

impl Connection {
    /// Connects and logs in.
    pub(super) async fn open(place: &Place) -> RedisResult<Self> {
        match place.url.topology() {
            Topology::Single { database } => one(place, place.url.hosts(), Some(*database)).await.map(Self::One),
            Topology::Sentinel { master } => {
                let (host, port) = master_of(place, master).await?;
                one(place, &[(host, port)], Some(0)).await.map(Self::One)
            }
            Topology::Cluster => cluster(place).await.map(Self::Cluster),
        }
    }

    /// Runs a script over the keys that begin with a prefix.
    pub(super) async fn run(&mut self, script: &Script, prefix: &str, words: &[String]) -> RedisResult<Value> {
        let mut invocation = script.key(prefix);
        for word in words {
            invocation.arg(word);
        }
        let answer: redis::Value = match self {
            Self::One(connection) => invocation.invoke_async(connection).await?,
            Self::Cluster(connection) => invocation.invoke_async(connection).await?,
        };
        Ok(value(answer))
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the client may learn of further kinds")]
fn value(answer: redis::Value) -> Value {
    match answer {
        redis::Value::Int(number) => Value::Number(number),
        redis::Value::BulkString(bytes) => Value::Text(String::from_utf8_lossy(&bytes).into_owned()),
        redis::Value::SimpleString(text) => Value::Text(text),
        redis::Value::Array(all) => Value::List(all.into_iter().map(value).collect()),
        // The script says nothing of these kinds: read as something that no answer has.
        _ => Value::Text(String::new()),
    }
}

fn address(place: &Place, host: &str, port: u16) -> ConnectionAddr {
    let host = host.to_owned();
    if place.url.tls() {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

fn login(place: &Place) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = &place.username {
        login = login.set_username(username);
    }
    if let Some(password) = &place.password {
        login = login.set_password(password);
    }
    login
}

fn certificates(place: &Place) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: place.ca.clone() }
}

/// Connects to the first of the hosts that can be reached. Without a database: as nobody, to a Sentinel, whose logins are its own.
async fn one(place: &Place, hosts: &[(String, u16)], database: Option<u16>) -> RedisResult<MultiplexedConnection> {
    let login = match database {
        Some(database) => login(place).set_db(i64::from(database)),
        None => RedisConnectionInfo::default().set_skip_set_lib_name(),
    };
    let settings =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    let mut last = RedisError::from((redis::ErrorKind::InvalidClientConfig, "no host"));
    for (host, port) in hosts {
        let info = address(place, host, *port).into_connection_info()?.set_redis_settings(login.clone());
        let client =
            if place.url.tls() { Client::build_with_tls(info, certificates(place))? } else { Client::open(info)? };
        match client.get_multiplexed_async_connection_with_config(&settings).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The address of a master, by the first Sentinel that knows (Redis documentation, "Guidelines for Redis clients with support
/// for Redis Sentinel").
async fn master_of(place: &Place, master: &str) -> RedisResult<(String, u16)> {
    let mut sentinel = one(place, place.url.hosts(), None).await?;
    cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master).query_async(&mut sentinel).await
}

async fn cluster(place: &Place) -> RedisResult<ClusterConnection> {
    let login = login(place);
    let nodes =
        place.url.hosts().iter().map(|(host, port)| {
            Ok(address(place, host, *port).into_connection_info()?.set_redis_settings(login.clone()))
        });
    let mut builder = ClusterClientBuilder::new(nodes.collect::<RedisResult<Vec<_>>>()?)
        .connection_timeout(PATIENCE)
        .response_timeout(PATIENCE)
        .retries(1);
    if place.url.tls() {
        builder = builder.certs(certificates(place));
    }
    let mut connection = builder.build()?.get_async_connection().await?;
    // It connects when it is used first: here, so that a store that is away is known to be.
    connection.req_packed_command(&cmd("PING")).await?;
    Ok(connection)
}
