//! The servers of a store: finding all of them, and asking one.

use std::{collections::HashMap, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline, RedisConnectionInfo,
    RedisError, RedisResult, ServerErrorKind, TlsCertificates, aio::MultiplexedConnection, cmd,
};
use vectoll_config::{Topology, store::Library};

use super::{access::Access, users::Step};

/// The longest that connecting and one answer may take.
pub(super) const SERVER_TIMEOUT: Duration = Duration::from_secs(3);
/// Changes in one pipeline.
const CHANGES_PER_PIPELINE: usize = 256;

/// A server with a connection to it, as the administrator.
pub struct Server {
    address: String,
    connection: MultiplexedConnection,
}

/// A server does not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} {server}")]
pub struct ServerError {
    server: String,
    doing: &'static str,
    source: RedisError,
}

impl ServerError {
    /// Whether a script runs there, of whomever, and nothing else does.
    pub fn is_busy(&self) -> bool {
        self.source.code() == Some("BUSY")
    }
}

/// Whether a server has the functions that sidecars call.
#[derive(Debug, PartialEq, Eq)]
enum Functions {
    Good,
    Missing,
}

/// How full a server is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What it holds.
    pub used: u64,
    /// What it may hold; 0: as much as the machine has.
    pub max: u64,
}

/// Whether a server has what it was told after it was started anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Persistence {
    /// It has: it writes an append-only file, or replicas of it do not start with it.
    Kept,
    /// Nobody can say: this login may not ask.
    #[default]
    Unknown,
    /// It has not, or only a snapshot of some time before.
    Volatile,
}

impl Persistence {
    /// From what `INFO` says of persistence and replication. Snapshots do not count: what came after the last one is gone.
    fn read(info: &str) -> Self {
        let value =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        match (value("aof_enabled"), value("role"), value("connected_slaves")) {
            (Some("1"), _, _) | (_, Some("slave"), _) => Self::Kept,
            (_, _, Some(replicas)) if replicas != "0" => Self::Kept,
            (Some(_), _, _) => Self::Volatile,
            (None, _, _) => Self::Unknown,
        }
    }
}

impl Memory {
    /// From what `INFO memory` says. Buffers do not count for the limit (Redis documentation, "Key eviction").
    fn read(info: &str) -> Self {
        let number = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or_default()
        };
        let used = number("used_memory").saturating_sub(number("mem_not_counted_for_evict"));
        Self { used, max: number("maxmemory") }
    }

    /// Whether it takes nothing more, or is about to: the last twentieth is soon gone.
    pub fn is_full(self) -> bool {
        self.max > 0 && self.used.saturating_mul(100) >= self.max.saturating_mul(95)
    }
}

/// Connects to every server of a store: masters and replicas, because each has users of its own.
pub async fn connect(access: &Access) -> Result<Vec<Server>, ServerError> {
    let mut servers = Vec::new();
    for (host, port) in addresses(access).await? {
        servers.push(Server::connect(access, &host, port).await?);
    }
    Ok(servers)
}

/// Where the servers are, by the first of the hosts that knows.
pub(super) async fn addresses(access: &Access) -> Result<Vec<(String, u16)>, ServerError> {
    let hosts = access.url.hosts();
    let mut answer = Ok(Vec::new());
    for (host, port) in hosts {
        let asked = match access.url.topology() {
            Topology::Single { database: _ } => return Ok(hosts.to_vec()),
            Topology::Cluster => nodes(access, host, *port).await,
            Topology::Sentinel { master } => watched(access, host, *port, master).await,
        };
        let server = || format!("{host}:{port}");
        answer = asked.map_err(|source| ServerError { server: server(), doing: "learn of the servers from", source });
        if answer.is_ok() {
            break;
        }
    }
    answer
}

async fn nodes(access: &Access, host: &str, port: u16) -> RedisResult<Vec<(String, u16)>> {
    let mut connection = open(access, host, port, true).await?;
    let nodes: String = cmd("CLUSTER").arg("NODES").query_async(&mut connection).await?;
    Ok(nodes_of(&nodes, host))
}

async fn watched(access: &Access, host: &str, port: u16, name: &str) -> RedisResult<Vec<(String, u16)>> {
    // Sentinels have logins of their own; the store's is none of their business.
    let mut connection = open(access, host, port, false).await?;
    let address = master(&mut connection, name).await?;
    let replicas: Vec<HashMap<String, String>> =
        cmd("SENTINEL").arg("REPLICAS").arg(name).query_async(&mut connection).await?;
    Ok([address].into_iter().chain(replicas.iter().filter_map(replica_of)).collect())
}

/// The address of a master, by one Sentinel.
pub(super) async fn master_of(access: &Access, host: &str, port: u16, name: &str) -> RedisResult<(String, u16)> {
    master(&mut open(access, host, port, false).await?, name).await
}

async fn master(connection: &mut MultiplexedConnection, name: &str) -> RedisResult<(String, u16)> {
    cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).query_async(connection).await
}

