//! A connection to the store.

use std::{fmt, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    RedisResult, TlsCertificates,
    aio::MultiplexedConnection,
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo},
    cmd,
};
use vectoll_config::{
    StoreUrl, Topology,
    store::{Function, Library},
};

use super::script::Value;

/// The longest that one answer may take, and the longest that connecting may.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a cluster may send a command on to another node: slots move.
const REDIRECTIONS: u32 = 3;

/// Where the store is, and who logs in. Its `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreAccess {
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

impl fmt::Debug for StoreAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, scope, username, password: _, ca } = self;
        f.debug_struct("StoreAccess")
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
    pub(super) async fn open(place: &StoreAccess) -> RedisResult<Self> {
        match place.url.topology() {
            Topology::Single { database } => {
                let (host, port) = place.url.hosts().first().ok_or_else(|| wrong("no host"))?;
                server(place, host, *port, Some(*database)).await.map(Self::One)
            }
            Topology::Sentinel { master } => behind_sentinels(place, master).await.map(Self::One),
            Topology::Cluster => cluster(place).await.map(Self::Cluster),
        }
    }

    /// Whether servers that are away take along only the Teams whose keys they have.
    pub(super) fn has_parts(&self) -> bool {
        match self {
            Self::One(_) => false,
            Self::Cluster(_) => true,
        }
    }

    /// Calls a function over the keys that begin with a prefix. A server that lacks it is given it, if this login may.
    pub(super) async fn call(
        &mut self,
        function: Function,
        prefix: &str,
        words: &[String],
    ) -> Result<Value, CallError> {
        let library = Library::current();
        let mut call = cmd("FCALL");
        call.arg(library.function(function)).arg(1).arg(prefix).arg(words);
        match self.ask(&call).await {
            Err(error) if lacks_function(&error) => {
                self.load(library).await?;
                Ok(self.ask(&call).await?)
            }
            answered => Ok(answered?),
        }
    }

    /// Loads a library: in a cluster into all masters that are there. Those that are away are not missed.
    async fn load(&mut self, library: &Library) -> Result<(), CallError> {
        let mut load = cmd("FUNCTION");
        load.arg("LOAD").arg(library.code());
        let loaded = match self {
            Self::One(connection) => load.query_async::<String>(connection).await.map(|_| ()),
            Self::Cluster(connection) => {
                let masters = (MultipleNodeRoutingInfo::AllMasters, Some(ResponsePolicy::OneSucceeded));
                connection.route_command(load, RoutingInfo::MultiNode(masters)).await.map(|_| ())
            }
        };
        match loaded {
            Ok(()) => {
                tracing::info!(library = library.name(), "the store was given its functions");
                Ok(())
            }
            // Another sidecar was faster.
            Err(error) if error.detail().is_some_and(|detail| detail.contains("already exists")) => Ok(()),
            Err(error) if error.code() == Some("NOPERM") => Err(CallError::LacksFunctions),
            Err(error) => Err(error.into()),
        }
    }

    async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        let answer: redis::Value = match self {
            Self::One(connection) => command.query_async(connection).await?,
            Self::Cluster(connection) => command.query_async(connection).await?,
        };
        Ok(value(answer))
    }
}

/// Why a function was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// Nobody has loaded the functions, and this login may not. The connection is as good as any other.
    #[error(
        "the store lacks Vectoll's functions and this login may not load them: an operator with --store-url loads them within seconds; \
         without one, give this login +function|load"
    )]
    LacksFunctions,
}