/// The addresses in the answer to `CLUSTER NODES`: `<id> <ip:port@bus-port[,hostname]> <flags> …`, a line each (Redis Cluster
/// specification, "CLUSTER NODES"). A node that does not know its own address is the one that was asked.
fn nodes_of(answer: &str, asked: &str) -> Vec<(String, u16)> {
    let node = |line: &str| {
        let mut words = line.split(' ');
        let (address, flags) = (words.nth(1)?, words.next()?);
        // Those that are gone are found again when they are back.
        if flags.split(',').any(|flag| matches!(flag, "fail" | "noaddr" | "handshake")) {
            return None;
        }
        let (address, names) = address.split_once(',').unwrap_or((address, ""));
        let (ip, port) = address.split('@').next()?.rsplit_once(':')?;
        // A certificate is for the name.
        let name = names.split(',').next().filter(|name| !name.is_empty() && !name.contains('='));
        let host = name.unwrap_or(if ip.is_empty() { asked } else { ip });
        Some((host.to_owned(), port.parse().ok().filter(|port| *port > 0)?))
    };
    answer.lines().filter_map(node).collect()
}

/// A replica in the answer to `SENTINEL REPLICAS`, unless it is down.
fn replica_of(fields: &HashMap<String, String>) -> Option<(String, u16)> {
    let down = fields.get("flags")?.split(',').any(|flag| matches!(flag, "s_down" | "o_down" | "disconnected"));
    (!down).then_some(())?;
    Some((fields.get("ip")?.clone(), fields.get("port")?.parse().ok()?))
}

/// Connects to one server: as the administrator, or as nobody.
pub(super) async fn open(access: &Access, host: &str, port: u16, as_admin: bool) -> RedisResult<MultiplexedConnection> {
    let host = host.to_owned();
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if as_admin {
        if let Some(username) = &access.username {
            login = login.set_username(username);
        }
        if let Some(password) = &access.password {
            login = login.set_password(password.reveal());
        }
    }
    let client = if access.url.tls() {
        let address = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
        let certificates = TlsCertificates { client_tls: None, root_cert: access.ca.clone() };
        Client::build_with_tls(address.into_connection_info()?.set_redis_settings(login), certificates)?
    } else {
        Client::open(ConnectionAddr::Tcp(host, port).into_connection_info()?.set_redis_settings(login))?
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(SERVER_TIMEOUT))
        .set_response_timeout(Some(SERVER_TIMEOUT));
    client.get_multiplexed_async_connection_with_config(&config).await
}

impl Server {
    async fn connect(access: &Access, host: &str, port: u16) -> Result<Self, ServerError> {
        let address = format!("{host}:{port}");
        let failed = |source| ServerError { server: address.clone(), doing: "log in at", source };
        let connection = open(access, host, port, true).await.map_err(failed)?;
        let mut server = Self { address: address.clone(), connection };
        if let Err(error) = cmd("PING").query_async::<()>(&mut server.connection).await {
            if error.code() != Some("BUSY") {
                return Err(failed(error));
            }
            if !server.unblock().await {
                return Err(ServerError { server: address, doing: "end the script that blocks", source: error });
            }
            tracing::warn!(server = address, "a script kept the store busy: it was ended");
        }
        Ok(server)
    }

    /// What `ACL LIST` says.
    pub async fn list(&mut self) -> Result<Vec<String>, ServerError> {
        let answer = cmd("ACL").arg("LIST").query_async(&mut self.connection).await;
        answer.map_err(|source| self.failed("list the users of", source))
    }

    /// Whether the process that was connected to still answers, and has its functions: no connection outlives it, and the next
    /// one may know no users.
    pub async fn answers(&mut self) -> bool {
        matches!(self.functions(false).await, Ok(Functions::Good))
    }

    /// Loads the functions that sidecars call, unless they are there. A replica gets them from its master.
    pub async fn load(&mut self) -> Result<bool, ServerError> {
        match self.functions(true).await {
            Ok(Functions::Good) => return Ok(false),
            Ok(Functions::Missing) => {}
            Err(source) => return Err(self.failed("list the functions of", source)),
        }
        let mut load = cmd("FUNCTION");
        load.arg("LOAD").arg("REPLACE").arg(Library::current().code());
        match load.query_async::<String>(&mut self.connection).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly) => Ok(false),
            Err(source) => Err(self.failed("load the functions that sidecars call into", source)),
        }
    }

    /// Whether the functions are there; with their code, whether they are these.
    async fn functions(&mut self, with_code: bool) -> RedisResult<Functions> {
        let library = Library::current();
        let mut list = cmd("FUNCTION");
        list.arg("LIST").arg("LIBRARYNAME").arg(library.name());
        if with_code {
            list.arg("WITHCODE");
        }
        let found: Vec<HashMap<String, redis::Value>> = list.query_async(&mut self.connection).await?;
        let is_good = |found: &HashMap<String, redis::Value>| {
            let code = found.get("library_code").map(|code| redis::from_redis_value::<String>(code.clone()));
            !with_code || matches!(code, Some(Ok(code)) if code == library.code())
        };
        Ok(if found.first().is_some_and(is_good) { Functions::Good } else { Functions::Missing })
    }

    /// How full it is. None: this login may not ask.
    pub async fn memory(&mut self) -> Result<Option<Memory>, ServerError> {
        match cmd("INFO").arg("memory").query_async::<String>(&mut self.connection).await {
            Ok(info) => Ok(Some(Memory::read(&info))),
            Err(error) if error.code() == Some("NOPERM") => Ok(None),
            Err(source) => Err(self.failed("ask for the memory of", source)),
        }
    }

    /// Whether it keeps what it is told. `INFO` says so, too, where a provider allows nobody `CONFIG`.
    pub async fn persistence(&mut self) -> Result<Persistence, ServerError> {
        let mut information = String::new();
        // One after the other: servers before 7.0 know no lists of sections.
        for section in ["persistence", "replication"] {
            match cmd("INFO").arg(section).query_async::<String>(&mut self.connection).await {
                Ok(info) => information.push_str(&info),
                Err(error) if error.code() == Some("NOPERM") => return Ok(Persistence::Unknown),
                Err(source) => return Err(self.failed("ask for the persistence of", source)),
            }
        }
        Ok(Persistence::read(&information))
    }

    /// Ends the script or function that keeps it busy, if it has written nothing yet. Whether it answers again.
    async fn unblock(&mut self) -> bool {
        let mut ended = false;
        for of in ["SCRIPT", "FUNCTION"] {
            ended |= cmd(of).arg("KILL").query_async::<()>(&mut self.connection).await.is_ok();
        }
        ended
    }

    /// Makes changes.
    pub async fn apply(&mut self, steps: &[Step]) -> Result<(), ServerError> {
        for batch in steps.chunks(CHANGES_PER_PIPELINE) {
            let mut pipeline = Pipeline::new();
            for step in batch {
                match step {
                    Step::Set { name, user } => pipeline.cmd("ACL").arg("SETUSER").arg(name).arg(user.rules()).ignore(),
                    Step::Delete { name } => pipeline.cmd("ACL").arg("DELUSER").arg(name).ignore(),
                };
            }
            let answer: RedisResult<()> = pipeline.query_async(&mut self.connection).await;
            answer.map_err(|source| self.failed("write the users of", source))?;
        }
        Ok(())
    }

    fn failed(&self, doing: &'static str, source: RedisError) -> ServerError {
        ServerError { server: self.address.clone(), doing, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_nodes_that_can_be_reached_are_found() {
        let answer = "\
07c3 127.0.0.1:30004@31004,a.example slave e7d1 0 1426238317239 4 connected
67ed :30002@31002 myself,master - 0 1426238316232 2 connected 5461-10922
292f 10.0.0.3:30003@31003,,shard-id=69bc master - 0 1426238318243 3 connected 10923-16383
6ec2 10.0.0.5:30005@31005 master,fail - 1426238318243 5 disconnected
824f :0@0 slave,noaddr e7d1 0 0 6 disconnected
2ab4 [::1]:30006@31006 slave e7d1 0 1426238317741 1 connected
";
        let expected = [("a.example", 30004), ("asked", 30002), ("10.0.0.3", 30003), ("[::1]", 30006)];
        assert_eq!(nodes_of(answer, "asked"), expected.map(|(host, port)| (host.to_owned(), port)));
    }

    #[test]
    fn a_server_is_full_when_it_takes_nothing_more() {
        let info = "# Memory\r\nused_memory:1000\r\nused_memory_human:1K\r\nmaxmemory:900\r\nmem_not_counted_for_evict:200\r\n";
        let memory = Memory::read(info);
        assert_eq!(memory, Memory { used: 800, max: 900 });
        assert!(!memory.is_full() && !Memory { used: 800, max: 0 }.is_full());
        assert!(Memory { used: 855, max: 900 }.is_full());
    }

    #[test]
    fn a_server_keeps_what_it_writes_or_what_replicas_have() {
        for (info, expected) in [
            ("aof_enabled:1\r\nrole:master\r\nconnected_slaves:0\r\n", Persistence::Kept),
            ("aof_enabled:0\r\nrole:master\r\nconnected_slaves:1\r\n", Persistence::Kept),
            ("aof_enabled:0\r\nrole:slave\r\nconnected_slaves:0\r\n", Persistence::Kept),
            ("rdb_saves:9\r\naof_enabled:0\r\nrole:master\r\nconnected_slaves:0\r\n", Persistence::Volatile),
            ("# Persistence\r\n", Persistence::Unknown),
        ] {
            assert_eq!(Persistence::read(info), expected, "{info}");
        }
    }

    #[test]
    fn replicas_that_are_down_are_left_out() {
        let replica = |flags: &str| {
            let fields = [("ip", "10.0.0.2"), ("port", "6380"), ("flags", flags)];
            replica_of(&fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
        };
        assert_eq!(replica("slave"), Some(("10.0.0.2".to_owned(), 6380)));
        assert_eq!(replica("slave,s_down"), None);
    }
}