/// Whether a server does not know a function: it was started anew, took over, or is new.
fn lacks_function(error: &RedisError) -> bool {
    error.code() == Some("ERR") && error.detail().is_some_and(|detail| detail.contains("Function not found"))
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the client may learn of further kinds")]
fn value(answer: redis::Value) -> Value {
    match answer {
        redis::Value::Int(number) => Value::Number(number),
        redis::Value::BulkString(bytes) => Value::Text(String::from_utf8_lossy(&bytes).into_owned()),
        redis::Value::SimpleString(text) => Value::Text(text),
        redis::Value::Array(all) => Value::List(all.into_iter().map(value).collect()),
        // The functions say nothing of these kinds: read as something that no answer has.
        _ => Value::Text(String::new()),
    }
}

fn address(place: &StoreAccess, host: &str, port: u16) -> ConnectionAddr {
    let host = host.to_owned();
    if place.url.tls() {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

fn login(place: &StoreAccess) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = &place.username {
        login = login.set_username(username);
    }
    if let Some(password) = &place.password {
        login = login.set_password(password);
    }
    login
}

fn certificates(place: &StoreAccess) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: place.ca.clone() }
}

/// Connects to one server. Without a database: as nobody, to a Sentinel, whose logins are its own.
async fn server(
    place: &StoreAccess,
    host: &str,
    port: u16,
    database: Option<u16>,
) -> RedisResult<MultiplexedConnection> {
    let login = match database {
        Some(database) => login(place).set_db(i64::from(database)),
        None => RedisConnectionInfo::default().set_skip_set_lib_name(),
    };
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(CONNECT_TIMEOUT));
    let info = address(place, host, port).into_connection_info()?.set_redis_settings(login);
    let client = if place.url.tls() { Client::build_with_tls(info, certificates(place))? } else { Client::open(info)? };
    client.get_multiplexed_async_connection_with_config(&settings).await
}

/// Connects to the master that Sentinels name (Redis documentation, "Guidelines for Redis clients with support for Redis
/// Sentinel"). All of them are asked at once: one that is away must not keep the others' answers waiting.
async fn behind_sentinels(place: &StoreAccess, master: &str) -> RedisResult<MultiplexedConnection> {
    let asked = place.url.hosts().iter().map(|(host, port)| master_by(place, host, *port, master));
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut tried = Vec::new();
    let mut last = wrong("no Sentinel");
    while let Some(named) = asked.next().await {
        let named = match named {
            Ok(named) if tried.contains(&named) => continue,
            Ok(named) => named,
            Err(error) => {
                last = error;
                continue;
            }
        };
        match master_at(place, &named.0, named.1).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
        tried.push(named);
    }
    Err(last)
}

async fn master_by(place: &StoreAccess, host: &str, port: u16, master: &str) -> RedisResult<(String, u16)> {
    let mut sentinel = server(place, host, port, None).await?;
    let named: Option<(String, u16)> =
        cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master).query_async(&mut sentinel).await?;
    named.ok_or_else(|| wrong("a Sentinel does not know this master"))
}

/// Connects to a server that Sentinels call the master, if it says so too: a Sentinel may not have heard of a failover.
async fn master_at(place: &StoreAccess, host: &str, port: u16) -> RedisResult<MultiplexedConnection> {
    let mut connection = server(place, host, port, Some(0)).await?;
    let info: String = cmd("INFO").arg("replication").query_async(&mut connection).await?;
    if info.lines().any(|line| line.trim_end() == "role:master") {
        Ok(connection)
    } else {
        Err(wrong("a Sentinel names a server that is no master"))
    }
}

fn wrong(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Client, what))
}

/// Connects to a cluster: to those of its nodes that are there, found by the first that answers.
async fn cluster(place: &StoreAccess) -> RedisResult<ClusterConnection> {
    let login = login(place);
    let nodes =
        place.url.hosts().iter().map(|(host, port)| {
            Ok(address(place, host, *port).into_connection_info()?.set_redis_settings(login.clone()))
        });
    let mut builder = ClusterClientBuilder::new(nodes.collect::<RedisResult<Vec<_>>>()?)
        .connection_timeout(CONNECT_TIMEOUT)
        .response_timeout(CONNECT_TIMEOUT)
        .retries(REDIRECTIONS);
    if place.url.tls() {
        builder = builder.certs(certificates(place));
    }
    // Connected when one node has said who has which slots. Nothing is asked of all masters: one that is away would be missed by
    // Teams that have nothing to do with it.
    builder.build()?.get_async_connection().await
}
